package transparent

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"fairway/link"
	"fairway/nat"
	"fairway/store"
)

func lan(options ...string) store.Network {
	n := store.Network{
		ID: "n1", Mode: "transparent", IPv4: true, Link: "br0", Adopted: true, Options: map[string]string{"parent": "br0"},
		Subnets: []store.Subnet{
			{Prefix: netip.MustParsePrefix("192.0.2.0/24"), Gateway: netip.MustParseAddr("192.0.2.1")},
			{Prefix: netip.MustParsePrefix("198.51.100.0/24")},
		},
	}
	for i := 0; i < len(options); i += 2 {
		n.Options[options[i]] = options[i+1]
	}
	return n
}

func internal(n store.Network) store.Network { n.Internal = true; return n }

func view(t *testing.T, n store.Network) Network {
	t.Helper()
	v, err := New("i", n)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// unnamed is n without gateways, and with the MTU of its option.
func unnamed(n store.Network) store.Network {
	for i := range n.Subnets {
		n.Subnets[i].Gateway = netip.Addr{}
	}
	n.MTU, _ = strconv.Atoi(n.Options["mtu"])
	return n
}

// learned is e configured by a DHCP server.
func learned(e store.Endpoint) store.Endpoint {
	e.Learned = store.Learned{
		Gateways: []netip.Addr{netip.MustParseAddr("192.0.2.254")}, MTU: 1400,
		Routes: []store.Route{{Destination: netip.MustParsePrefix("10.50.0.0/16"), NextHop: netip.MustParseAddr("192.0.2.7")}},
	}
	return e
}

func endpoint(options ...string) store.Endpoint {
	e := store.Endpoint{
		ID: "e1", Network: "n1", MAC: "02:00:00:00:00:01", HostLink: "fwv1", Inside: "fwi1", IPv4: netip.MustParsePrefix("192.0.2.9/24"),
		Sandbox: "/s", Confirmed: true, Container: "c", Options: map[string]string{},
	}
	for i := 0; i < len(options); i += 2 {
		e.Options[options[i]] = options[i+1]
	}
	return e
}

// TestBridgeIsTheirs: there is nothing to be made on the host but ports, and
// nothing for the firewall to do but let frames pass.
func TestBridgeIsTheirs(t *testing.T) {
	v := view(t, lan())
	if set := v.Links(); len(set) != 0 {
		t.Errorf("links %v, want none", set)
	}
	if f, want := v.Firewall(), (nat.Network{ID: "n1", Link: "br0", Bridged: true}); !reflect.DeepEqual(f, want) {
		t.Errorf("firewall %+v, want %+v", f, want)
	}
	if v4, v6 := v.SkipGateway(); !v4 || !v6 {
		t.Error("Docker is left to invent a gateway")
	}
	if parent, alone := v.Parent(); parent != "br0" || alone {
		t.Errorf("parent %s, for itself %t", parent, alone)
	}
}

func TestAttachment(t *testing.T) {
	mac, _ := net.ParseMAC("02:00:00:00:00:01")
	plain := link.Veth{
		Name: "fwv1", Peer: "fwi1", PeerMAC: mac, Master: "br0", Adopted: true, Alias: "fairway:i:e1:c", Sandbox: "/s",
		Inside: link.Inside{
			Prefix: "eth", Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.9/24")}, Gateways: []netip.Addr{netip.MustParseAddr("192.0.2.1")},
		},
	}
	with := func(change func(*link.Veth)) link.Veth { v := plain; change(&v); return v }
	tagged := []link.VLANRange{{First: 10, Last: 20}, {First: 30, Last: 30}}
	for _, c := range []struct {
		what    string
		n       store.Network
		e       store.Endpoint
		want    link.Veth
		guarded bool
	}{
		{"plain", lan(), endpoint(), plain, true},
		{"isolated", lan("isolated", "true"), endpoint(), with(func(v *link.Veth) { v.Isolated = true }), true},
		{"not isolated itself", lan("isolated", "true"), endpoint("isolated", "false"), plain, true},
		{"VLAN", lan("vlan", "40"), endpoint(), with(func(v *link.Veth) { v.VLANs.Access = 40 }), true},
		{"VLAN of its own", lan("vlan", "40"), endpoint("vlan", "41"), with(func(v *link.Veth) { v.VLANs.Access = 41 }), true},
		{"trunk", lan("trunk", "30,10-15,14-20"), endpoint(), with(func(v *link.Veth) { v.VLANs.Tagged, v.Learning = tagged, true }), false},
		{"trunk instead of the VLAN", lan("vlan", "40"), endpoint("trunk", "10-20,30"), with(func(v *link.Veth) { v.VLANs.Tagged, v.Learning = tagged, true }), false},
		{"both", lan("vlan", "40", "trunk", "10-20,30"), endpoint(), with(func(v *link.Veth) {
			v.VLANs, v.Learning = link.PortVLANs{Access: 40, Tagged: tagged}, true
		}), false},
		{"VLAN instead of the trunk", lan("trunk", "10-20"), endpoint("vlan", "7"), with(func(v *link.Veth) { v.VLANs.Access = 7 }), true},
		{"trunk with a guard on the network", lan("antispoof", "true"), endpoint("trunk", "10-20,30"), with(func(v *link.Veth) { v.VLANs.Tagged, v.Learning = tagged, true }), false},
		{"open", lan("antispoof", "false"), endpoint(), with(func(v *link.Veth) { v.Learning = true }), false},
		{"open itself", lan(), endpoint("antispoof", "false"), with(func(v *link.Veth) { v.Learning = true }), false},
		{"internal", internal(lan()), endpoint(), with(func(v *link.Veth) { v.Inside.Gateways = nil }), true},
		{"by DHCP", unnamed(lan()), learned(endpoint()), with(func(v *link.Veth) {
			v.PeerMTU, v.Inside.Gateways = 1400, []netip.Addr{netip.MustParseAddr("192.0.2.254")}
			v.Inside.Routes = []link.Route{{Destination: netip.MustParsePrefix("10.50.0.0/16"), NextHop: netip.MustParseAddr("192.0.2.7")}}
		}), true},
		{"by DHCP, internal", internal(unnamed(lan("mtu", "1300"))), learned(endpoint()), with(func(v *link.Veth) { v.PeerMTU, v.Inside.Gateways = 1300, nil }), true},
		{"no gateway", lan("gateway", "none"), endpoint(), with(func(v *link.Veth) { v.Inside.Gateways = nil }), true},
	} {
		v := view(t, c.n)
		if err := v.CheckEndpoint(c.e); err != nil {
			t.Errorf("%s: %v", c.what, err)
		}
		if set := v.Attachment(c.e); !reflect.DeepEqual(set, link.Set{c.want}) {
			t.Errorf("%s:\n got %+v\nwant %+v", c.what, set[0], c.want)
		}
		g, guarded := v.Guarded(c.e)
		if prefix := v.PortPrefix(c.e); guarded != c.guarded || guarded != (prefix == nat.GuardedPort) {
			t.Errorf("%s: guarded %t, port %s…", c.what, guarded, prefix)
		}
		if guarded && (len(g.Addresses) != 1 || len(g.MACs) != 1) {
			t.Errorf("%s: may send from %v", c.what, g)
		}
	}
	if g, _ := view(t, lan("allow_addresses", "192.0.2.77")).Guarded(endpoint()); len(g.Addresses) != 2 {
		t.Errorf("may send from %v, want what the network allows, too", g.Addresses)
	}
}

// TestAutoconf: what addresses a container makes itself, nobody knows beforehand.
func TestAutoconf(t *testing.T) {
	v := view(t, lan("ipv6_mode", "slaac", "allow_addresses", "192.0.2.77,2001:db8::/64"))
	if got := v.Inside(endpoint()).Autoconf; got != link.AutoconfRoutes {
		t.Errorf("%q", got)
	}
	if g, ok := v.Guarded(endpoint()); !ok || len(g.Addresses) != 2 || fmt.Sprint(g.Prefixes) != "[::/0]" {
		t.Errorf("may send from %v %v, %t", g.Addresses, g.Prefixes, ok)
	}
	n := lan("ipv6_mode", "slaac")
	n.Internal = true
	if got := view(t, n).Inside(endpoint()).Autoconf; got != link.AutoconfAddresses {
		t.Errorf("internal: %q", got)
	}
	n.IPv6 = true
	if _, err := New("i", n); err == nil || err.Error() != `option ipv6_mode="slaac": not allowed with --ipv6: the LAN's routers say which addresses containers have, and Docker gives out none` {
		t.Errorf("with --ipv6: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	missing := lan()
	missing.Options = nil
	for _, c := range []struct {
		n    store.Network
		want string
	}{
		{missing, `option parent: missing; want the name of a bridge of the host, which mode=transparent attaches containers to`},
		{lan("parent", ""), `option parent="": want the name of a link: at most 15 letters, digits, - _ . @`},
		{lan("vlan", "4095"), `option vlan="4095": want a VLAN from 1 to 4094`},
		{lan("vlan", "0"), `option vlan="0": want a VLAN from 1 to 4094`},
		{lan("trunk", "20-10"), `option trunk="20-10": want a list such as 10-20,30 of VLANs from 1 to 4094`},
		{lan("trunk", "10,"), `option trunk="10,": want a list such as 10-20,30 of VLANs from 1 to 4094`},
		{lan("vlan", "15", "trunk", "10-20"), `option trunk="10-20": not allowed with vlan="15": frames of a VLAN have a tag or have none`},
		{lan("trunk", "10", "antispoof", "true"), `option antispoof="true": not allowed with trunk: the guard doesn't look into frames with tags`},
		{lan("mtu", "1400", "com.docker.network.driver.mtu", "1500"), `option mtu="1400": not allowed with com.docker.network.driver.mtu="1500", which means the same`},
		{lan("routes", "10.0.0.0/8 via 203.0.113.9"), `option routes="10.0.0.0/8 via 203.0.113.9": next hop 203.0.113.9 is in no subnet of the network`},
		{lan("macvlan_mode", "bridge"), `option macvlan_mode="bridge": unknown; nearest is "ipv6_mode"`},
	} {
		if _, err := New("i", c.n); err == nil || err.Error() != c.want {
			t.Errorf("%v:\n got %v\nwant %s", c.n.Options, err, c.want)
		}
	}
	for _, c := range []struct {
		e    store.Endpoint
		want string
	}{
		{endpoint("vlan", "x"), `option vlan="x": want a VLAN from 1 to 4094`},
		{endpoint("trunk", "7", "antispoof", "true"), `option antispoof="true": not allowed with trunk: the guard doesn't look into frames with tags`},
		{endpoint("parent", "br1"), `option parent="br1": unknown; nearest is "trunk"`},
		{store.Endpoint{MAC: "03:00:00:00:00:01"}, `mac-address "03:00:00:00:00:01": want a unicast MAC address`},
		{store.Endpoint{MAC: "02:00:00:00:00:01", IPv4: netip.MustParsePrefix("192.0.2.1/24")}, "address 192.0.2.1: is the network's gateway"},
		{store.Endpoint{MAC: "02:00:00:00:00:01", IPv4: netip.MustParsePrefix("10.0.0.1/24")}, "address 10.0.0.1: in no subnet of the network"},
	} {
		if err := view(t, lan()).CheckEndpoint(c.e); err == nil || err.Error() != c.want {
			t.Errorf("%v:\n got %v\nwant %s", c.e, err, c.want)
		}
	}
}

// host is one with these links.
type host map[string]link.Info

func (h host) Link(_ context.Context, _, name string) (link.Info, error) {
	if info, ok := h[name]; ok {
		return info, nil
	}
	return link.Info{}, unix.ENODEV
}

func TestSettle(t *testing.T) {
	h := host{
		"br0": {Kind: "bridge", MTU: 1500, Up: true}, "br1": {Kind: "bridge", MTU: 1500, Up: true, VLANAware: true},
		"br2": {Kind: "bridge", MTU: 1500}, "eth0": {Kind: "device", MTU: 1500, Up: true},
	}
	for _, c := range []struct {
		n    store.Network
		want string // error, or link, whether it is adopted, and MTU
	}{
		{lan(), "br0 true 0"},
		{lan("mtu", "1400"), "br0 true 1400"},
		{lan("parent", "br1", "vlan", "40"), "br1 true 0"},
		{lan("mtu", "1501"), `option mtu="1501": the MTU of bridge br0 is 1500; want no more`},
		{lan("vlan", "40"), `option vlan="40": bridge br0 isn't VLAN-aware: its vlan_filtering is off`},
		{lan("trunk", "40"), `option trunk="40": bridge br0 isn't VLAN-aware: its vlan_filtering is off`},
		{lan("parent", "br9"), `option parent="br9": there is no such link on this host`},
		{lan("parent", "br2"), `option parent="br2": is down; set it up first (ip link set br2 up)`},
		{lan("parent", "eth0"), `option parent="eth0": is a device; want a bridge (for the LAN of a network card: mode=macvlan)`},
	} {
		n := c.n
		n.Link, n.Adopted = "fwb7", false
		got := fmt.Sprint(Settle(t.Context(), h, &n))
		if got == "<nil>" {
			got = fmt.Sprintf("%s %t %d", n.Link, n.Adopted, n.MTU)
		}
		if got != c.want {
			t.Errorf("%v:\n got %s\nwant %s", n.Options, got, c.want)
		}
	}
}

func TestWaits(t *testing.T) {
	aware := link.Info{Kind: "bridge", Up: true, VLANAware: true}
	for _, c := range []struct {
		info  link.Info
		there bool
		want  string
	}{
		{aware, true, ""},
		{link.Info{}, false, "waits for br0"},
		{link.Info{Kind: "dummy", Up: true}, true, "waits for bridge br0: there is a dummy"},
		{link.Info{Kind: "bridge"}, true, "br0 is down"},
		{link.Info{Kind: "bridge", Up: true}, true, "bridge br0 isn't VLAN-aware any more"},
	} {
		if got := view(t, lan("vlan", "40")).Waits(c.info, c.there); got != c.want {
			t.Errorf("%+v: %q, want %q", c.info, got, c.want)
		}
	}
}

// FuzzTrunk checks that what is accepted is VLANs in order and apart.
func FuzzTrunk(f *testing.F) {
	f.Add("10-20,30")
	f.Add("30, 10-20,19-25")
	f.Add("4094,1-4093")
	f.Fuzz(func(t *testing.T, text string) {
		var all []link.VLANRange
		if trunk(&all)(text) != nil {
			return
		}
		last := -1
		for _, r := range all {
			if r.First < 1 || r.First > r.Last || r.Last > 4094 || int(r.First) <= last+1 && last > 0 {
				t.Errorf("%q: %v", text, all)
			}
			last = int(r.Last)
		}
		if len(all) == 0 || strings.TrimSpace(text) == "" {
			t.Errorf("%q is accepted", text)
		}
	})
}
