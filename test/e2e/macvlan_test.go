//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"fairway/test/e2e/lab"
)

// The LAN's subnets, of which the tests' networks give out the upper part.
const (
	lanSubnet  = "203.0.113.0/24"
	lanRange   = "203.0.113.128/26"
	lanSubnet6 = "2001:db8:1::/64"
)

// macvlan makes a network of a driver that is on a LAN: Docker's own macvlan, or
// fairway's mode.
func macvlan(t testing.TB, h *lab.Host, driver, name string, args ...string) {
	t.Helper()
	if driver == "fairway" {
		args = append(args, "--opt", "mode=macvlan")
	}
	network(t, h, driver, name, args...)
}

// onLAN are the arguments for a network on the LAN of eth0, with the router that
// is there.
func onLAN(more ...string) []string {
	return append([]string{"--opt", "parent=eth0", "--subnet", lanSubnet, "--ip-range", lanRange, "--gateway", lab.Neighbour}, more...)
}

// A macvlanRow is one option of Docker's own macvlan driver and what it must do
// there and on fairway alike.
type macvlanRow struct {
	name   string
	create []string
	only   string // the first engine that is asked
	ours   bool   // Docker's own driver isn't asked
	parent string // a link of this name is plugged into the LAN
	check  func(t *testing.T, h *lab.Host, driver string)
}

// TestMacvlanOptions runs each row's assertion on both drivers. The network is
// called "opt".
func TestMacvlanOptions(t *testing.T) {
	on(t, ends, func(t *testing.T, h *lab.Host) {
		for _, r := range macvlanRows() {
			for _, driver := range []string{"macvlan", "fairway"} {
				if !r.runs(h.Engine().Version(), driver) {
					continue
				}
				t.Run(r.name+"/"+driver, func(t *testing.T) {
					defer tidy(t, h)
					if r.parent != "" {
						h.LAN.Plug(t, h, r.parent)
						defer h.LAN.Unplug(t, h, r.parent)
					}
					macvlan(t, h, driver, "opt", r.create...)
					r.check(t, h, driver)
				})
			}
		}
	})
}

// runs says whether a row means something on an engine. Docker's own driver is
// asked on the newest only, where it can: it wants dummy links for a network
// without a parent, which kernels here may lack.
func (r macvlanRow) runs(engine, driver string) bool {
	if driver == "macvlan" {
		return engine == newest && !r.ours
	}
	return world.driver == "fairway" && (engine == newest || r.only != newest)
}

