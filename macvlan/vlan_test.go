package macvlan

import (
	"fmt"
	"net"
	"reflect"
	"testing"

	"fairway/link"
	"fairway/store"
)

// TestSettleVLANs has VLANs of links that are there, that are fairway's, and that
// aren't there.
func TestSettleVLANs(t *testing.T) {
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 9}
	h := host{
		"eth1": {Index: 1, MTU: 1500, MAC: mac, Up: true}, "eth1.7": {Index: 7, Parent: 1, Kind: "vlan", VLAN: 7, MTU: 1500, MAC: mac, Up: true},
		"eth1.8": {Index: 8, Kind: "bridge", MTU: 1500, MAC: mac, Up: true}, "eth1.9": {Index: 9, Parent: 3, Kind: "vlan", VLAN: 9, MTU: 1500, MAC: mac, Up: true},
		"eth1.50": {Index: 50, Parent: 1, Kind: "vlan", VLAN: 50, MTU: 1400, MAC: mac, Ours: true, Up: true}, "down0": {MTU: 1500, MAC: mac},
		"enp130s0f0np0": {MTU: 9000, MAC: mac, Up: true}, "fwl0123456789": {Kind: "vlan", MTU: 9000, MAC: mac, Up: true, Ours: true},
	}
	for _, c := range []struct {
		options []string
		want    string // error, or link and what is made
	}{
		{[]string{"parent", "eth1.7"}, "eth1.7 []"},
		{[]string{"parent", "eth1", "vlan", "7"}, "eth1.7 []"},
		{[]string{"parent", "eth1.40"}, "eth1.40 [{eth1.40 eth1 40}]"},
		{[]string{"parent", "eth1", "vlan", "40"}, "eth1.40 [{eth1.40 eth1 40}]"},
		{[]string{"parent", "eth1.50"}, "eth1.50 [{eth1.50 eth1 50}]"},
		{[]string{"parent", "eth1", "vlan", "50"}, "eth1.50 [{eth1.50 eth1 50}]"},
		{[]string{"parent", "eth1.100.40"}, "eth1.100.40 [{eth1.100 eth1 100} {eth1.100.40 eth1.100 40}]"},
		{[]string{"parent", "eth1.7.40"}, "eth1.7.40 [{eth1.7.40 eth1.7 40}]"},
		{[]string{"parent", "eth1.100", "vlan", "40"}, "eth1.100.40 [{eth1.100 eth1 100} {eth1.100.40 eth1.100 40}]"},
		{[]string{"parent", "eth1.50.40"}, "eth1.50.40 [{eth1.50 eth1 50} {eth1.50.40 eth1.50 40}]"},
		{[]string{"parent", "enp130s0f0np0", "vlan", "40", "mtu", "9000"}, "fwl571ad17610 [{fwl571ad17610 enp130s0f0np0 40}]"},
		{[]string{"parent", "eth9.40"}, `option parent="eth9.40": there is no link eth9 on this host to make it on`},
		{[]string{"parent", "eth9", "vlan", "40"}, `option parent="eth9": there is no such link on this host`},
		{[]string{"parent", "eth1.4095"}, `option parent="eth1.4095": there is no such link on this host, and 4095 is no VLAN; want 1 to 4094`},
		{[]string{"parent", "eth1.040"}, `option parent="eth1.040": there is no such link on this host, and 040 is no VLAN; want 1 to 4094`},
		{[]string{"parent", "eth1.x"}, `option parent="eth1.x": there is no such link on this host`},
		{[]string{"parent", "eth1", "vlan", "4095"}, `option vlan="4095": want a number from 1 to 4094`},
		{[]string{"parent", "", "vlan", "40"}, `option vlan="40": want a parent with it, whose VLAN it is`},
		{[]string{"parent", "eth1", "vlan", "8"}, `option vlan="8": link eth1.8 is there and is not VLAN 8 of eth1`},
		{[]string{"parent", "eth1", "vlan", "9"}, `option vlan="9": link eth1.9 is there and is not VLAN 9 of eth1`},
		{[]string{"parent", "down0.40"}, `option parent="down0.40": link down0 is down; set it up first (ip link set down0 up)`},
		{[]string{"parent", "eth1.40", "mtu", "1501"}, `option mtu="1501": the MTU of parent eth1 is 1500; want no more`},
		{[]string{"parent", "eth1.50.2", "mtu", "1401"}, `option mtu="1401": the MTU of parent eth1 is 1400; want no more`},
		{[]string{"parent", "eth1", "vlan", "50", "mtu", "1401"}, `option mtu="1401": the MTU of parent eth1 is 1400; want no more`},
		{[]string{"parent", "fwl0123456789"}, `option parent="fwl0123456789": is fairway's own; name the link that it is on, and vlan`},
	} {
		n := lan(c.options...)
		n.Link, n.Adopted = "fwb7", false
		got := fmt.Sprint(Settle(t.Context(), h, &n))
		if got == "<nil>" {
			got = fmt.Sprintf("%s %v", n.Link, n.VLANs)
			if !n.Adopted || view(t, n).parentName() != n.Link {
				t.Errorf("%v: adopted %t, parent %s", c.options, n.Adopted, view(t, n).parentName())
			}
		}
		if got != c.want {
			t.Errorf("%v:\n got %s\nwant %s", c.options, got, c.want)
		}
	}
}

func (n Network) parentName() string { name, _ := n.Parent(); return name }

func TestVLANLinks(t *testing.T) {
	n := lan("parent", "eth1.100.40")
	n.Link, n.VLANs = "eth1.100.40", []store.VLAN{{Link: "eth1.100", Parent: "eth1", ID: 100}, {Link: "eth1.100.40", Parent: "eth1.100", ID: 40}}
	want := link.Set{
		link.VLAN{Name: "eth1.100", Parent: "eth1", ID: 100, Alias: "fairway:i:eth1.100"},
		link.VLAN{Name: "eth1.100.40", Parent: "eth1.100", ID: 40, Alias: "fairway:i:eth1.100.40"},
	}
	if set := view(t, n).Links(); !reflect.DeepEqual(set, want) {
		t.Errorf("got %v\nwant %v", set, want)
	}
	if set := view(t, n).Attachment(store.Endpoint{Inside: "fwi1", MAC: "02:00:00:00:00:01"}); set[0].(link.Macvlan).Parent != "eth1.100.40" {
		t.Errorf("attached as %v", set)
	}
}
