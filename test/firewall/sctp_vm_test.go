//go:build kernel && vm

package firewall

import (
	"testing"

	"fairway/nat"
)

// TestSocketsSCTP: published ports of SCTP, with real sockets. It runs in the virtual
// machine, whose kernel has them.
func TestSocketsSCTP(t *testing.T) { eachBackend(t, testSocketsSCTP) }

func testSocketsSCTP(t *testing.T, kind backend) {
	w, fw, s := start(t, kind, func(_, _ *nat.Network, a1, _ *nat.Endpoint) {
		a1.Ports = append(a1.Ports,
			port(132, "", 8080, "172.30.1.2:80"),
			port(132, "::", 8080, "[2001:db8:a::2]:80"),
			port(132, "127.0.0.1", 8082, "172.30.1.2:80"),
			port(132, "192.0.2.1", 8083, "172.30.1.2:80"))
	})
	// The kernel has br_netfilter: see TestHairpin.
	w.host.run(t, "ip", "link", "set", "va1", "type", "bridge_slave", "hairpin", "on")
	for n, addrs := range map[*namespace][]string{
		w.a1:  {"172.30.1.2:80", "[2001:db8:a::2]:80", "172.30.1.2:81"},
		w.lan: {"192.0.2.2:80", "[2001:db8:f::2]:80"},
	} {
		for _, a := range addrs {
			n.listenSCTP(t, a)
		}
	}
	probes := []probe{
		{"another machine", w.lan, "sctp-socket", "192.0.2.1:8080", "a1 192.0.2.2"},
		{"another machine, IPv6", w.lan, "sctp-socket", "[2001:db8:f::1]:8080", "a1 2001:db8:f::2"},
		{"another machine, published on one address", w.lan, "sctp-socket", "192.0.2.1:8083", "a1 192.0.2.2"},
		{"the host", w.host, "sctp-socket", "192.0.2.1:8080", "a1 192.0.2.1"},
		{"the host, IPv6", w.host, "sctp-socket", "[2001:db8:f::1]:8080", "a1 2001:db8:f::1"},
		{"the host by 127.0.0.1", w.host, "sctp-socket", "127.0.0.1:8080", "a1 172.30.1.1"},
		{"the host, published on 127.0.0.1", w.host, "sctp-socket", "127.0.0.1:8082", "a1 172.30.1.1"},
		{"the same container", w.a1, "sctp-socket", "192.0.2.1:8080", "a1 172.30.1.1"},
		{"the same network", w.a2, "sctp-socket", "192.0.2.1:8080", "a1 172.30.1.1"},
		{"the same network, IPv6", w.a2, "sctp-socket", "[2001:db8:f::1]:8080", "a1 2001:db8:a::1"},
		{"the same network, directly", w.a2, "sctp-socket", "172.30.1.2:81", "a1 172.30.1.3"},
		{"another network", w.b1, "sctp-socket", "192.0.2.1:8080", "a1 172.30.2.2"},
		{"another network, IPv6", w.b1, "sctp-socket", "[2001:db8:f::1]:8080", "a1 2001:db8:b::2"},
		{"outside, masqueraded", w.a1, "sctp-socket", "192.0.2.2:80", "lan 192.0.2.1"},
		{"outside, masqueraded, IPv6", w.a1, "sctp-socket", "[2001:db8:f::2]:80", "lan 2001:db8:f::1"},

		{"published on 127.0.0.1, another machine", w.lan, "sctp-socket", "192.0.2.1:8082", ""},
		{"published on one address, by another", w.lan, "sctp-socket", "172.30.1.1:8083", ""},
		{"by routing to the target", w.lan, "sctp-socket", "172.30.1.2:80", ""},
		{"by routing to another port", w.lan, "sctp-socket", "172.30.1.2:81", ""},
		{"by routing, IPv6", w.lan, "sctp-socket", "[2001:db8:a::2]:80", ""},
		{"another network, by routing", w.b1, "sctp-socket", "172.30.1.2:80", ""},
	}
	check(t, probes)
	w.dump(t)
	fw.remove(t, nat.State{Endpoints: s.Endpoints[:1]})
	check(t, []probe{
		{"no more, another machine", w.lan, "sctp-socket", "192.0.2.1:8080", ""},
		{"no more, the host", w.host, "sctp-socket", "192.0.2.1:8080", ""},
		{"no more, the same network", w.a2, "sctp-socket", "192.0.2.1:8080", ""},
	})
}