func macvlanRows() []macvlanRow {
	return []macvlanRow{
		{
			name: "parent", create: onLAN("--aux-address", "printer=203.0.113.128"), check: func(t *testing.T, h *lab.Host, _ string) {
				a := serve(t, h, "a1", "--network", "opt", "--publish", "8080:80")
				b := serve(t, h, "b1", "--network", "opt", "--ip", "203.0.113.200", "--mac-address", "02:11:22:33:44:55")
				ip := ip4(t, h, "a1", "opt")
				want(t, "address of a1", ip, "203.0.113.129")
				want(t, "MAC address of b1", linkValue(t, b, "eth0", "link/ether"), "02:11:22:33:44:55")
				want(t, "MTU", linkValue(t, a, "eth0", "mtu"), "1500")
				want(t, "default route", defaultRoute(t, a, "-4"), lab.Neighbour)
				want(t, "links", len(lines(mustTry(t, a, "ip", "-o", "link"))), 2)
				want(t, "IPv6 addresses", mustTry(t, a, "ip", "-6", "addr", "show", "dev", "eth0"), "")
				a.reaches(t, "tcp", "b1:80", "b1", ip)
				a.reaches(t, "udp", "b1:53", "b1", ip)
				a.reaches(t, "tcp", lab.Outside+":7", "neighbour", ip)
				neighbour(h).reaches(t, "tcp", at(ip, 80), "a1", lab.Neighbour)
				neighbour(h).isShutOut(t, "tcp", at(h.IP, 8080)) // -p publishes nothing on the host
				machine(h.Machine).isShutOut(t, "tcp", at(ip, 80))
			},
		}, {
			name: "several networks on a parent", create: onLAN(), check: func(t *testing.T, h *lab.Host, driver string) {
				macvlan(t, h, driver, "two", "--opt", "parent=eth0", "--subnet", "10.97.7.0/24", "--gateway", "10.97.7.1")
				macvlan(t, h, "macvlan", "theirs", "--opt", "parent=eth0", "--subnet", "10.98.7.0/24", "--gateway", "10.98.7.1")
				for name, n := range map[string]string{"a1": "opt", "b1": "two", "c1": "theirs"} {
					serve(t, h, name, "--network", n)
				}
				container(h, "a1").reaches(t, "tcp", lab.Outside+":7", "neighbour", "")
				serve(t, h, "d1", "--network", "two").reaches(t, "tcp", "b1:80", "b1", "")
				serve(t, h, "e1", "--network", "theirs").reaches(t, "tcp", "c1:80", "c1", "")
			},
		}, {
			name: "macvlan_mode=private", create: onLAN("--opt", "macvlan_mode=private"), check: apart,
		}, {
			name: "macvlan_mode=vepa", create: onLAN("--opt", "macvlan_mode=vepa"), check: apart,
		}, {
			name: "macvlan_mode=passthru", parent: "eth7",
			create: []string{"--opt", "parent=eth7", "--opt", "macvlan_mode=passthru", "--subnet", lanSubnet, "--ip-range", lanRange, "--gateway", lab.Neighbour},
			check: func(t *testing.T, h *lab.Host, driver string) {
				before := linkValue(t, machine(h.Machine), "eth7", "link/ether")
				a := serve(t, h, "a1", "--network", "opt")
				a.reaches(t, "tcp", lab.Outside+":7", "neighbour", ip4(t, h, "a1", "opt"))
				neighbour(h).reaches(t, "tcp", at(ip4(t, h, "a1", "opt"), 80), "a1", lab.Neighbour)
				out := h.DockerErr(t, runArgs("b1", "--network", "opt")...)
				if driver == "fairway" && !strings.Contains(out, "has room for one") {
					t.Errorf("a second container: %q", out)
				}
				h.Docker(t, "rm", "--force", "a1", "b1")
				for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(100 * time.Millisecond) { // it goes a little later
					if linkValue(t, machine(h.Machine), "eth7", "link/ether") == before {
						return
					}
				}
				t.Error("the parent didn't get its own MAC address back")
			},
		}, {
			name: "no parent", ours: true, create: []string{"--subnet", "10.97.7.0/24"}, check: apartFromAll,
		}, {
			name: "internal", ours: true, only: newest, create: []string{"--subnet", "10.97.7.0/24", "--internal"}, check: apartFromAll,
		}, {
			name: "internal with a parent", only: newest, create: append(onLAN()[:6], "--internal"),
			check: func(t *testing.T, h *lab.Host, _ string) {
				a := serve(t, h, "a1", "--network", "opt")
				want(t, "default route", defaultRoute(t, a, "-4"), "")
				a.reaches(t, "tcp", at(lab.Neighbour, 7), "neighbour", ip4(t, h, "a1", "opt"))
				a.isShutOut(t, "tcp", lab.Outside+":7")
			},
		}, {
			name: "without a gateway", ours: true, only: newest, create: onLAN()[:6], check: func(t *testing.T, h *lab.Host, _ string) {
				noWayOut(t, h)
			},
		}, {
			name: "two families", create: onLAN("--ipv6", "--subnet", lanSubnet6, "--gateway", lab.Neighbour6),
			check: func(t *testing.T, h *lab.Host, _ string) {
				a := serve(t, h, "a1", "--network", "opt", "--ip6", "2001:db8:1::a1")
				serve(t, h, "b1", "--network", "opt", "--ip6", "2001:db8:1::b1")
				want(t, "default route", defaultRoute(t, a, "-6"), lab.Neighbour6)
				a.reaches(t, "tcp6", "b1:80", "b1", "2001:db8:1::a1")
				a.reaches(t, "tcp6", at(lab.Outside6, 7), "neighbour", "2001:db8:1::a1")
				a.reaches(t, "tcp4", at(lab.Outside, 7), "neighbour", ip4(t, h, "a1", "opt"))
				neighbour(h).reaches(t, "tcp6", at("2001:db8:1::b1", 80), "b1", lab.Neighbour6)
			},
		}, {
			name: "IPv6 alone", only: newest,
			create: []string{"--opt", "parent=eth0", "--ipv4=false", "--ipv6", "--subnet", lanSubnet6, "--gateway", lab.Neighbour6},
			check: func(t *testing.T, h *lab.Host, _ string) {
				a := serve(t, h, "a1", "--network", "opt", "--ip6", "2001:db8:1::a1")
				a.reaches(t, "tcp6", at(lab.Outside6, 7), "neighbour", "2001:db8:1::a1")
				want(t, "IPv4 addresses", mustTry(t, a, "ip", "-4", "addr", "show", "dev", "eth0"), "")
			},
		}, {
			name: "two subnets of a family", create: onLAN("--subnet", "10.97.7.0/24", "--gateway", "10.97.7.1"),
			check: func(t *testing.T, h *lab.Host, _ string) {
				a := serve(t, h, "a1", "--network", "opt", "--ip", "10.97.7.5")
				want(t, "default route", defaultRoute(t, a, "-4"), "10.97.7.1")
				b := serve(t, h, "b1", "--network", "opt", "--ip", "203.0.113.150")
				b.reaches(t, "tcp", lab.Outside+":7", "neighbour", "203.0.113.150")
				serve(t, h, "c1", "--network", "opt", "--ip", "10.97.7.6").reaches(t, "tcp", "10.97.7.5:80", "a1", "10.97.7.6")
			},
		},
	}
}

