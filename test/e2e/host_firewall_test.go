//go:build e2e

package e2e

import (
	"testing"

	"fairway/test/e2e/lab"
)

// TestHostFirewall checks that the host's own INPUT rules decide about a
// published port (publish=host-firewall), and that the container sees its client.
func TestHostFirewall(t *testing.T) {
	each(t, []string{newest}, func(t *testing.T, engine string) {
		if world.driver == "bridge" {
			return // has no such option
		}
		h := running(t, engine)
		n := neighbour(h)
		network(t, h, world.driver, "n2", "--subnet", subnet("2"), "--ipv6", "--subnet", sixth("2"), "--opt", "publish=host-firewall")
		serve(t, h, "a1", "--network", "n2", "--publish", "8080:80", "--publish", "8053:53/udp")
		open := func(when string) {
			t.Helper()
			t.Log(when)
			n.reaches(t, "tcp", at(h.IP, 8080), "a1", lab.Neighbour)
			n.reaches(t, "udp", at(h.IP, 8053), "a1", lab.Neighbour)
			n.reaches(t, "tcp6", at(h.IP6, 8080), "a1", lab.Neighbour6)
			machine(h.Machine).reaches(t, "tcp", "127.0.0.1:8080", "a1", "")
		}
		open("at once")
		wantPort(t, h, 8080, "reachable_from", "host firewall")
		wantPort(t, h, 8080, "proxied", "all")

		h.Exec(t, "iptables", "-I", "INPUT", "-p", "tcp", "--dport", "8080", "!", "-i", "lo", "-j", "DROP")
		n.isShutOut(t, "tcp", at(h.IP, 8080))
		h.Exec(t, "iptables", "-I", "INPUT", "-p", "tcp", "--dport", "8080", "-s", lab.Neighbour, "-j", "ACCEPT")
		n.reaches(t, "tcp", at(h.IP, 8080), "a1", lab.Neighbour)
		h.Exec(t, "iptables", "-F", "INPUT")

		h.Fairway(t, "ports", "add", "a1", "9090:80")
		n.reaches(t, "tcp", at(h.IP, 9090), "a1", lab.Neighbour)
		h.Docker(t, "restart", "--time", "0", "a1")
		open("container started again")
		h.KillFairway(t) // closed without it
		n.isShutOut(t, "tcp", at(h.IP, 8080))
		h.StartFairway(t)
		open("daemon started again")
		h.Docker(t, "rm", "--force", "a1")
		n.isShutOut(t, "tcp", at(h.IP, 8080))
	})
}
