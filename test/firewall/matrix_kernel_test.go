//go:build kernel

package firewall

import (
	"sync"
	"testing"

	"fairway/nat"
)

// A probe is a connection, and what its server must answer: its name and the
// client's address as it sees it; "" for no connection.
type probe struct {
	name    string
	from    *namespace
	network string
	to      string
	want    string
}

// check makes all connections at once. What must pass may need some tries: a
// neighbour's first answer takes up to a second.
func check(t *testing.T, probes []probe) {
	t.Helper()
	got := make([]string, len(probes))
	var wg sync.WaitGroup
	for i, p := range probes {
		wg.Go(func() {
			for try := 0; try < 1 || p.want != "" && got[i] == "" && try < 4; try++ {
				got[i] = p.from.ask(p.network, p.to)
			}
		})
	}
	wg.Wait()
	for i, p := range probes {
		if got[i] != p.want {
			t.Errorf("%s (%s to %s %s): got %q, want %q", p.name, p.from.name, p.network, p.to, got[i], p.want)
		}
	}
}

// TestMatrix: what must pass and what must not, beside each engine's rules,
// with both flavours of iptables and both policies of FORWARD.
func TestMatrix(t *testing.T) { eachBackend(t, testMatrix) }

func testMatrix(t *testing.T, kind backend) {
	for _, flavour := range flavours {
		for _, e := range engines {
			for _, policy := range []string{"DROP", "ACCEPT"} {
				if e.nft && (policy == "DROP" || flavour != flavours[0]) {
					continue // Docker's own networks don't work then; it has no rules in iptables
				}
				t.Run(flavour+"/"+e.name+"/"+policy, func(t *testing.T) {
					useFlavour(t, flavour)
					w := newWorld(t, kind)
					w.docker(t, e)
					w.host.run(t, "iptables", "-P", "FORWARD", policy)
					w.host.run(t, "ip6tables", "-P", "FORWARD", policy)
					fw := w.firewall(t)
					a, b := networks()
					a1, b1 := endpoints()
					state := nat.State{Networks: []nat.Network{a, b}, Endpoints: []nat.Endpoint{a1, b1}}
					fw.apply(t, nat.State{Networks: state.Networks})
					fw.apply(t, nat.State{Endpoints: state.Endpoints})
					if r := fw.reconcile(t, state); len(r) != 0 {
						t.Errorf("Reconcile after Apply repaired %v", r)
					}
					check(t, w.common())
					check(t, w.besideDocker(e, policy))
					if t.Failed() {
						w.dump(t)
					}
				})
			}
		}
	}
}

