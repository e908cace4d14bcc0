//go:build e2e

package e2e

import (
	"strings"
	"sync"
	"testing"

	"fairway/test/e2e/lab"
)

// subnet returns the n-th subnet of the tests; lan0 has the one of 0.
func subnet(n string) string {
	return strings.Replace(subnet4(world.driver), ".0.0/", "."+n+".0/", 1)
}

func TestTwoNetworks(t *testing.T) {
	on(t, ends, func(t *testing.T, h *lab.Host) {
		network(t, h, world.driver, "n1", "--subnet", subnet("1"))
		network(t, h, world.driver, "n2", "--subnet", subnet("2"))
		one, two := strings.TrimSuffix(subnet("1"), "0/24"), strings.TrimSuffix(subnet("2"), "0/24")
		h.Docker(t, append([]string{"create"}, runArgs("a1", "--network", "n2", "--publish", "8080:80")[2:]...)...)
		h.Docker(t, "network", "connect", "n1", "a1")
		h.Docker(t, "start", "a1")
		a := container(h, "a1")
		// Without priorities the first by name is the gateway.
		want(t, "default route", defaultRoute(t, a, "-4"), one+"1")
		a.reaches(t, "tcp", lab.Outside+":7", "neighbour", h.IP)
		neighbour(h).reaches(t, "tcp", at(h.IP, 8080), "a1", lab.Neighbour)
		h.Docker(t, "network", "disconnect", "n1", "a1")
		want(t, "default route", defaultRoute(t, a, "-4"), two+"1")
		a.reaches(t, "tcp", lab.Outside+":7", "neighbour", h.IP)
		neighbour(h).reaches(t, "tcp", at(h.IP, 8080), "a1", lab.Neighbour)
		h.Docker(t, "network", "connect", "n1", "a1")
		neighbour(h).reaches(t, "tcp", at(h.IP, 8080), "a1", lab.Neighbour)
		serve(t, h, "b1", "--network", "n1").reaches(t, "tcp", "a1:80", "a1", "")
		serve(t, h, "c1", "--network", "n2").reaches(t, "tcp", "a1:80", "a1", "")
	})
}

func TestGatewayPriority(t *testing.T) {
	on(t, []string{newest}, func(t *testing.T, h *lab.Host) {
		network(t, h, world.driver, "n1", "--subnet", subnet("1"))
		network(t, h, world.driver, "n2", "--subnet", subnet("2"))
		a := serve(t, h, "a1", "--network", "name=n1", "--network", "name=n2,gw-priority=1", "--publish", "8080:80")
		want(t, "default route", defaultRoute(t, a, "-4"), strings.TrimSuffix(subnet("2"), "0/24")+"1")
		a.reaches(t, "tcp", lab.Outside+":7", "neighbour", h.IP)
		neighbour(h).reaches(t, "tcp", at(h.IP, 8080), "a1", lab.Neighbour)
	})
}

func TestInternal(t *testing.T) {
	on(t, ends, func(t *testing.T, h *lab.Host) {
		lan0(t, h, "--internal")
		h.LAN.Route(t, subnet4(world.driver), h)
		a := serve(t, h, "a1", "--network", "n1", "--publish", "8080:80", "--ip", addr4(world.driver, 10))
		b := serve(t, h, "b1", "--network", "n1")
		want(t, "default route", defaultRoute(t, a, "-4"), "")
		b.reaches(t, "tcp", "a1:80", "a1", ip4(t, h, "b1", "n1"))
		a.isShutOut(t, "tcp", lab.Outside+":7")
		neighbour(h).isShutOut(t, "tcp", at(h.IP, 8080))
		neighbour(h).isShutOut(t, "tcp", at(addr4(world.driver, 10), 80))
		// Even who sets a route itself does not get out.
		h.Docker(t, "run", "--detach", "--name", "c1", "--network", "n1", "--cap-add", "NET_ADMIN", lab.Image, "probe", "sleep")
		c := container(h, "c1")
		mustTry(t, c, "ip", "route", "replace", "default", "via", addr4(world.driver, 1))
		c.isShutOut(t, "tcp", lab.Outside+":7")
		h.LAN.NeverSaw(t, "tcp", ip4(t, h, "c1", "n1"))
	})
}

