package iptables

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fairway/nat"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func testNetwork(id, link string) nat.Network {
	return nat.Network{ID: id, Link: link, ICC: true, Families: []nat.Family{
		{Subnet: netip.MustParsePrefix("172.30.1.0/24"), Gateway: netip.MustParseAddr("172.30.1.1"), Mode: nat.ModeNAT, Masquerade: true},
		{Subnet: netip.MustParsePrefix("2001:db8:a::/64"), Gateway: netip.MustParseAddr("2001:db8:a::1"), Mode: nat.ModeNAT, Masquerade: true},
	}}
}

func testEndpoint(ports ...nat.Port) nat.Endpoint {
	return nat.Endpoint{
		ID: "e1e1e1e1e1e1e1e1", Network: "aaaaaaaaaaaaaaaa", Link: "fwa",
		IPv4: netip.MustParseAddr("172.30.1.2"), IPv6: netip.MustParseAddr("2001:db8:a::2"), Ports: ports,
	}
}

func testPort(proto uint8, hostIP string, hostPort uint16, target string) nat.Port {
	to := netip.MustParseAddrPort(target)
	p := nat.Port{Proto: proto, HostPort: hostPort, Target: to.Addr(), TargetPort: to.Port()}
	if hostIP != "" {
		p.HostIP = netip.MustParseAddr(hostIP)
	}
	return p
}

// allPorts are published ports of every kind.
func allPorts() []nat.Port {
	return []nat.Port{
		testPort(6, "", 8080, "172.30.1.2:80"),
		testPort(17, "0.0.0.0", 8080, "172.30.1.2:80"),
		testPort(132, "", 8080, "172.30.1.2:80"),
		testPort(6, "127.0.0.1", 8081, "172.30.1.2:80"),
		testPort(6, "192.0.2.1", 8082, "172.30.1.2:80"),
		testPort(6, "::", 8080, "[2001:db8:a::2]:80"),
		testPort(6, "2001:db8:f::1", 8082, "[2001:db8:a::2]:80"),
	}
}

// TestGolden: the rules of each kind of network, to be read by a person.
func TestGolden(t *testing.T) {
	with := func(vary func(n *nat.Network), ports ...nat.Port) nat.State {
		n := testNetwork("aaaaaaaaaaaaaaaa", "fwa")
		if vary != nil {
			vary(&n)
		}
		return nat.State{Networks: []nat.Network{n}, Endpoints: []nat.Endpoint{testEndpoint(ports...)}}
	}
	mode := func(m nat.GatewayMode) func(*nat.Network) {
		return func(n *nat.Network) {
			for i := range n.Families {
				n.Families[i].Mode, n.Families[i].Masquerade = m, m == nat.Unprotected
			}
		}
	}
	two := with(nil, allPorts()...)
	b := testNetwork("bbbbbbbbbbbbbbbb", "fwb")
	b.Families = []nat.Family{{Subnet: netip.MustParsePrefix("172.30.2.0/24"), Mode: nat.ModeNAT, Masquerade: true}}
	two.Networks = append(two.Networks, b)
	carried := with(func(n *nat.Network) { n.Clients = nat.Clients{HostFirewall: true} })
	carried.Endpoints[0].Carried = []netip.Addr{netip.MustParseAddr("172.30.1.2"), netip.MustParseAddr("2001:db8:a::2")}
	shared := with(nil)
	b.Link, b.Internal, b.ICC = "fwa", true, false
	shared.Networks = append(shared.Networks, b)
	lan := with(func(n *nat.Network) { n.Link = "br-lan" })
	for _, c := range []struct {
		name   string
		state  nat.State
		around nat.Around
	}{
		{"nothing", nat.State{}, nat.Around{}},
		{"nat", with(nil, allPorts()...), nat.Around{}},
		{"no-ports", with(nil), nat.Around{}},
		{"snat", with(func(n *nat.Network) {
			n.Families[0].SNAT, n.Families[1].SNAT = netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8:f::7")
		}), nat.Around{}},
		{"no-masquerade", with(func(n *nat.Network) { n.Families[0].Masquerade, n.Families[1].Masquerade = false, false }), nat.Around{}},
		{"unprotected", with(mode(nat.Unprotected), testPort(6, "", 8080, "172.30.1.2:80")), nat.Around{}},
		{"routed", with(mode(nat.Routed), testPort(6, "", 0, "172.30.1.2:80"), testPort(17, "", 0, "[2001:db8:a::2]:53")), nat.Around{}},
		{"isolated", with(func(n *nat.Network) { mode(nat.IsolatedGateway)(n); n.Internal = true }), nat.Around{}},
		{"internal", with(func(n *nat.Network) { n.Internal = true }), nat.Around{}},
		{"icc-off", with(func(n *nat.Network) { n.ICC = false }), nat.Around{}},
		{"trusted", with(func(n *nat.Network) { n.Trusted = []string{"eth1", "wg0"} }), nat.Around{}},
		{"host-firewall", carried, nat.Around{}},
		{"two", two, nat.Around{}},
		{"two-on-one-bridge", shared, nat.Around{}},
		{"uplink-bridge", lan, nat.Around{Uplinks: map[string]bool{"br-lan": true}}},
		{"other-bridges", with(mode(nat.Unprotected)), nat.Around{Foreign: []string{"virbr0"}, Lookalikes: []string{"br-lan"}}},
		{"bridged", bridged(nat.State{}), nat.Around{FiltersBridged: true}},
		{"bridged-beside", bridged(with(nil)), nat.Around{FiltersBridged: true}},
		{"nothing", bridged(nat.State{}), nat.Around{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got strings.Builder
			for _, v6 := range []bool{false, true} {
				p := compare(saved{}, render(c.state, v6, "1a2b3c", defaultMarks(), c.around), "1a2b3c")
				got.WriteString("# " + program(v6, "restore") + " --noflush\n" + p.text())
			}
			path := filepath.Join("testdata", c.name+".rules")
			if *update {
				if err := os.WriteFile(path, []byte(got.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), got.String()); d != "" {
				t.Errorf("rules differ from %s (-update rewrites it):\n%s", path, d)
			}
		})
	}
}

// bridged returns s with two networks on somebody else's bridge.
func bridged(s nat.State) nat.State {
	s.Networks = append(s.Networks, nat.Network{ID: "cccccccccccccccc", Link: "br0", Bridged: true}, nat.Network{ID: "dddddddddddddddd", Link: "br0", Bridged: true})
	return s
}

// TestRenderIsStable: the order in which records come doesn't matter.
func TestRenderIsStable(t *testing.T) {
	a, b := testNetwork("aaaaaaaaaaaaaaaa", "fwa"), testNetwork("bbbbbbbbbbbbbbbb", "fwb")
	e, f := testEndpoint(allPorts()...), testEndpoint(testPort(6, "", 9090, "172.30.1.3:80"))
	f.ID = "f1f1f1f1f1f1f1f1"
	one := render(nat.State{Networks: []nat.Network{a, b}, Endpoints: []nat.Endpoint{e, f}}, false, "1a2b3c", defaultMarks(), nat.Around{})
	other := render(nat.State{Networks: []nat.Network{b, a}, Endpoints: []nat.Endpoint{f, e}}, false, "1a2b3c", defaultMarks(), nat.Around{})
	text := func(r ruleset) string { return compare(saved{}, r, "1a2b3c").text() }
	if d := cmp.Diff(text(one), text(other)); d != "" {
		t.Error(d)
	}
}

func defaultMarks() nat.Marks {
	m, _ := nat.MarksOf(nat.DefaultMask)
	return m
}
