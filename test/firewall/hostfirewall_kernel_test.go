//go:build kernel

package firewall

import (
	"net/netip"
	"testing"

	"fairway/nat"
)

// hostFirewall returns a world in which the host's own rules decide about a1's
// ports (publish=host-firewall) and the daemon carries them.
func hostFirewall(t *testing.T, kind backend) (*world, *hosted, *carrier, nat.State) {
	t.Helper()
	w, fw, s := start(t, kind, func(a, _ *nat.Network, a1, _ *nat.Endpoint) {
		a.Clients = clients(t, "host-firewall")
		a1.Ports, a1.Carried = nil, []netip.Addr{a1.IPv4, a1.IPv6}
	})
	w.a1.serve(t, "udp6", ":80")
	c := w.carrier(t)
	c.publish(t, "a1",
		"tcp=0.0.0.0:8080=172.30.1.2:80", "tcp=[::]:8080=[2001:db8:a::2]:80",
		"udp=0.0.0.0:8080=172.30.1.2:80", "udp=[::]:8080=[2001:db8:a::2]:80",
		"tcp=192.0.2.1:8083=172.30.1.2:80")
	return w, fw, c, s
}

// carried are the clients that such a port has, if the host lets all in.
func (w *world) carried() []probe {
	return []probe{
		{"LAN", w.lan, "tcp", "192.0.2.1:8080", "a1 192.0.2.2"},
		{"LAN, udp", w.lan, "udp", "192.0.2.1:8080", "a1 192.0.2.2"},
		{"LAN, IPv6", w.lan, "tcp", "[2001:db8:f::1]:8080", "a1 2001:db8:f::2"},
		{"LAN, IPv6, udp", w.lan, "udp", "[2001:db8:f::1]:8080", "a1 2001:db8:f::2"},
		{"LAN, published on one address", w.lan, "tcp", "192.0.2.1:8083", "a1 192.0.2.2"},
		{"LAN, another address", w.lan, "tcp", "172.30.1.1:8080", "a1 192.0.2.2"},
		{"another network", w.b1, "tcp", "192.0.2.1:8080", "a1 172.30.2.2"},
		{"another network, udp", w.b1, "udp", "192.0.2.1:8080", "a1 172.30.2.2"},
		{"another network, IPv6", w.b1, "tcp", "[2001:db8:f::1]:8080", "a1 2001:db8:b::2"},
		{"Docker's network", w.d1, "tcp", "192.0.2.1:8080", "a1 172.30.1.1"},
		{"the host", w.host, "tcp", "192.0.2.1:8080", "a1 172.30.1.1"},
		{"the host, udp", w.host, "udp", "192.0.2.1:8080", "a1 172.30.1.1"},
		{"the host, 127.0.0.1", w.host, "tcp", "127.0.0.1:8080", "a1 172.30.1.1"},
		{"the host, 127.0.0.1, udp", w.host, "udp", "127.0.0.1:8080", "a1 172.30.1.1"},
		{"the host, IPv6", w.host, "tcp", "[2001:db8:f::1]:8080", "a1 2001:db8:a::1"},
		{"the host, ::1", w.host, "tcp", "[::1]:8080", "a1 2001:db8:a::1"},
		{"the host, ::1, udp", w.host, "udp", "[::1]:8080", "a1 2001:db8:a::1"},
		{"the same network", w.a2, "tcp", "192.0.2.1:8080", "a1 172.30.1.1"},
		{"the same container", w.a1, "tcp", "192.0.2.1:8080", "a1 172.30.1.1"},
		{"unpublished", w.lan, "tcp", "172.30.1.2:81", ""},
		{"published, by routing", w.lan, "tcp", "172.30.1.2:80", ""},
		{"published, by routing, IPv6", w.lan, "tcp", "[2001:db8:a::2]:80", ""},
		{"outside", w.a1, "tcp", "192.0.2.2:80", "lan 192.0.2.1"},
		{"outside, IPv6", w.a1, "tcp", "[2001:db8:f::2]:80", "lan 2001:db8:f::1"},
		{"a plain port", w.lan, "tcp", "192.0.2.1:8090", "b1 192.0.2.2"},
		{"a plain port, from the container", w.a1, "tcp", "192.0.2.1:8090", "b1 172.30.1.2"},
	}
}

// TestHostFirewall: what a container sees as client where the host's own rules
// decide.
func TestHostFirewall(t *testing.T) { eachBackend(t, testHostFirewall) }

func testHostFirewall(t *testing.T, kind backend) {
	w, _, _, _ := hostFirewall(t, kind)
	check(t, w.carried())
	for _, rp := range []string{"1", "2"} {
		for _, l := range []string{"all", "fwa", "eth0"} {
			w.host.sysctl(t, "net/ipv4/conf/"+l+"/rp_filter", rp)
		}
		check(t, w.carried())
	}
	w.dump(t)
}