// common are the probes that don't depend on an engine or policy.
func (w *world) common() []probe {
	return []probe{
		{"outside, masqueraded", w.a1, "tcp", "192.0.2.2:80", "lan 192.0.2.1"},
		{"outside, masqueraded, IPv6", w.a1, "tcp", "[2001:db8:f::2]:80", "lan 2001:db8:f::1"},
		{"outside, masqueraded, udp", w.a1, "udp", "192.0.2.2:80", "lan 192.0.2.1"},
		{"same network", w.a2, "tcp", "172.30.1.2:81", "a1 172.30.1.3"},
		{"same network, IPv6", w.a2, "tcp", "[2001:db8:a::2]:81", "a1 2001:db8:a::3"},

		{"published, from the LAN", w.lan, "tcp", "192.0.2.1:8080", "a1 192.0.2.2"},
		{"published, from the LAN, udp", w.lan, "udp", "192.0.2.1:8080", "a1 192.0.2.2"},
		{"published, from the LAN, IPv6", w.lan, "tcp", "[2001:db8:f::1]:8080", "a1 2001:db8:f::2"},
		{"published on one address", w.lan, "tcp", "192.0.2.1:8083", "a1 192.0.2.2"},
		{"published on one address, by another", w.lan, "tcp", "172.30.1.1:8083", ""},
		{"published, from the host", w.host, "tcp", "192.0.2.1:8080", "a1 192.0.2.1"},
		{"published, from the host, IPv6", w.host, "tcp", "[2001:db8:f::1]:8080", "a1 2001:db8:f::1"},
		{"published, from the host, udp", w.host, "udp", "192.0.2.1:8080", "a1 192.0.2.1"},
		{"published, from the host by 127.0.0.1", w.host, "tcp", "127.0.0.1:8080", "a1 172.30.1.1"},
		{"published, from the host by 127.0.0.1, udp", w.host, "udp", "127.0.0.1:8080", "a1 172.30.1.1"},
		{"published on 127.0.0.1, from the host", w.host, "tcp", "127.0.0.1:8082", "a1 172.30.1.1"},
		{"published on 127.0.0.1, from the host by its address", w.host, "tcp", "192.0.2.1:8082", ""},
		{"published on 127.0.0.1, from the LAN", w.lan, "tcp", "192.0.2.1:8082", ""},
		{"published, from a sibling", w.a2, "tcp", "192.0.2.1:8080", "a1 172.30.1.1"},
		{"published, from a sibling by the gateway", w.a2, "tcp", "172.30.1.1:8080", "a1 172.30.1.1"},
		{"published, from a sibling, udp", w.a2, "udp", "192.0.2.1:8080", "a1 172.30.1.1"},
		{"published, from a sibling, IPv6", w.a2, "tcp", "[2001:db8:f::1]:8080", "a1 2001:db8:a::1"},
		{"published, from another network", w.b1, "tcp", "192.0.2.1:8080", "a1 172.30.2.2"},
		{"published, from another network, udp", w.b1, "udp", "192.0.2.1:8080", "a1 172.30.2.2"},
		{"published, from another network, IPv6", w.b1, "tcp", "[2001:db8:f::1]:8080", "a1 2001:db8:b::2"},
		{"published, to another network", w.a1, "tcp", "192.0.2.1:8090", "b1 172.30.1.2"},

		{"routed from the LAN", w.lan, "tcp", "172.30.1.2:81", ""},
		{"routed from the LAN to a published target", w.lan, "tcp", "172.30.1.2:80", ""},
		{"routed from the LAN, udp", w.lan, "udp", "172.30.1.2:80", ""},
		{"routed from the LAN, IPv6", w.lan, "tcp", "[2001:db8:a::2]:80", ""},
		{"another network", w.b1, "tcp", "172.30.1.2:80", ""},
		{"another network, IPv6", w.b1, "tcp", "[2001:db8:a::2]:80", ""},
	}
}

// besideDocker are the probes between our networks and docker0.
func (w *world) besideDocker(e engine, _ string) []probe {
	probes := []probe{
		{"unpublished, to docker0", w.a1, "tcp", "172.17.0.2:81", ""},
		{"published target, to docker0", w.a1, "tcp", "172.17.0.2:80", ""},
		{"unpublished, from docker0", w.d1, "tcp", "172.30.1.2:81", ""},
		{"published target, from docker0", w.d1, "tcp", "172.30.1.2:80", ""},
		{"IPv6, to docker0", w.a1, "tcp", "[2001:db8:d::2]:80", ""},
		{"IPv6, from docker0", w.d1, "tcp", "[2001:db8:a::2]:80", ""},
	}
	if e.rules != "" {
		probes = append(probes,
			probe{"published by Docker, from our container", w.a1, "tcp", "192.0.2.1:8081", "d1 172.17.0.1"},
			probe{"published by Docker, from the LAN", w.lan, "tcp", "192.0.2.1:8081", "d1 192.0.2.2"},
			probe{"published by us, from Docker's container", w.d1, "tcp", "192.0.2.1:8080", "a1 172.30.1.1"},
		)
	}
	if e.v6 {
		probes = append(probes,
			probe{"published by Docker, from our container, IPv6", w.a1, "tcp", "[2001:db8:f::1]:8081", "d1 2001:db8:d::1"},
			probe{"published by us, from Docker's container, IPv6", w.d1, "tcp", "[2001:db8:f::1]:8080", "a1 2001:db8:a::1"},
		)
	}
	return probes
}
