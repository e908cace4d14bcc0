package macvlan

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"fairway/link"
	"fairway/store"
)

func lan(options ...string) store.Network {
	n := store.Network{
		ID: "n1", Mode: "macvlan", IPv4: true, Link: "eth1", Adopted: true, Options: map[string]string{"parent": "eth1"},
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

func alone() store.Network {
	n := lan()
	n.Options, n.Link, n.Adopted, n.MTU = nil, "fwb1", false, 1500
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

func TestLinks(t *testing.T) {
	if set := view(t, lan()).Links(); len(set) != 0 {
		t.Errorf("on a parent: %v, want nothing", set)
	}
	want := link.Set{link.Isle{Name: "fwb1", Alias: "fairway:i:n1", MTU: 1500}}
	if set := view(t, alone()).Links(); !reflect.DeepEqual(set, want) {
		t.Errorf("without a parent: %v, want %v", set, want)
	}
}

func TestAttachment(t *testing.T) {
	e := store.Endpoint{
		ID: "e1", Network: "n1", MAC: "02:00:00:00:00:01", Inside: "fwi1", IPv4: netip.MustParsePrefix("192.0.2.9/24"),
		Sandbox: "/s", Confirmed: true, Container: "c",
	}
	mac, _ := net.ParseMAC(e.MAC)
	want := link.Macvlan{
		Name: "fwi1", Parent: "eth1", Mode: link.MacvlanVEPA, MAC: mac, Alias: "fairway:i:e1:c", Sandbox: "/s",
		Inside: link.Inside{
			Prefix: "eth", Addresses: []netip.Prefix{e.IPv4}, Gateways: []netip.Addr{netip.MustParseAddr("192.0.2.1")},
		},
	}
	if set := view(t, lan("macvlan_mode", "vepa")).Attachment(e); !reflect.DeepEqual(set, link.Set{want}) {
		t.Errorf("got %+v\nwant %+v", set, want)
	}
	e.Sandbox = ""
	if m := view(t, lan()).Attachment(e)[0].(link.Macvlan); !m.Left {
		t.Error("after Leave the link isn't said to have left")
	}
	e.Confirmed = false
	if m := view(t, lan()).Attachment(e)[0].(link.Macvlan); m.Left {
		t.Error("before Join the link is said to have left")
	}
}

// TestHostAccess: the host has a link beside the containers', and a way to each of
// them, which know the host's other addresses to be behind it.
func TestHostAccess(t *testing.T) {
	ip := netip.MustParseAddr
	n := lan("host_access", "true")
	n.HostLink, n.HostAddresses = "fws1", []netip.Addr{ip("192.0.2.200")}
	v := view(t, n)
	if h := v.Links()[0].(link.Shim); h.Name != "fws1" || h.Parent != "eth1" || h.Alias != "fairway:i:n1" ||
		len(h.MAC) != 6 || h.MAC[0] != 2 || !h.Localnet || !reflect.DeepEqual(h.Addresses, n.HostAddresses) {
		t.Errorf("host's link: %+v", h)
	}
	e := store.Endpoint{
		ID: "e1", MAC: "02:00:00:00:00:01", Inside: "fwi1", IPv4: netip.MustParsePrefix("192.0.2.9/24"),
		HostAddresses: []netip.Addr{ip("192.0.2.10"), ip("2001:db8::10")},
	}
	if set := v.Attachment(e)[1:]; !reflect.DeepEqual(set, link.Set{link.HostRoute{Link: "fws1", IP: ip("192.0.2.9")}}) {
		t.Errorf("routes of the host: %v", set)
	}
	want := []link.Route{{Destination: netip.MustParsePrefix("192.0.2.10/32"), NextHop: ip("192.0.2.200")}}
	if got := v.Inside(e).Routes; !reflect.DeepEqual(got, want) {
		t.Errorf("routes of the container: %v, want %v", got, want)
	}
	e.IPv4 = netip.MustParsePrefix("198.51.100.9/24") // a subnet in which the host has no address
	if set := v.Attachment(e); len(set) != 1 || len(v.Inside(e).Routes) > 0 {
		t.Errorf("in the other subnet: %v, %v", set, v.Inside(e).Routes)
	}
	e.IPv4 = netip.MustParsePrefix("192.0.2.200/24")
	if err := v.CheckEndpoint(e); err == nil || err.Error() != "address 192.0.2.200: is the host's (host_access)" {
		t.Errorf("the host's address for a container: %v", err)
	}
	f := v.Firewall()
	if f.ID != "n1" || f.Link != "fws1" || !f.Beside || len(f.Families) != 1 {
		t.Errorf("firewall: %+v", f)
	}
	n.Options["parent"], n.Link = "", "fwb1"
	if set := view(t, n).Links(); len(set) != 2 || set[1].(link.Shim).Parent != "fwb1" {
		t.Errorf("without a parent: %v", set)
	}
}

func TestSettleHost(t *testing.T) {
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 9}
	h := host{"eth1": {Kind: "device", MTU: 1500, MAC: mac, Up: true}}
	aux := func(n store.Network, named map[string]string) store.Network {
		n.Subnets[0].Aux = map[string]netip.Addr{}
		for name, a := range named {
			n.Subnets[0].Aux[name] = netip.MustParseAddr(a)
		}
		return n
	}
	for _, c := range []struct {
		n    store.Network
		want string
	}{
		{aux(lan("host_access", "true"), map[string]string{"host": "192.0.2.200", "printer": "192.0.2.20"}), "[192.0.2.200]"},
		{aux(lan(), map[string]string{"host": "192.0.2.200"}), "[]"},
		{lan("host_access", "true"), "[]"}, // the driver asks the pool
		{aux(lan("host_access", "true"), map[string]string{"host": "192.0.2.200", "host6": "192.0.2.201"}), "aux-address host6=192.0.2.201: the host has 192.0.2.200 already; want one address in a family"},
		{aux(lan("host_access", "true"), map[string]string{"host": "192.0.2.1"}), "aux-address host=192.0.2.1: is the network's gateway"},
	} {
		n := c.n
		got := fmt.Sprint(Settle(t.Context(), h, &n))
		if got == "<nil>" {
			got = fmt.Sprint(n.HostAddresses)
		}
		if got != c.want {
			t.Errorf("%v %v: got %s, want %s", n.Options, n.Subnets[0].Aux, got, c.want)
		}
	}
}

func TestGateways(t *testing.T) {
	first, second := "192.0.2.9/24", "198.51.100.9/24"
	for name, c := range map[string]struct {
		n             store.Network
		address, want string
	}{
		"named":            {lan(), first, "[192.0.2.1]"},
		"of its subnet":    {lan(), second, "[]"},
		"none":             {lan("gateway", "none"), first, "[]"},
		"internal":         {internal(lan()), first, "[]"},
		"without a parent": {alone(), first, "[]"},
	} {
		in := view(t, c.n).Inside(store.Endpoint{IPv4: netip.MustParsePrefix(c.address)})
		if got := fmt.Sprint(in.Gateways); got != c.want {
			t.Errorf("%s: gateways %s, want %s", name, got, c.want)
		}
	}
	if v4, v6 := view(t, lan()).SkipGateway(); !v4 || !v6 {
		t.Error("Docker is left to invent a gateway")
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		n    store.Network
		want string
	}{
		{lan("parent", "a/b"), `option parent="a/b": want the name of a link: at most 15 letters, digits, - _ . @`},
		{lan("macvlan_mode", "l2"), `option macvlan_mode="l2": want bridge, private, vepa or passthru`},
		{lan("mtu", "9O00"), `option mtu="9O00": want bytes from 68 to 65535`},
		{lan("mtu", "1400", "com.docker.network.driver.mtu", "1500"), `option mtu="1400": not allowed with com.docker.network.driver.mtu="1500", which means the same`},
		{lan("com.docker.network.enable_ipv6", "true"), `option com.docker.network.enable_ipv6="true": not allowed when the network is made with the opposite`},
		{lan("routes", "10.0.0.0/8 via 203.0.113.9"), `option routes="10.0.0.0/8 via 203.0.113.9": next hop 203.0.113.9 is in no subnet of the network`},
		{lan("gateway", "192.0.2.1"), `option gateway="192.0.2.1": want none`},
		{lan("ipv6_mode", "dhcp"), `option ipv6_mode="dhcp": want static or slaac`},
		{both(lan("ipv6_mode", "slaac")), `option ipv6_mode="slaac": not allowed with --ipv6: the LAN's routers say which addresses containers have, and Docker gives out none`},
		{lan("ipv6_mode", "slaac", "parent", ""), `option ipv6_mode="slaac": not allowed without a parent: nobody advertises a router there`},
		{lan("ipv6_mode", "slaac", "mtu", "1000"), `option mtu="1000": want at least 1280 bytes with IPv6 (RFC 8200)`},
		{lan("host_access", "yes"), `option host_access="yes": want true or false`},
		{lan("host_access", "true", "macvlan_mode", "private"), `option host_access="true": not allowed with macvlan_mode="private", in which the host's link would reach no container; want bridge`},
		{lan("host_access", "true", "macvlan_mode", "vepa"), `option host_access="true": not allowed with macvlan_mode="vepa", in which the host's link would reach no container; want bridge`},
		{lan("host_access", "true", "macvlan_mode", "passthru"), `option host_access="true": not allowed with macvlan_mode="passthru", in which the host's link would reach no container; want bridge`},
	} {
		if _, err := New("i", c.n); err == nil || err.Error() != c.want {
			t.Errorf("%v:\n got %v\nwant %s", c.n.Options, err, c.want)
		}
	}
	// Options of what is not built yet, and of the other mode.
	for _, name := range []string{"trunk", "ipvlan_mode", "ipvlan_flag", "isolated", "publish", "antispoof"} {
		if _, err := New("i", lan(name, "1")); err == nil || !strings.HasPrefix(err.Error(), "option "+name+`="1": unknown`) {
			t.Errorf("option %s: %v, want it to be unknown", name, err)
		}
	}
}

// both gives n IPv6.
func both(n store.Network) store.Network {
	n.IPv6 = true
	return n
}

// TestAutoconf: a default route comes with the addresses where there is a way out.
func TestAutoconf(t *testing.T) {
	for _, c := range []struct {
		n    store.Network
		want link.Autoconf
	}{
		{lan(), link.AutoconfNone}, {lan("ipv6_mode", "static"), link.AutoconfNone}, {lan("ipv6_mode", "slaac"), link.AutoconfRoutes},
		{lan("ipv6_mode", "slaac", "gateway", "none"), link.AutoconfAddresses}, {internal(lan("ipv6_mode", "slaac")), link.AutoconfAddresses},
		{ipLAN("ipv6_mode", "slaac"), link.AutoconfRoutes},
	} {
		e := store.Endpoint{IPv4: netip.MustParsePrefix("192.0.2.9/24")}
		if got := view(t, c.n).Inside(e).Autoconf; got != c.want {
			t.Errorf("%v: %q, want %q", c.n.Options, got, c.want)
		}
	}
}

func TestCheckEndpoint(t *testing.T) {
	ok := store.Endpoint{MAC: "02:00:00:00:00:01", IPv4: netip.MustParsePrefix("192.0.2.9/24")}
	for _, c := range []struct {
		change func(*store.Endpoint)
		want   string
	}{
		{func(*store.Endpoint) {}, "<nil>"},
		{func(e *store.Endpoint) { e.IPv4 = netip.MustParsePrefix("192.0.2.1/24") }, "address 192.0.2.1: is the network's gateway"},
		{func(e *store.Endpoint) { e.IPv4 = netip.MustParsePrefix("10.0.0.1/24") }, "address 10.0.0.1: in no subnet of the network"},
		{func(e *store.Endpoint) { e.MAC = "03:00:00:00:00:01" }, `mac-address "03:00:00:00:00:01": want a unicast MAC address`},
		{func(e *store.Endpoint) { e.Options = map[string]string{"antispoof": "true"} }, `option antispoof="true": unknown; nearest is "com.docker.network.endpoint.ifname"`},
		{func(e *store.Endpoint) {
			e.Options = map[string]string{"com.docker.network.endpoint.sysctls": "x"}
		}, "<nil>"},
	} {
		e := ok
		c.change(&e)
		if got := fmt.Sprint(view(t, lan()).CheckEndpoint(e)); got != c.want {
			t.Errorf("got %s\nwant %s", got, c.want)
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
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 9}
	h := host{
		"eth1": {Kind: "device", MTU: 1500, MAC: mac, Up: true}, "br0": {Kind: "bridge", MTU: 1500, MAC: mac, Up: true, Master: 3},
		"down0": {MTU: 1500, MAC: mac}, "wg0": {MTU: 1420, Up: true}, "port0": {MTU: 1500, MAC: mac, Up: true, Master: 7},
		"lo": {MTU: 65536, MAC: make(net.HardwareAddr, 6), Up: true},
	}
	for _, c := range []struct {
		n    store.Network
		want string // error, or link, whether it is adopted, and MTU
	}{
		{lan(), "eth1 true 0"},
		{lan("mtu", "1400"), "eth1 true 1400"},
		{lan("parent", "br0"), "br0 true 0"},
		{internal(lan()), "eth1 true 0"},
		{lan("parent", ""), "fwb7 false 1500"},
		{lan("parent", "", "mtu", "9000"), "fwb7 false 9000"},
		{lan("mtu", "1501"), `option mtu="1501": the MTU of parent eth1 is 1500; want no more`},
		{lan("parent", "eth9"), `option parent="eth9": there is no such link on this host`},
		{lan("parent", "down0"), `option parent="down0": is down; set it up first (ip link set down0 up)`},
		{lan("parent", "wg0"), `option parent="wg0": has no Ethernet address; want an Ethernet link`},
		{lan("parent", "lo"), `option parent="lo": is the loopback; want an Ethernet link`},
		{lan("parent", "port0"), `option parent="port0": is a port of a bridge or bond; name that one as the parent`},
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

// FuzzParseOptions checks what is accepted, not just that nothing panics.
func FuzzParseOptions(f *testing.F) {
	f.Add("parent", "eth0.40")
	f.Add("macvlan_mode", "private")
	f.Add("mtu", "1400")
	f.Fuzz(func(t *testing.T, name, value string) {
		o, err := ParseOptions(map[string]string{name: value})
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\r") {
				t.Errorf("%q: more than a line", err)
			}
			return
		}
		if len(o.Parent) > 15 || strings.ContainsAny(o.Parent, "/ :") || o.MTU != 0 && (o.MTU < 68 || o.MTU > 65535) {
			t.Errorf("%s=%q: accepted as %+v", name, value, o)
		}
	})
}
