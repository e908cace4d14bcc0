//go:build e2e && vm

package e2e

import (
	"strings"
	"testing"
	"time"

	"fairway/test/e2e/lab"
)

// ipvlan makes a network of a driver that is on a LAN: Docker's own ipvlan, or
// fairway's mode.
func ipvlan(t testing.TB, h *lab.Host, driver, name string, args ...string) {
	t.Helper()
	if driver == "fairway" {
		args = append(args, "--opt", "mode=ipvlan")
	}
	network(t, h, driver, name, args...)
}

// routed are the arguments for a network whose containers the host is the router
// of: two subnets that nobody else has.
func routed(more ...string) []string {
	return append([]string{"--opt", "parent=eth0", "--subnet", "10.97.7.0/24", "--subnet", "10.97.8.0/24"}, more...)
}

// TestIPvlanOptions asks fairway, and in the first row Docker's own ipvlan driver,
// for the same: each container takes many seconds in the virtual machine. What
// else ipvlans do is package link's to test. The network is called "opt".
func TestIPvlanOptions(t *testing.T) {
	on(t, []string{oldest}, func(t *testing.T, h *lab.Host) {
		for _, r := range ipvlanRows() {
			for _, driver := range []string{"ipvlan", "fairway"} {
				if driver == "ipvlan" && r.ours {
					continue
				}
				t.Run(r.name+"/"+driver, func(t *testing.T) {
					defer tidy(t, h)
					ipvlan(t, h, driver, "opt", r.create...)
					r.check(t, h, driver)
				})
			}
		}
	})
}

func ipvlanRows() []macvlanRow {
	return []macvlanRow{
		{
			name: "l2", create: onLAN("--ipv6", "--subnet", lanSubnet6, "--gateway", lab.Neighbour6),
			check: func(t *testing.T, h *lab.Host, driver string) {
				a := serve(t, h, "a1", "--network", "opt", "--ip6", "2001:db8:1::a1", "--publish", "8080:80")
				b := serve(t, h, "b1", "--network", "opt", "--ip", "203.0.113.180")
				ip := ip4(t, h, "a1", "opt")
				want(t, "MAC address", linkValue(t, a, "eth0", "link/ether"), linkValue(t, machine(h.Machine), "eth0", "link/ether"))
				want(t, "MTU", linkValue(t, a, "eth0", "mtu"), "1500")
				want(t, "default route", defaultRoute(t, a, "-4"), lab.Neighbour)
				want(t, "links", len(lines(mustTry(t, a, "ip", "-o", "link"))), 2)
				a.reaches(t, "tcp", "203.0.113.180:80", "b1", ip)
				b.reaches(t, "udp", ip+":53", "a1", "203.0.113.180")
				a.reaches(t, "tcp", lab.Outside+":7", "neighbour", ip)
				a.reaches(t, "tcp6", at(lab.Outside6, 7), "neighbour", "2001:db8:1::a1")
				neighbour(h).reaches(t, "tcp", at(ip, 80), "a1", lab.Neighbour)
				if driver == "fairway" {
					neighbour(h).reaches(t, "tcp", at(ip, 8080), "a1", lab.Neighbour)
				}
				neighbour(h).isShutOut(t, "tcp", at(h.IP, 8080))
				machine(h.Machine).isShutOut(t, "tcp", at(ip, 80))
			},
		},
		{
			name: "l2, the host among them", ours: true,
			create: append(onLAN(), "--ipam-driver", "fairway-ipvlan", "--ip-range", "203.0.113.192/27", "--opt", "host_access=true"),
			check: func(t *testing.T, h *lab.Host, _ string) {
				a := serve(t, h, "a1", "--network", "opt", "--publish", "8080:80")
				ip := ip4(t, h, "a1", "opt")
				machine(h.Machine).reaches(t, "tcp", at(ip, 80), "a1", "")
				neighbour(h).reaches(t, "tcp", at(ip, 8080), "a1", lab.Neighbour)
				neighbour(h).reaches(t, "tcp", at(h.IP, 8080), "a1", "")
				a.reaches(t, "tcp", lab.Outside+":7", "neighbour", ip)
			},
		},
		{name: "l3", ours: true, create: routed("--opt", "ipvlan_mode=l3"), check: hostIsRouter},
		{name: "l3s", ours: true, create: routed("--opt", "ipvlan_mode=l3s"), check: hostIsRouter},
		{
			name: "several networks on a parent", ours: true, create: onLAN(), check: func(t *testing.T, h *lab.Host, _ string) {
				ipvlan(t, h, "fairway", "two", "--opt", "parent=eth0", "--subnet", "10.97.7.0/24", "--gateway", "10.97.7.1")
				for name, n := range map[string]string{"a1": "opt", "b1": "two"} {
					serve(t, h, name, "--network", n)
				}
				serve(t, h, "c1", "--network", "two").reaches(t, "tcp", at(ip4(t, h, "b1", "two"), 80), "b1", "")
				container(h, "a1").reaches(t, "tcp", lab.Outside+":7", "neighbour", "")
				for _, more := range []string{"mode=macvlan", "mode=ipvlan ipvlan_mode=l3"} {
					args := []string{"network", "create", "--driver", "fairway", "--opt", "parent=eth0", "--subnet", "10.97.9.0/24"}
					for _, o := range strings.Fields(more) {
						args = append(args, "--opt", o)
					}
					if out := h.DockerErr(t, append(args, "no")...); !strings.Contains(out, "has it (ipvlan, ipvlan_mode=l2, ipvlan_flag=bridge)") {
						t.Errorf("%s beside ipvlans: %q", more, out)
					}
				}
			},
		},
		{
			name: "refused", ours: true, create: onLAN(), check: func(t *testing.T, h *lab.Host, _ string) {
				if out := h.DockerErr(t, runArgs("a1", "--network", "opt", "--mac-address", "02:11:22:33:44:55")...); !strings.Contains(out, "an ipvlan has the MAC address of its parent") {
					t.Errorf("a MAC address: %q", out)
				}
				h.Docker(t, "rm", "a1")
				if out := h.DockerErr(t, "network", "create", "--driver", "fairway", "--ipam-driver", "fairway", "--opt", "mode=ipvlan", "--opt", "parent=eth0", "--subnet", "10.97.9.0/24", "no"); !strings.Contains(out, "not allowed with --ipam-driver fairway") {
					t.Errorf("fairway's addresses: %q", out)
				}
			},
		},
	}
}