func TestDualStack(t *testing.T) {
	on(t, all, func(t *testing.T, h *lab.Host) {
		lan0(t, h, "--ipv6", "--subnet", subnet6(world.driver))
		a := serve(t, h, "a1", "--network", "n1")
		serve(t, h, "b1", "--network", "n1", "--publish", "8080:80", "--publish", "8053:53/udp")
		for _, f := range []struct{ family, client, host, neighbour, outside string }{
			{"4", ip4(t, h, "a1", "n1"), h.IP, lab.Neighbour, lab.Outside},
			{"6", ip6(t, h, "a1", "n1"), h.IP6, lab.Neighbour6, lab.Outside6},
		} {
			a.reaches(t, "tcp"+f.family, "b1:80", "b1", f.client)
			a.reaches(t, "tcp"+f.family, at(f.outside, 7), "neighbour", f.host)
			a.reaches(t, "udp"+f.family, at(f.outside, 7), "neighbour", f.host)
			neighbour(h).reaches(t, "tcp"+f.family, at(f.host, 8080), "b1", f.neighbour)
			neighbour(h).reaches(t, "udp"+f.family, at(f.host, 8053), "b1", f.neighbour)
			machine(h.Machine).reaches(t, "tcp"+f.family, at(f.host, 8080), "b1", "")
			a.reaches(t, "tcp"+f.family, at(f.host, 8080), "b1", "")
		}
	})
}

// TestNoIPv6 checks that a link on a network without IPv6 has none, not even
// an address that the kernel makes.
func TestNoIPv6(t *testing.T) {
	on(t, ends, func(t *testing.T, h *lab.Host) {
		lan0(t, h)
		a := serve(t, h, "a1", "--network", "n1")
		want(t, "IPv6 addresses of eth0", mustTry(t, a, "ip", "-6", "addr", "show", "dev", "eth0"), "")
	})
}

func TestIsolation(t *testing.T) {
	on(t, ends, func(t *testing.T, h *lab.Host) {
		six := func(n string) []string { return []string{"--ipv6", "--subnet", "fd99:" + n + "::/64"} }
		network(t, h, world.driver, "n1", append(six("1"), "--subnet", subnet("1"))...)
		network(t, h, world.driver, "n2", append(six("2"), "--subnet", subnet("2"))...)
		network(t, h, "bridge", "n3", "--ipv6", "--subnet", "fd98:3::/64", "--subnet", "10.98.3.0/24")
		parties := map[string]party{}
		for name, network := range map[string]string{"a1": "n1", "b1": "n2", "c1": "n3", "d1": "bridge"} {
			parties[name] = serve(t, h, name, "--network", network)
		}
		var wait sync.WaitGroup
		for name, network := range map[string]string{"a1": "n1", "b1": "n2", "c1": "n3", "d1": "bridge"} {
			v4, v6 := ip4(t, h, name, network), ip6(t, h, name, network)
			machine(h.Machine).reaches(t, "tcp", at(v4, 80), name, "")
			for from, p := range parties {
				// Between two of Docker's own is Docker's affair.
				if from == name || network == "n3" && from == "d1" || network == "bridge" && from == "c1" {
					continue
				}
				wait.Go(func() { p.isShutOut(t, "tcp", at(v4, 80)) })
				wait.Go(func() { p.pings(t, v4, false) })
				if v6 != "" && from != "d1" {
					wait.Go(func() { p.isShutOut(t, "tcp", at(v6, 80)) })
				}
			}
		}
		wait.Wait()
		h.LAN.Route(t, subnet("1"), h)
		neighbour(h).isShutOut(t, "tcp", at(ip4(t, h, "a1", "n1"), 80))
	})
}

// TestBeside checks the modes that are Docker's own while fairway is there.
func TestBeside(t *testing.T) {
	on(t, ends, func(t *testing.T, h *lab.Host) {
		lan0(t, h)
		a := serve(t, h, "a1", "--network", "n1")
		host := serve(t, h, "b1", "--network", "host", "--hostname", "b1")
		host.reaches(t, "tcp", at(ip4(t, h, "a1", "n1"), 80), "a1", "")
		host.reaches(t, "tcp", lab.Outside+":7", "neighbour", h.IP)
		neighbour(h).reaches(t, "tcp", at(h.IP, 81), "b1", lab.Neighbour)
		a.reaches(t, "tcp", at(h.IP, 81), "b1", ip4(t, h, "a1", "n1"))
		h.Docker(t, "rm", "--force", "b1")

		none := serve(t, h, "c1", "--network", "none")
		want(t, "links of network none", len(lines(mustTry(t, none, "ip", "-o", "link"))), 1)

		h.Docker(t, "run", "--detach", "--name", "d1", "--network", "container:a1", lab.Image, "probe", "sleep")
		container(h, "d1").reaches(t, "tcp", "127.0.0.1:80", "a1", "127.0.0.1")
		container(h, "d1").reaches(t, "tcp", lab.Outside+":7", "neighbour", h.IP)
		serve(t, h, "e1", "--network", "bridge", "--publish", "8080:80")
		neighbour(h).reaches(t, "tcp", at(h.IP, 8080), "e1", lab.Neighbour)
	})
}
