//go:build kernel

package firewall

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fairway/nat"
)

var update = flag.Bool("update", false, "rewrite testdata")

// TestGoldenNftables: what nft(8) lists for each kind of network, as
// testdata/KIND.nft.
func TestGoldenNftables(t *testing.T) {
	mode := func(m nat.GatewayMode) func(*nat.Network) {
		return func(n *nat.Network) {
			for i := range n.Families {
				n.Families[i].Mode, n.Families[i].Masquerade = m, m != nat.Routed
			}
		}
	}
	a, b := networks()
	a1, b1 := endpoints()
	a1.Ports = append(a1.Ports, port(132, "", 8080, "172.30.1.2:80"))
	for p := uint16(20000); p < 20100; p++ {
		a1.Ports = append(a1.Ports, nat.Port{Proto: 17, HostPort: p, Target: a1.IPv4, TargetPort: p})
	}
	with := func(vary func(*nat.Network), endpoints ...nat.Endpoint) nat.State {
		n := a
		n.Families = slices.Clone(a.Families)
		vary(&n)
		return nat.State{Networks: []nat.Network{n}, Endpoints: endpoints}
	}
	routed := a1
	routed.Ports = []nat.Port{port(6, "", 0, "172.30.1.2:80"), port(6, "", 0, "[2001:db8:a::2]:80")}
	trusted := a1
	trusted.Direct, trusted.Ports = true, a1.Ports[:1]
	restricted := a1
	restricted.Clients, restricted.Ports = &nat.Clients{HostOnly: true}, a1.Ports[:1]
	carried := a1
	carried.Ports, carried.Carried = nil, []netip.Addr{a1.IPv4, a1.IPv6}
	beside := b
	beside.Link, beside.ICC = "fwa", false
	for _, c := range []struct {
		name  string
		state nat.State
	}{
		{"nat", with(mode(nat.ModeNAT), a1)},
		{"unprotected", with(mode(nat.Unprotected))},
		{"routed", with(mode(nat.Routed), routed)},
		{"isolated", with(func(n *nat.Network) { mode(nat.IsolatedGateway)(n); n.Internal = true })},
		{"internal", with(func(n *nat.Network) { n.Internal = true })},
		{"icc-off", with(func(n *nat.Network) { n.ICC = false })},
		{"snat", with(func(n *nat.Network) {
			n.Families[0].SNAT, n.Families[1].SNAT = netip.MustParseAddr("192.0.2.77"), netip.MustParseAddr("2001:db8:f::77")
		})},
		{"clients", with(func(n *nat.Network) {
			n.Clients = clients(t, "192.0.2.0/24,198.51.100.7,2001:db8:1::/48,iface:wg0")
		}, restricted)},
		{"host-firewall", with(func(n *nat.Network) { n.Clients = clients(t, "host-firewall") }, carried)},
		{"trusted", with(func(n *nat.Network) { n.Trusted = []string{"eth1", "wg0"} }, trusted)},
		{"two", nat.State{Networks: []nat.Network{a, b}, Endpoints: []nat.Endpoint{a1, b1}}},
		{"two-on-one-bridge", nat.State{Networks: []nat.Network{a, beside}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := &world{kind: viaOpen, host: newNamespace(t, "host")}
			fw := w.firewall(t)
			fw.apply(t, c.state)
			got := stable(w.table(t))
			path := filepath.Join("testdata", c.name+".nft")
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), got); d != "" {
				t.Error(d)
			}
		})
	}
}

var elementList = regexp.MustCompile(`(?s)elements = \{(.*?)\}`)

// stable sorts the elements of each set, one a line: a hash has no order.
func stable(listing string) string {
	return elementList.ReplaceAllStringFunc(listing, func(s string) string {
		list := strings.Split(strings.TrimSuffix(strings.TrimPrefix(s, "elements = {"), "}"), ",")
		for i := range list {
			list[i] = "\t\t\t" + strings.TrimSpace(list[i])
		}
		slices.Sort(list)
		return "elements = {\n" + strings.Join(list, ",\n") + "\n\t\t}"
	})
}