// hostIsRouter checks containers that the host routes for: of two subnets, and
// known to the neighbour by a route.
func hostIsRouter(t *testing.T, h *lab.Host, _ string) {
	a := serve(t, h, "a1", "--network", "opt", "--ip", "10.97.7.5")
	serve(t, h, "b1", "--network", "opt", "--ip", "10.97.8.5")
	h.LAN.Route(t, "10.97.7.0/24", h)
	out := mustTry(t, a, "ip", "-4", "route", "show", "default")
	if !strings.HasPrefix(out, "default dev eth0") {
		t.Errorf("default route: %q", out)
	}
	a.reaches(t, "tcp", "10.97.8.5:80", "b1", "10.97.7.5")
	a.reaches(t, "tcp", at(lab.Neighbour, 7), "neighbour", "10.97.7.5")
	neighbour(h).reaches(t, "tcp", "10.97.7.5:80", "a1", lab.Neighbour)
	want(t, "links", len(lines(mustTry(t, a, "ip", "-o", "link"))), 2)
}

// TestVLANs asks Docker's own drivers and fairway for networks on VLANs of the
// LAN, whose machine there answers as 10.97.N.1.
func TestVLANs(t *testing.T) {
	on(t, []string{oldest}, func(t *testing.T, h *lab.Host) {
		for _, id := range []string{"40", "50"} {
			trunk(t, h, "lan", id, "10.97."+id+".1/24")
		}
		trunk(t, h, "lan", "100", "")
		trunk(t, h, "lan.100", "7", "10.97.7.1/24")
		for _, r := range []struct{ mode, driver string }{{"macvlan", "macvlan"}, {"macvlan", "fairway"}} {
			t.Run(r.mode+"/"+r.driver, func(t *testing.T) {
				defer tidy(t, h)
				for _, id := range []string{"40", "50"} {
					network(t, h, r.driver, "v"+id, onVLAN(r.mode, r.driver, "eth0."+id, "10.97."+id)...)
				}
				a := serve(t, h, "a1", "--network", "v40")
				serve(t, h, "b1", "--network", "v50")
				a.reaches(t, "tcp", "10.97.40.1:7", "neighbour", ip4(t, h, "a1", "v40"))
				container(h, "b1").reaches(t, "tcp", "10.97.50.1:7", "neighbour", ip4(t, h, "b1", "v50"))
				a.isShutOut(t, "tcp", at(ip4(t, h, "b1", "v50"), 80))
				h.Docker(t, "rm", "--force", "a1", "b1")
				h.Docker(t, "network", "rm", "v40")
				vlans(t, h, "eth0.50")
				h.Docker(t, "network", "rm", "v50")
				vlans(t, h, "")
			})
		}
		t.Run("fairway's own", func(t *testing.T) {
			defer tidy(t, h)
			h.Exec(t, "ip", "link", "add", "link", "eth0", "name", "eth0.60", "type", "vlan", "id", "60")
			defer h.Exec(t, "ip", "link", "del", "eth0.60")
			h.Exec(t, "ip", "link", "set", "eth0.60", "up")
			network(t, h, "fairway", "theirs", onVLAN("macvlan", "fairway", "eth0.60", "10.97.60")...)
			network(t, h, "fairway", "one", onVLAN("macvlan", "fairway", "eth0.40", "10.97.40")...)
			network(t, h, "fairway", "two", append(onVLAN("macvlan", "fairway", "eth0", "10.97.41"), "--opt", "vlan=40")...)
			network(t, h, "fairway", "three", onVLAN("ipvlan", "fairway", "eth0.100.7", "10.97.7")...)
			vlans(t, h, "eth0.100 eth0.100.7 eth0.40 eth0.60")
			serve(t, h, "a1", "--network", "one", "--ip", "10.97.40.9").reaches(t, "tcp", "10.97.40.1:7", "neighbour", "10.97.40.9")
			b := serve(t, h, "b1", "--network", "three", "--ip", "10.97.7.9")
			b.reaches(t, "tcp", "10.97.7.1:7", "neighbour", "10.97.7.9")

			h.Exec(t, "ip", "link", "del", "eth0.40") // with the interface in a1
			h.Exec(t, "ip", "link", "del", "eth0.100")
			container(h, "a1").reaches(t, "tcp", "10.97.40.1:7", "neighbour", "10.97.40.9")
			b.reaches(t, "tcp", "10.97.7.1:7", "neighbour", "10.97.7.9")
			h.KillFairway(t)
			h.Exec(t, "ip", "link", "del", "eth0.40")
			h.StartFairway(t)
			container(h, "a1").reaches(t, "tcp", "10.97.40.1:7", "neighbour", "10.97.40.9")

			h.Docker(t, "rm", "--force", "a1", "b1")
			for _, c := range []struct{ gone, left string }{
				{"one", "eth0.100 eth0.100.7 eth0.40 eth0.60"}, {"two", "eth0.100 eth0.100.7 eth0.60"}, {"three", "eth0.60"}, {"theirs", "eth0.60"},
			} {
				h.Docker(t, "network", "rm", c.gone)
				vlans(t, h, c.left)
			}
		})
	})
}