// apart checks containers that reach the LAN, but not each other.
func apart(t *testing.T, h *lab.Host, _ string) {
	a := serve(t, h, "a1", "--network", "opt")
	serve(t, h, "b1", "--network", "opt")
	a.reaches(t, "tcp", lab.Outside+":7", "neighbour", ip4(t, h, "a1", "opt"))
	neighbour(h).reaches(t, "tcp", at(ip4(t, h, "b1", "opt"), 80), "b1", lab.Neighbour)
	a.isShutOut(t, "tcp", at(ip4(t, h, "b1", "opt"), 80))
}

// apartFromAll checks containers that reach each other and nothing else.
func apartFromAll(t *testing.T, h *lab.Host, _ string) {
	a := serve(t, h, "a1", "--network", "opt")
	serve(t, h, "b1", "--network", "opt").reaches(t, "tcp", "a1:80", "a1", "")
	want(t, "default route", defaultRoute(t, a, "-4"), "")
	want(t, "links", len(lines(mustTry(t, a, "ip", "-o", "link"))), 2)
	a.isShutOut(t, "tcp", lab.Outside+":7")
	machine(h.Machine).isShutOut(t, "tcp", at(ip4(t, h, "a1", "opt"), 80))
}

// noWayOut checks a container on the LAN that nobody gave a gateway: none is
// invented, and Docker's gateway bridge isn't attached.
func noWayOut(t *testing.T, h *lab.Host) {
	t.Helper()
	a := serve(t, h, "a1", "--network", "opt")
	want(t, "default route", defaultRoute(t, a, "-4"), "")
	want(t, "links", len(lines(mustTry(t, a, "ip", "-o", "link"))), 2)
	a.reaches(t, "tcp", at(lab.Neighbour, 7), "neighbour", ip4(t, h, "a1", "opt"))
	a.isShutOut(t, "tcp", lab.Outside+":7")
}

// TestMacvlanOurs checks what fairway's mode has and Docker's driver hasn't.
func TestMacvlanOurs(t *testing.T) {
	on(t, ends, func(t *testing.T, h *lab.Host) {
		if world.driver != "fairway" {
			return
		}
		t.Run("options", func(t *testing.T) {
			defer tidy(t, h)
			macvlan(t, h, "fairway", "opt", onLAN("--opt", "mtu=1400", "--opt", "routes=10.50.0.0/16 via 203.0.113.9",
				"--opt", "com.docker.network.container_iface_prefix=lan")...)
			a := serve(t, h, "a1", "--network", "opt")
			want(t, "MTU", linkValue(t, a, "lan0", "mtu"), "1400")
			want(t, "route", strings.Fields(mustTry(t, a, "ip", "route", "show", "10.50.0.0/16"))[2], "203.0.113.9")
			a.reaches(t, "tcp", lab.Outside+":7", "neighbour", "")
		})
		t.Run("fairway's addresses, no gateway named", func(t *testing.T) {
			defer tidy(t, h)
			macvlan(t, h, "fairway", "opt", append(onLAN()[:6], "--ipam-driver", "fairway")...)
			noWayOut(t, h)
		})
		t.Run("gateway=none", func(t *testing.T) {
			defer tidy(t, h)
			macvlan(t, h, "fairway", "opt", append(onLAN()[:6], "--opt", "gateway=none")...)
			noWayOut(t, h)
		})
		t.Run("refused", func(t *testing.T) {
			defer tidy(t, h)
			h.LAN.Plug(t, h, "eth7")
			defer h.LAN.Unplug(t, h, "eth7")
			h.Exec(t, "ip", "link", "add", "tbr0", "type", "bridge")
			defer h.Exec(t, "ip", "link", "del", "tbr0")
			refused := func(says string, args ...string) {
				t.Helper()
				args = append([]string{"network", "create", "--driver", "fairway", "--opt", "mode=macvlan", "--subnet", "10.97.7.0/24"}, args...)
				if out := h.DockerErr(t, append(args, "no")...); !strings.Contains(out, says) {
					t.Errorf("%v: %q, want %q", args, out, says)
				}
			}
			refused(`option parent="eth9": there is no such link`, "--opt", "parent=eth9")
			refused(`option parent="lo": is the loopback`, "--opt", "parent=lo")
			refused(`option vlan="4095": want a number from 1 to 4094`, "--opt", "parent=eth0", "--opt", "vlan=4095")
			refused(`option parent="eth9.40": there is no link eth9`, "--opt", "parent=eth9.40")
			refused(`option mtu="9000": the MTU of parent eth0 is 1500`, "--opt", "parent=eth0", "--opt", "mtu=9000")
			refused(`option macvlan_mode="bridged": want bridge, private, vepa or passthru`, "--opt", "parent=eth0", "--opt", "macvlan_mode=bridged")
			macvlan(t, h, "fairway", "opt", "--opt", "parent=eth7", "--subnet", "10.97.8.0/24")
			refused("passthru wants it for itself, and network", "--opt", "parent=eth7", "--opt", "macvlan_mode=passthru")
			h.Docker(t, "network", "rm", "opt")
			macvlan(t, h, "fairway", "opt", "--opt", "parent=eth7", "--opt", "macvlan_mode=passthru", "--subnet", "10.97.8.0/24")
			refused("has it for itself (passthru)", "--opt", "parent=eth7")
			h.Docker(t, "network", "rm", "opt")
			h.Exec(t, "ip", "link", "set", "eth7", "master", "tbr0")
			refused("is a port of a bridge or bond", "--opt", "parent=eth7")
			h.Exec(t, "ip", "link", "set", "eth7", "nomaster", "down")
			refused("is down; set it up first", "--opt", "parent=eth7")
		})
	})
}

