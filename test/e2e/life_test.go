//go:build e2e

package e2e

import (
	"strings"
	"testing"

	"fairway/test/e2e/lab"
)

var (
	ends = []string{oldest, newest}
	all  = []string{oldest, middle, newest}
)

// lan0 makes a network with the test's subnet, called n1.
func lan0(t testing.TB, h *lab.Host, args ...string) string {
	t.Helper()
	return network(t, h, world.driver, "n1", append([]string{"--subnet", subnet4(world.driver)}, args...)...)
}

func TestNetworkLife(t *testing.T) {
	on(t, all, func(t *testing.T, h *lab.Host) {
		lan0(t, h, "--gateway", addr4(world.driver, 254), "--label", "purpose=test")
		const format = `{{.Driver}} {{.Scope}} {{.Labels.purpose}} {{(index .IPAM.Config 0).Subnet}} {{(index .IPAM.Config 0).Gateway}}`
		want(t, "inspect", h.Docker(t, "network", "inspect", "--format", format, "n1"),
			strings.Join([]string{world.driver, "local", "test", subnet4(world.driver), addr4(world.driver, 254)}, " "))
		a := serve(t, h, "a1", "--network", "n1")
		want(t, "default route", defaultRoute(t, a, "-4"), addr4(world.driver, 254))
		if out := h.DockerErr(t, "network", "rm", "n1"); !strings.Contains(out, "active endpoints") {
			t.Errorf("rm of a network in use says %q", out)
		}
		h.Docker(t, "rm", "--force", "a1")
		h.Docker(t, "network", "rm", "n1")
		h.CheckBaseline(t)

		network(t, h, world.driver, "n2")
		network(t, h, world.driver, "n3")
		serve(t, h, "a1", "--network", "n3")
		h.Docker(t, "network", "prune", "--force")
		want(t, "networks after prune", h.Docker(t, "network", "ls", "--filter", "type=custom", "--format", "{{.Name}}"), "n3")
	})
}

func TestNames(t *testing.T) {
	on(t, all, func(t *testing.T, h *lab.Host) {
		lan0(t, h)
		serve(t, h, "b1", "--network", "n1", "--network-alias", "db")
		a := serve(t, h, "a1", "--network", "n1", "--link", "b1:bee")
		id := h.Docker(t, "inspect", "--format", "{{.Id}}", "b1")[:12]
		for _, name := range []string{"b1", "db", "bee", id, "b1.n1"} {
			a.pings(t, name, true)
			a.reaches(t, "tcp", name+":80", "b1", ip4(t, h, "a1", "n1"))
		}
		a.reaches(t, "udp", "b1:53", "b1", ip4(t, h, "a1", "n1"))
		h.Docker(t, "rename", "b1", "b2")
		a.reaches(t, "tcp", "b2:80", "b1", "")
		a.pings(t, "nobody", false)
	})
}

func TestStaticAddresses(t *testing.T) {
	on(t, ends, func(t *testing.T, h *lab.Host) {
		lan0(t, h, "--ipv6", "--subnet", subnet6(world.driver))
		const mac = "02:11:22:33:44:55"
		a := serve(t, h, "a1", "--network", "n1", "--ip", addr4(world.driver, 77), "--ip6", addr6(world.driver, 0x77), "--mac-address", mac)
		want(t, "MAC address in the container", linkValue(t, a, "eth0", "link/ether"), mac)
		want(t, "MAC address in inspect", inNetwork(t, h, "a1", "n1", "MacAddress"), mac)
		for _, address := range []string{addr4(world.driver, 77) + "/24", addr6(world.driver, 0x77) + "/64"} {
			if out, err := a.try("ip", "addr", "show", "dev", "eth0"); err != nil || !strings.Contains(out, address) {
				t.Errorf("eth0 has %q, %v, want %s", out, err, address)
			}
		}
		b := serve(t, h, "b1", "--network", "n1")
		b.reaches(t, "tcp4", "a1:80", "a1", ip4(t, h, "b1", "n1"))
		b.reaches(t, "tcp6", "a1:80", "a1", ip6(t, h, "b1", "n1"))
		if out := h.DockerErr(t, runArgs("c1", "--network", "n1", "--ip", addr4(world.driver, 77))...); !strings.Contains(out, "already in use") {
			t.Errorf("an address given twice: %q", out)
		}
	})
}

func TestConnectDisconnect(t *testing.T) {
	on(t, ends, func(t *testing.T, h *lab.Host) {
		lan0(t, h)
		network(t, h, world.driver, "n2", "--subnet", strings.Replace(subnet4(world.driver), ".0.0/", ".1.0/", 1))
		a := serve(t, h, "a1", "--network", "n1")
		b := serve(t, h, "b1", "--network", "n2")
		for range 3 {
			h.Docker(t, "network", "connect", "--alias", "two", "n2", "a1")
			b.reaches(t, "tcp", "two:80", "a1", ip4(t, h, "b1", "n2"))
			a.reaches(t, "tcp", lab.Outside+":7", "neighbour", h.IP)
			h.Docker(t, "network", "disconnect", "n2", "a1")
			b.pings(t, "a1", false)
		}
		// The network that it was started on, and with it the way out.
		h.Docker(t, "network", "connect", "n2", "a1")
		h.Docker(t, "network", "disconnect", "n1", "a1")
		a.reaches(t, "tcp", lab.Outside+":7", "neighbour", h.IP)
		h.Docker(t, "network", "disconnect", "n2", "a1")
		want(t, "links left", len(lines(mustTry(t, a, "ip", "-o", "link"))), 1)
	})
}

func TestPauseRestart(t *testing.T) {
	on(t, ends, func(t *testing.T, h *lab.Host) {
		lan0(t, h)
		a := serve(t, h, "a1", "--network", "n1", "--publish", "8080:80")
		b := serve(t, h, "b1", "--network", "n1")
		h.Docker(t, "pause", "a1")
		h.Docker(t, "unpause", "a1")
		b.reaches(t, "tcp", "a1:80", "a1", "")
		for range 3 {
			h.Docker(t, "restart", "a1")
			b.reaches(t, "tcp", "a1:80", "a1", "")
			a.reaches(t, "tcp", "b1:80", "b1", "")
			neighbour(h).reaches(t, "tcp", at(h.IP, 8080), "a1", lab.Neighbour)
		}
		h.Docker(t, "stop", "a1")
		neighbour(h).isShutOut(t, "tcp", at(h.IP, 8080))
		h.Docker(t, "start", "a1")
		neighbour(h).reaches(t, "tcp", at(h.IP, 8080), "a1", lab.Neighbour)
		h.Docker(t, "kill", "a1", "b1")
	})
}

func mustTry(t testing.TB, p party, args ...string) string {
	t.Helper()
	out, err := p.try(args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
