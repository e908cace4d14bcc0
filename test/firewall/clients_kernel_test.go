//go:build kernel

package firewall

import (
	"strings"
	"testing"

	"fairway/nat"
)

func clients(t *testing.T, s string) nat.Clients {
	t.Helper()
	c, err := nat.ParseClients(s)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// always are the clients that no policy refuses.
func (w *world) always() []probe {
	return []probe{
		{"the host", w.host, "tcp", "192.0.2.1:8080", "a1 192.0.2.1"},
		{"the host, 127.0.0.1", w.host, "tcp", "127.0.0.1:8080", "a1 172.30.1.1"},
		{"the host, IPv6", w.host, "tcp", "[2001:db8:f::1]:8080", "a1 2001:db8:f::1"},
		{"the same network", w.a2, "tcp", "192.0.2.1:8080", "a1 172.30.1.1"},
		{"the same network, IPv6", w.a2, "tcp", "[2001:db8:f::1]:8080", "a1 2001:db8:a::1"},
		{"outside", w.a1, "tcp", "192.0.2.2:80", "lan 192.0.2.1"},
		{"another network without a policy", w.lan, "tcp", "192.0.2.1:8090", "b1 192.0.2.2"},
	}
}

// TestClients: who may reach a network's published ports (publish=).
func TestClients(t *testing.T) { eachBackend(t, testClients) }

func testClients(t *testing.T, kind backend) {
	from := func(on bool, who string) string {
		if on {
			return who
		}
		return ""
	}
	for _, c := range []struct {
		publish         string
		lan4, lan6, net bool // the LAN by IPv4, by IPv6, containers of network b
	}{
		{"all", true, true, true},
		{"loopback", false, false, false},
		{"192.0.2.0/24", true, false, false},
		{"192.0.2.2,172.30.2.0/24 2001:db8:f::/64", true, true, true},
		{"198.51.100.0/24,2001:db8:ffff::/48", false, false, false},
		{"0.0.0.0/0,::/0", true, true, true},
		{"iface:eth0", true, true, false},
		{"iface:fwb", false, false, true},
		{"iface:eth1,172.30.2.2", false, false, true},
	} {
		t.Run(c.publish, func(t *testing.T) {
			w, _, _ := start(t, kind, func(a, _ *nat.Network, _, _ *nat.Endpoint) { a.Clients = clients(t, c.publish) })
			check(t, append(w.always(), []probe{
				{"LAN", w.lan, "tcp", "192.0.2.1:8080", from(c.lan4, "a1 192.0.2.2")},
				{"LAN, udp", w.lan, "udp", "192.0.2.1:8080", from(c.lan4, "a1 192.0.2.2")},
				{"LAN, published on one address", w.lan, "tcp", "192.0.2.1:8083", from(c.lan4, "a1 192.0.2.2")},
				{"LAN, IPv6", w.lan, "tcp", "[2001:db8:f::1]:8080", from(c.lan6, "a1 2001:db8:f::2")},
				{"another network", w.b1, "tcp", "192.0.2.1:8080", from(c.net, "a1 172.30.2.2")},
				{"unpublished", w.lan, "tcp", "172.30.1.2:81", ""},
			}...))
			w.dump(t)
		})
	}
}

// TestClientsOfEndpoint: an endpoint's own word counts more than its network's,
// whichever is stricter; it comes and goes with the endpoint.
func TestClientsOfEndpoint(t *testing.T) { eachBackend(t, testClientsOfEndpoint) }

func testClientsOfEndpoint(t *testing.T, kind backend) {
	own := clients(t, "192.0.2.2")
	w, fw, s := start(t, kind, func(a, b *nat.Network, a1, b1 *nat.Endpoint) {
		a.Clients, a1.Clients = clients(t, "loopback"), &own
		b.Clients, b1.Clients = nat.Clients{}, &nat.Clients{HostOnly: true}
	})
	lan := func(a1, b1 string) {
		t.Helper()
		check(t, []probe{
			{"stricter network", w.lan, "tcp", "192.0.2.1:8080", a1},
			{"open network", w.lan, "tcp", "192.0.2.1:8090", b1},
			{"the host", w.host, "tcp", "192.0.2.1:8090", "b1 192.0.2.1"},
		})
	}
	lan("a1 192.0.2.2", "")
	w.dump(t)
	s.Endpoints[0].Clients, s.Endpoints[1].Clients = nil, &nat.Clients{}
	fw.apply(t, nat.State{Endpoints: s.Endpoints})
	lan("", "b1 192.0.2.2")
	s.Networks[0].Clients = nat.Clients{}
	fw.apply(t, nat.State{Networks: s.Networks[:1]})
	lan("a1 192.0.2.2", "b1 192.0.2.2")
	s.Endpoints[0].Clients = &own
	fw.apply(t, nat.State{Endpoints: s.Endpoints[:1]})
	fw.remove(t, nat.State{Endpoints: s.Endpoints[:1]})
	s.Endpoints = s.Endpoints[1:]
	if r := fw.reconcile(t, s); len(r) != 0 {
		t.Errorf("Reconcile after the last of a list of clients went: %v", r)
	}
	if all := w.table(t) + w.host.run(t, "iptables-save"); strings.Contains(all, own.Key()) {
		t.Errorf("its chain is still there:\n%s", all)
	}
}

// TestClientsRouted: in a routed network the list counts for the container's
// own address.
func TestClientsRouted(t *testing.T) { eachBackend(t, testClientsRouted) }

func testClientsRouted(t *testing.T, kind backend) {
	w, _, _ := start(t, kind, func(a, _ *nat.Network, a1, _ *nat.Endpoint) {
		for i := range a.Families {
			a.Families[i].Mode, a.Families[i].Masquerade = nat.Routed, false
		}
		a.Clients = clients(t, "172.30.2.0/24,2001:db8:f::2")
		a1.Ports = []nat.Port{port(6, "", 0, "172.30.1.2:80"), port(6, "", 0, "[2001:db8:a::2]:80")}
	})
	check(t, []probe{
		{"LAN", w.lan, "tcp", "172.30.1.2:80", ""},
		{"LAN, IPv6", w.lan, "tcp", "[2001:db8:a::2]:80", "a1 2001:db8:f::2"},
		{"another network", w.b1, "tcp", "172.30.1.2:80", "a1 172.30.1.1"},
		{"unpublished", w.b1, "tcp", "172.30.1.2:81", ""},
		{"outside", w.a1, "tcp", "192.0.2.2:80", "lan 172.30.1.2"},
	})
	w.dump(t)
}