// trunk gives the machine on the LAN a VLAN of a link, until the test ends.
func trunk(t *testing.T, h *lab.Host, link, id, address string) {
	t.Helper()
	name := link + "." + id
	h.LAN.Neighbour.Exec(t, "ip", "link", "add", "link", link, "name", name, "type", "vlan", "id", id)
	t.Cleanup(func() { _, _ = h.LAN.Neighbour.Try("ip", "link", "del", name) })
	h.LAN.Neighbour.Exec(t, "ip", "link", "set", name, "up")
	if address != "" {
		h.LAN.Neighbour.Exec(t, "ip", "address", "add", address, "dev", name)
	}
}

// onVLAN are the arguments for a network with a subnet of three numbers.
func onVLAN(mode, driver, parent, subnet string) []string {
	args := []string{"--opt", "parent=" + parent, "--subnet", subnet + ".0/24", "--gateway", subnet + ".1"}
	if driver == "fairway" {
		args = append(args, "--opt", "mode="+mode)
	}
	return args
}

// vlans waits until these are the VLANs of the host.
func vlans(t *testing.T, h *lab.Host, names string) {
	t.Helper()
	var got string
	for range 50 { // links go a little later
		got = h.Sh(t, `ip -o link show type vlan | sed 's/^[0-9]*: \([^@]*\)@.*/\1/' | sort | tr '\n' ' '`)
		if got = strings.TrimSpace(got); got == names {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Errorf("VLANs %q, want %q", got, names)
}
