//go:build e2e

package e2e

import (
	"strings"
	"sync"
	"testing"

	"fairway/test/e2e/lab"
)

// A cell is one way to a published port: who asks, where, and as whom the
// container sees him; "" for no way.
type cell struct {
	from       party
	addr, seen string
}

// TestReachability asks for a container's ports from everywhere, by tcp and udp
// and both families, published on all addresses of the host, on one, on loopback,
// and by an address that the host gets later; with each firewall.
func TestReachability(t *testing.T) {
	each(t, []string{newest}, func(t *testing.T, engine string) {
		if world.driver == "bridge" {
			return // Docker's proxy hides who asks
		}
		h := own(t, lab.Config{Name: "own", Engine: world.tools.Engine(engine)})
		h.StartEngine(t)
		h.StartFairway(t, "--firewall", "nftables")
		h.Baseline(t, "bridge", "fairway")
		lan0(t, h, "--ipv6", "--subnet", subnet6(world.driver))
		network(t, h, world.driver, "n2", "--subnet", subnet("2"), "--ipv6", "--subnet", sixth("2"))
		network(t, h, "bridge", "n3", "--subnet", "10.98.3.0/24", "--ipv6", "--subnet", "fd98:3::/64")
		var args []string
		for _, p := range []string{"8080:", h.IP + ":8081:", "[" + h.IP6 + "]:8081:", "127.0.0.1:8082:", "[::1]:8082:"} {
			args = append(args, "--publish", p+"80", "--publish", p+"53/udp")
		}
		serve(t, h, "a1", append(args, "--network", "n1")...)
		for name, n := range map[string]string{"b1": "n1", "c1": "n2", "d1": "n3"} {
			serve(t, h, name, "--network", n)
		}
		later4, later6 := "203.0.113.241", "2001:db8:1::241"
		h.Exec(t, "ip", "addr", "add", later4+"/32", "dev", "eth0")
		h.Exec(t, "ip", "addr", "add", later6+"/64", "dev", "eth0", "nodad")
		askAll(t, h, later4, later6)
		h.KillFairway(t)
		h.StartFairway(t, "--firewall", "iptables")
		askAll(t, h, later4, later6)
		h.Exec(t, "ip", "addr", "del", later4+"/32", "dev", "eth0")
		h.Exec(t, "ip", "addr", "del", later6+"/64", "dev", "eth0")
		h.Clean(t)
	})
}

func askAll(t *testing.T, h *lab.Host, later4, later6 string) {
	t.Helper()
	all := append(
		cells(h, h.IP, later4, "127.0.0.1", addr4(world.driver, 1), map[string]string{
			"neighbour": lab.Neighbour, "c1": ip4(t, h, "c1", "n2"),
		}),
		cells(h, h.IP6, later6, "::1", strings.TrimSuffix(subnet6(world.driver), "/64")+"1", map[string]string{
			"neighbour": lab.Neighbour6, "c1": ip6(t, h, "c1", "n2"),
		})...)
	var wait sync.WaitGroup
	room := make(chan struct{}, 16)
	for _, c := range all {
		for _, proto := range []string{"tcp", "udp"} {
			wait.Go(func() {
				room <- struct{}{}
				defer func() { <-room }()
				if c.seen == "" {
					c.from.isShutOut(t, proto, c.addr)
				} else {
					c.from.reaches(t, proto, c.addr, "a1", c.seen)
				}
			})
		}
	}
	wait.Wait()
}

// cells are those of one family. Port 8080 is published on all addresses, 8081 on
// the host's first, 8082 on loopback. Whom the container sees is the gateway of its
// network, unless seen has the name of who asks, or it is the host by an address
// of its own.
func cells(h *lab.Host, ip, later, loopback, gateway string, seen map[string]string) (out []cell) {
	host := machine(h.Machine)
	add := func(from party, addr string, port int, open bool) {
		c := cell{from: from, addr: at(addr, port)}
		switch {
		case !open:
		case seen[from.name] != "":
			c.seen = seen[from.name]
		case from.name == host.name && addr != loopback:
			c.seen = addr
		default:
			c.seen = gateway
		}
		out = append(out, c)
	}
	for _, from := range []party{neighbour(h), host, container(h, "a1"), container(h, "b1"), container(h, "c1"), container(h, "d1")} {
		add(from, ip, 8080, true)
		add(from, later, 8080, true)
		add(from, ip, 8081, true)
		add(from, later, 8081, false)
		add(from, ip, 8082, false)
	}
	add(host, loopback, 8080, true)
	add(host, loopback, 8081, false)
	add(host, loopback, 8082, true)
	return out
}
