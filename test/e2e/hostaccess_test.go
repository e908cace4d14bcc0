//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"fairway/test/e2e/lab"
)

// The host's own addresses on the LAN's networks.
const (
	hostsOwn  = "203.0.113.190"
	hostsOwn6 = "2001:db8:1::190"
)

// TestHostAccess has the host and containers on its LAN reach each other, and
// everybody reach published ports, on the containers' own addresses and on the
// host's.
func TestHostAccess(t *testing.T) {
	on(t, ends, func(t *testing.T, h *lab.Host) {
		if world.driver != "fairway" {
			return
		}
		host := machine(h.Machine)
		t.Run("both families", func(t *testing.T) {
			defer tidy(t, h)
			macvlan(t, h, "fairway", "opt", onLAN("--opt", "host_access=true", "--aux-address", "host="+hostsOwn,
				"--ipv6", "--subnet", lanSubnet6, "--gateway", lab.Neighbour6, "--aux-address", "host6="+hostsOwn6)...)
			a := serve(t, h, "a1", "--network", "opt", "--publish", "8080:80", "--publish", "8053:53/udp", "--publish", "127.0.0.1:8081:81")
			b := serve(t, h, "b1", "--network", "opt")
			ip, ip6 := ip4(t, h, "a1", "opt"), ip6(t, h, "a1", "opt")

			host.reaches(t, "tcp", at(ip, 80), "a1", hostsOwn)
			host.reaches(t, "tcp6", at(ip6, 80), "a1", hostsOwn6)
			for _, to := range []string{hostsOwn, h.IP, hostsOwn6, h.IP6} {
				a.pings(t, to, true)
			}
			a.reaches(t, "tcp", lab.Outside+":7", "neighbour", ip) // not by the host

			for _, port := range []int{80, 8080} { // on its own address
				neighbour(h).reaches(t, "tcp", at(ip, port), "a1", lab.Neighbour)
				neighbour(h).reaches(t, "tcp6", at(ip6, port), "a1", lab.Neighbour6)
				b.reaches(t, "tcp", at(ip, port), "a1", ip4(t, h, "b1", "opt"))
				a.reaches(t, "tcp", at(ip, port), "a1", ip)
			}
			neighbour(h).reaches(t, "udp", at(ip, 8053), "a1", lab.Neighbour)
			neighbour(h).isShutOut(t, "tcp", at(ip, 8081)) // of the host's loopback

			neighbour(h).reaches(t, "tcp", at(h.IP, 8080), "a1", hostsOwn) // on the host's
			neighbour(h).reaches(t, "tcp6", at(h.IP6, 8080), "a1", hostsOwn6)
			neighbour(h).reaches(t, "udp", at(h.IP, 8053), "a1", hostsOwn)
			host.reaches(t, "tcp", at(h.IP, 8080), "a1", hostsOwn)
			host.reaches(t, "tcp", "127.0.0.1:8080", "a1", hostsOwn)
			host.reaches(t, "tcp", "127.0.0.1:8081", "a1", hostsOwn)
			b.reaches(t, "tcp", at(h.IP, 8080), "a1", hostsOwn)
			neighbour(h).isShutOut(t, "tcp", at(h.IP, 8081))
			portsListed(t, h, "203.0.113.128:8080 routing", "0.0.0.0:8080 all", "127.0.0.1:8081 this host")

			mac := linkValue(t, host, "eth0", "link/ether")
			for _, ip := range []string{h.IP, h.IP6} {
				if known := mustTry(t, neighbour(h), "ip", "neigh", "show", ip); !strings.Contains(known, mac) {
					t.Errorf("the LAN knows the host as %q, want it at %s", known, mac)
				}
			}
			if out := h.DockerErr(t, runArgs("c1", "--network", "opt", "--ip", hostsOwn)...); out == "" {
				t.Error("a container has the host's address")
			}
			h.Docker(t, "rm", "--force", "c1")
		})
		t.Run("fairway's address, no gateway", func(t *testing.T) {
			defer tidy(t, h)
			macvlan(t, h, "fairway", "opt", append(onLAN()[:6], "--opt", "host_access=true", "--ipam-driver", "fairway")...)
			a := serve(t, h, "a1", "--network", "opt", "--publish", "8080:80")
			neighbour(h).reaches(t, "tcp", at(ip4(t, h, "a1", "opt"), 8080), "a1", lab.Neighbour)
			neighbour(h).reaches(t, "tcp", at(h.IP, 8080), "a1", "")
			a.pings(t, h.IP, true)
			h.Docker(t, "network", "create", "--driver", "fairway", "web")
			h.Docker(t, "network", "connect", "web", "a1") // which has its gateway from now on
			portsListed(t, h, ip4(t, h, "a1", "opt")+":8080 routing", "0.0.0.0:8080 all")
			gateway := inNetwork(t, h, "a1", "web", "Gateway")
			host.reaches(t, "tcp", "127.0.0.1:8080", "a1", gateway)
			neighbour(h).reaches(t, "tcp", at(ip4(t, h, "a1", "opt"), 8080), "a1", "")
			h.Docker(t, "network", "disconnect", "web", "a1")
			neighbour(h).reaches(t, "tcp", at(h.IP, 8080), "a1", "")
			h.Docker(t, "network", "disconnect", "opt", "a1")
			neighbour(h).isShutOut(t, "tcp", at(h.IP, 8080))
			h.Docker(t, "rm", "--force", "a1")
			h.Docker(t, "network", "rm", "web")
		})
		t.Run("refused", func(t *testing.T) {
			defer tidy(t, h)
			for says, args := range map[string][]string{
				`host_access="true": not allowed with macvlan_mode="private"`: {"--opt", "macvlan_mode=private", "--aux-address", "host=" + hostsOwn},
				`host_access="true": needs an address for the host`:           nil,
				"is an address of this host already":                          {"--aux-address", "host=" + h.IP},
			} {
				args = append(append([]string{"network", "create", "--driver", "fairway", "--opt", "mode=macvlan", "--opt", "host_access=true"}, onLAN(args...)...), "no")
				if out := h.DockerErr(t, args...); !strings.Contains(out, says) {
					t.Errorf("%q, want %q", out, says)
				}
			}
		})
	})
}

// portsListed waits for fairway ports to have some lines, as HOST:PORT and who
// reaches it.
func portsListed(t *testing.T, h *lab.Host, want ...string) {
	t.Helper()
	var missing, got []string
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		rows, err := h.Listed("ports")
		if err != nil {
			t.Fatal(err)
		}
		got, missing = nil, nil
		for _, r := range rows {
			got = append(got, fmt.Sprintf("%v:%v %v", r["host_ip"], r["host_port"], r["reachable_from"]))
		}
		for _, w := range want {
			if !strings.Contains(strings.Join(got, "\n"), w) {
				missing = append(missing, w)
			}
		}
		if len(missing) == 0 {
			return
		}
	}
	t.Errorf("fairway ports lacks %q:\n%s", missing, strings.Join(got, "\n"))
}
