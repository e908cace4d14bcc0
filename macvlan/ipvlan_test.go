package macvlan

import (
	"fmt"
	"net/netip"
	"reflect"
	"testing"

	"fairway/link"
	"fairway/store"
)

// ipLAN is lan as an ipvlan network.
func ipLAN(options ...string) store.Network {
	n := lan(options...)
	n.Mode = "ipvlan"
	return n
}

func TestIPvlanAttachment(t *testing.T) {
	e := store.Endpoint{ID: "e1", Network: "n1", Inside: "fwi1", IPv4: netip.MustParsePrefix("192.0.2.9/24"), Sandbox: "/s"}
	want := link.Macvlan{
		Name: "fwi1", Parent: "eth1", IPvlan: link.IPvlan{Mode: link.IPvlanL2, Flag: link.IPvlanPrivate}, Alias: "fairway:i:e1", Sandbox: "/s",
		Inside: link.Inside{Prefix: "eth", Addresses: []netip.Prefix{e.IPv4}, Gateways: []netip.Addr{netip.MustParseAddr("192.0.2.1")}},
	}
	v := view(t, ipLAN("ipvlan_flag", "private", "mode", "ipvlan"))
	if set := v.Attachment(e); !reflect.DeepEqual(set, link.Set{want}) {
		t.Errorf("got %+v\nwant %+v", set, want)
	}
	if err := v.CheckEndpoint(e); err != nil {
		t.Error(err)
	}
	e.MAC = "02:00:00:00:00:01"
	if got := fmt.Sprint(v.CheckEndpoint(e)); got != `mac-address "02:00:00:00:00:01": an ipvlan has the MAC address of its parent; leave it out, or use mode=macvlan` {
		t.Error(got)
	}
}

