//go:build kernel

package firewall

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"fairway/nat"
)

// TestLacking: what a backend says of ports is what the kernel holds, and a packet
// agrees.
func TestLacking(t *testing.T) { eachOpen(t, testLacking) }

func testLacking(t *testing.T, kind backend) {
	tampers := map[string][]struct {
		command string
		lacks   []string // host ports in order; "all"
		why     string
		kind    nat.LackKind
	}{
		"nftables": {
			{"true", nil, "", 0},
			{"nft add table inet theirs", nil, "", 0},
			{"nft 'delete element inet fairway ports4 { tcp . 8080 }'", []string{"8080"}, "element of ports4 is missing", nat.Unserved},
			{
				"nft 'delete element inet fairway ports4 { tcp . 8080 }; add element inet fairway ports4 { tcp . 8080 : 172.30.1.3 . 80 }'",
				[]string{"8080"}, "leads elsewhere", nat.Unserved,
			},
			{"nft 'delete element inet fairway ranges4_udp { 20000-20019 }'", ports(20000, 20), "is missing", nat.Unserved},
			{"nft flush chain inet fairway publish4", []string{"all"}, "chain publish4 had other rules", nat.Unsure},
			{"nft delete table inet fairway", []string{"all"}, "table inet fairway is missing", nat.Unserved},
			{"nft flush map inet fairway network-clients4", []string{"8090"}, "is missing", nat.Unguarded},
		},
		"iptables": {
			{"true", nil, "", 0},
			{"iptables -t nat -A PREROUTING -p tcp --dport 1 -j ACCEPT", nil, "", 0},
			{"iptables -t nat -F FAIRWAY-DNAT", []string{"all4"}, "rule in chain FAIRWAY-DNAT is missing", nat.Unserved},
			{"iptables -t nat -F PREROUTING; iptables -t nat -F OUTPUT", []string{"all4"}, "nothing jumps to chain FAIRWAY-DNAT", nat.Unserved},
			{"iptables -F FAIRWAY-WHO", []string{"8090"}, "chain FAIRWAY-WHO", nat.Unsure},
		},
	}
	w, fw, s := start(t, kind, func(_, b *nat.Network, a1, _ *nat.Endpoint) {
		b.Clients.Prefixes = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
		for p := uint16(20000); p < 20020; p++ {
			a1.Ports = append(a1.Ports, nat.Port{Proto: 17, HostPort: p, Target: a1.IPv4, TargetPort: p})
		}
	})
	for _, tamper := range tampers[kind.name] {
		t.Run(tamper.command, func(t *testing.T) {
			w.host.run(t, "sh", "-c", tamper.command)
			var lacks []nat.Lack
			var err error
			w.host.do(func() { lacks, err = fw.f.Lacking(t.Context(), s.Endpoints) })
			if err != nil {
				t.Fatal(err)
			}
			var got, want []string
			for _, l := range lacks {
				got = append(got, fmt.Sprint(l.Port.HostPort))
				if !strings.Contains(l.Why, tamper.why) || l.Kind != tamper.kind {
					t.Errorf("port %s: %d %q, want %d %q", l.Port, l.Kind, l.Why, tamper.kind, tamper.why)
				}
			}
			want = tamper.lacks
			if len(want) == 1 && strings.HasPrefix(want[0], "all") {
				all4 := want[0] == "all4"
				want = nil
				for _, e := range s.Endpoints {
					for _, p := range e.Ports {
						if !all4 || p.Target.Is4() {
							want = append(want, fmt.Sprint(p.HostPort))
						}
					}
				}
			}
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("lacking %q, want %q", got, want)
			}
			fw.reconcile(t, s)
		})
	}
}

func ports(first, n int) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprint(first+i))
	}
	return out
}

// TestTraffic: what goes by each port is told apart, and cut apart.
func TestTraffic(t *testing.T) {
	w, _, s := start(t, viaNftables, nil)
	w.host.do(func() {
		if err := os.WriteFile("/proc/sys/net/netfilter/nf_conntrack_acct", []byte("1"), 0o644); err != nil {
			t.Error(err)
		}
	})
	for network, address := range map[string]string{"udp": "192.0.2.1:8080", "tcp": "[2001:db8:f::1]:8080"} {
		if got := w.lan.ask(network, address); !strings.HasPrefix(got, "a1 ") {
			t.Fatalf("%s %s: %q", network, address, got)
		}
	}
	traffic := func() (out []string) {
		t.Helper()
		w.host.do(func() {
			all, counted, err := nat.Connections{}.Traffic(t.Context(), s.Endpoints)
			if err != nil || !counted {
				t.Error(counted, err)
			}
			for k, v := range all {
				if v.Bytes < 2*28 || v.Packets < 2 || !v.Counted {
					t.Errorf("%s: %+v", k.Port, v)
				}
				out = append(out, fmt.Sprintf("%s %s %d", k.Endpoint[:2], k.Port, v.Connections))
			}
		})
		slices.Sort(out)
		return out
	}
	udp, tcp := "a1 0.0.0.0:8080->172.30.1.2:80/udp 1", "a1 [::]:8080->[2001:db8:a::2]:80/tcp 1"
	if got := traffic(); !slices.Equal(got, []string{udp, tcp}) {
		t.Errorf("traffic %q", got)
	}
	gone := s.Endpoints[0]
	gone.Ports = []nat.Port{port(17, "", 8080, "172.30.1.2:80"), port(6, "", 8090, "[2001:db8:a::2]:80")}
	w.host.do(func() {
		if err := (nat.Connections{}).Cut(t.Context(), gone); err != nil {
			t.Error(err)
		}
	})
	if got := traffic(); !slices.Equal(got, []string{tcp}) {
		t.Errorf("traffic after the udp port was cut: %q", got)
	}
}