// TestMacvlanLife restarts everything there is around containers on a LAN, and
// takes the LAN itself away.
func TestMacvlanLife(t *testing.T) {
	each(t, ends, func(t *testing.T, engine string) {
		if world.driver != "fairway" {
			return
		}
		h := running(t, engine)
		h.LAN.Plug(t, h, "eth7")
		macvlan(t, h, "fairway", "lan", "--opt", "parent=eth7", "--subnet", lanSubnet, "--ip-range", lanRange, "--gateway", lab.Neighbour,
			"--opt", "host_access=true", "--aux-address", "host="+hostsOwn)
		serve(t, h, "a1", "--network", "lan", "--restart", "always", "--publish", "8080:80")
		b := serve(t, h, "b1", "--network", "lan")
		ip := ip4(t, h, "a1", "lan")
		both := func(what string) {
			t.Helper()
			for _, port := range []int{80, 8080} {
				neighbour(h).reaches(t, "tcp", at(ip, port), "a1", lab.Neighbour)
			}
			neighbour(h).reaches(t, "tcp", at(h.IP, 8080), "a1", hostsOwn)
			machine(h.Machine).reaches(t, "tcp", at(ip, 80), "a1", hostsOwn)
			b.pings(t, hostsOwn, true)
			b.reaches(t, "tcp", "a1:80", "a1", ip4(t, h, "b1", "lan"))
			if t.Failed() {
				t.Fatalf("after: %s", what)
			}
		}
		both("start")
		h.Docker(t, "restart", "a1")
		both("restart of a container")
		for range 2 {
			h.Docker(t, "network", "disconnect", "lan", "b1")
			h.Docker(t, "network", "connect", "lan", "b1")
		}
		both("disconnect and connect")

		check := talk(t, h.LAN.Neighbour, at(ip, 80), "3")
		h.KillFairway(t)
		h.StartFairway(t)
		check()
		h.Docker(t, "restart", "b1")
		both("kill of the daemon")

		h.LAN.Unplug(t, h, "eth7")
		remarks(t, h, "waits for eth7")
		if out := h.DockerErr(t, runArgs("c1", "--network", "lan")...); !strings.Contains(out, "eth7: no such device") {
			t.Errorf("a container without its parent: %q", out)
		}
		h.Docker(t, "rm", "c1")
		h.KillFairway(t) // and it starts without it
		h.StartFairway(t)
		remarks(t, h, "waits for eth7")
		h.LAN.Plug(t, h, "eth7")
		both("parent gone and back")
		want(t, "default route", defaultRoute(t, b, "-4"), lab.Neighbour)
		remarks(t, h, "")

		h.RestartEngine(t)
		h.Docker(t, "start", "b1")
		both("restart of the engine")
		h.Engine().Kill()
		h.StartEngine(t)
		h.Docker(t, "start", "b1")
		both("kill of the engine")

		h.Reboot(t)
		h.LAN.Plug(t, h, "eth7")
		h.StartFairway(t)
		h.StartEngine(t)
		h.Docker(t, "start", "b1")
		both("reboot")
		if err := h.Engine().RemoveAll(); err != nil {
			t.Fatal(err)
		}
		nothingOfOurs(t, h)
	})
}

// remarks waits for what fairway says of the network that is on a parent.
func remarks(t *testing.T, h *lab.Host, remark string) {
	t.Helper()
	var got string
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		rows, err := h.Listed("networks")
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			if r["mode"] != "bridge" {
				got = fmt.Sprint(r["remark"])
			}
		}
		if got == remark || remark == "" && got == "<nil>" {
			return
		}
	}
	t.Errorf("remark %q, want %q", got, remark)
}