// TestIPvlanRoutes: where the host is the router, routes are by the device.
func TestIPvlanRoutes(t *testing.T) {
	none := ipLAN("ipvlan_mode", "l3", "parent", "")
	for name, c := range map[string]struct {
		n    store.Network
		want string
	}{
		"l2":                {ipLAN(), "[192.0.2.1] []"},
		"l3":                {ipLAN("ipvlan_mode", "l3"), "[] [0.0.0.0/0]"},
		"l3s":               {ipLAN("ipvlan_mode", "l3s"), "[] [0.0.0.0/0]"},
		"l3 and routes":     {ipLAN("ipvlan_mode", "l3", "routes", "10.0.0.0/8 via 192.0.2.7"), "[] [0.0.0.0/0 10.0.0.0/8]"},
		"l3 without a way":  {ipLAN("ipvlan_mode", "l3", "gateway", "none"), "[] [198.51.100.0/24]"},
		"l3, internal":      {internal(ipLAN("ipvlan_mode", "l3")), "[] [198.51.100.0/24]"},
		"l3 of its own":     {none, "[] [198.51.100.0/24]"},
		"l2 without a way":  {ipLAN("gateway", "none"), "[] []"},
		"l2, internal":      {internal(ipLAN()), "[] []"},
		"l2, empty options": {ipLAN("ipvlan_mode", "", "ipvlan_flag", ""), "[192.0.2.1] []"},
	} {
		v := view(t, c.n)
		in := v.Inside(store.Endpoint{IPv4: netip.MustParsePrefix("192.0.2.9/24")})
		var to []netip.Prefix
		for _, r := range in.Routes {
			to = append(to, r.Destination)
		}
		if got := fmt.Sprint(in.Gateways, to); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	six := ipLAN("ipvlan_mode", "l3")
	six.IPv6, six.Subnets = true, append(six.Subnets, store.Subnet{Prefix: netip.MustParsePrefix("2001:db8::/64")})
	in := view(t, six).Inside(store.Endpoint{IPv6: netip.MustParsePrefix("2001:db8::9/64")})
	if fmt.Sprint(in.Routes) != "[{::/0 invalid IP}]" {
		t.Errorf("IPv6: routes %v", in.Routes)
	}
}

func TestIPvlanRefusals(t *testing.T) {
	ours := ipLAN()
	ours.Subnets[0].Space = "fairway-local"
	for _, c := range []struct {
		n    store.Network
		want string
	}{
		{ipLAN("ipvlan_mode", "bridge"), `option ipvlan_mode="bridge": want l2, l3 or l3s`},
		{ipLAN("ipvlan_flag", "l2"), `option ipvlan_flag="l2": want bridge, private or vepa`},
		{ipLAN("macvlan_mode", "bridge"), `option macvlan_mode="bridge": unknown; nearest is "ipvlan_mode"`},
		{ipLAN("host_access", "true", "ipvlan_flag", "private"), `option host_access="true": not allowed with ipvlan_flag="private", in which the host's link would reach no container; want bridge`},
		{ipLAN("host_access", "true", "ipvlan_flag", "vepa"), `option host_access="true": not allowed with ipvlan_flag="vepa", in which the host's link would reach no container; want bridge`},
		{ipLAN("ipv6_mode", "slaac", "ipvlan_mode", "l3"), `option ipv6_mode="slaac": not allowed with ipvlan_mode="l3": containers hear no router advertisements there; want l2`},
		{lan("ipvlan_mode", "l2"), `option ipvlan_mode="l2": unknown; nearest is "ipv6_mode"`},
		{ours, `option mode="ipvlan": not allowed with --ipam-driver fairway: Docker gives a MAC address to each endpoint then, which an ipvlan can't have; want --ipam-driver fairway-ipvlan`},
	} {
		if _, err := New("i", c.n); err == nil || err.Error() != c.want {
			t.Errorf("%v:\n got %v\nwant %s", c.n.Options, err, c.want)
		}
	}
}

// TestIPvlanPublishes: in mode l3s nothing is translated on a container's own
// address; with host_access there are the host's.
func TestIPvlanPublishes(t *testing.T) {
	ask := store.PortBinding{Proto: 6, HostPort: 8080, Port: 80}
	e := store.Endpoint{IPv4: netip.MustParsePrefix("192.0.2.9/24")}
	for _, c := range []struct {
		n       store.Network
		own, on string // what is published where
	}{
		{ipLAN(), "192.0.2.9", ""}, {ipLAN("ipvlan_mode", "l3"), "192.0.2.9", ""}, {ipLAN("ipvlan_mode", "l3s"), "", ""},
		{hosted(ipLAN("host_access", "true")), "192.0.2.9", "0.0.0.0"},
		{hosted(ipLAN("host_access", "true", "ipvlan_mode", "l3")), "192.0.2.9", "0.0.0.0"},
		{hosted(ipLAN("host_access", "true", "ipvlan_mode", "l3s")), "", "0.0.0.0"},
	} {
		v := view(t, c.n)
		all, err := v.Bindings(e, ask)
		if err != nil {
			t.Fatal(err)
		}
		own, on := "", ""
		for _, b := range all {
			if b.OnItsOwn() {
				own += b.IP.String()
			} else if b.HostIP.Is4() { // beside what the daemon carries by IPv6
				on += b.HostIP.String()
			}
		}
		if own != c.own || on != c.on || v.Publishes() != (own+on != "") {
			t.Errorf("%v: own %q, host's %q, publishes %t", c.n.Options, own, on, v.Publishes())
		}
	}
}

// hosted gives the host a link in n.
func hosted(n store.Network) store.Network {
	n.HostLink, n.HostAddresses = "fws1", []netip.Addr{netip.MustParseAddr("192.0.2.200")}
	return n
}

// TestIPvlanHostLink: the host's link is of the containers' kind.
func TestIPvlanHostLink(t *testing.T) {
	for _, mode := range []link.IPvlanMode{link.IPvlanL2, link.IPvlanL3, link.IPvlanL3S} {
		set := view(t, hosted(ipLAN("host_access", "true", "ipvlan_mode", string(mode)))).Links()
		if h, ok := set[0].(link.Shim); !ok || h.IPvlan != (link.IPvlan{Mode: mode, Flag: link.IPvlanBridge}) || h.Parent != "eth1" {
			t.Errorf("%s: %+v", mode, set)
		}
	}
}

// TestKinds: what may be on one parent.
func TestKinds(t *testing.T) {
	for _, c := range []struct {
		n    store.Network
		want string
	}{
		{lan(), "macvlan"}, {lan("macvlan_mode", "private"), "macvlan"},
		{ipLAN(), "ipvlan, ipvlan_mode=l2, ipvlan_flag=bridge"},
		{ipLAN("ipvlan_mode", "l3s", "ipvlan_flag", "vepa"), "ipvlan, ipvlan_mode=l3s, ipvlan_flag=vepa"},
	} {
		if got := view(t, c.n).Kind(); got != c.want {
			t.Errorf("%s, want %s", got, c.want)
		}
	}
}
