//go:build kernel

package firewall

import "testing"

// TestHairpin: with bridge-nf-call-iptables on, the kernel hands a frame whose
// translated destination is on the bridge it came by straight to that port
// (br_nf_pre_routing_finish), so that the port's flags decide: a container
// reaches itself through the host's address only with hairpin on, and from an
// isolated port nothing comes back into the bridge. Without it, packets are
// routed and no flag matters.
func TestHairpin(t *testing.T) { eachBackend(t, testHairpin) }

func testHairpin(t *testing.T, kind backend) {
	for _, c := range []struct {
		name, nf, hairpin, isolated string
		itself, sibling             bool
	}{
		{"plain", "0", "off", "off", true, true},
		{"plain, isolated", "0", "off", "on", true, true},
		{"br_netfilter", "1", "off", "off", false, true},
		{"br_netfilter, hairpin", "1", "on", "off", true, true},
		{"br_netfilter, hairpin, isolated", "1", "on", "on", false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, _, _ := start(t, kind, nil)
			w.host.sysctl(t, "net/bridge/bridge-nf-call-iptables", c.nf)
			w.host.sysctl(t, "net/bridge/bridge-nf-call-ip6tables", c.nf)
			for _, l := range []string{"va1", "va2"} {
				w.host.run(t, "ip", "link", "set", l, "type", "bridge_slave", "hairpin", c.hairpin, "isolated", c.isolated)
			}
			want := func(answer string, pass bool) string {
				if pass {
					return answer
				}
				return ""
			}
			check(t, []probe{
				{"itself", w.a1, "tcp", "192.0.2.1:8080", want("a1 172.30.1.1", c.itself)},
				{"itself, udp", w.a1, "udp", "192.0.2.1:8080", want("a1 172.30.1.1", c.itself)},
				{"itself, IPv6", w.a1, "tcp", "[2001:db8:f::1]:8080", want("a1 2001:db8:a::1", c.itself)},
				{"sibling", w.a2, "tcp", "192.0.2.1:8080", want("a1 172.30.1.1", c.sibling)},
				{"sibling, IPv6", w.a2, "tcp", "[2001:db8:f::1]:8080", want("a1 2001:db8:a::1", c.sibling)},
			})
		})
	}
}
