//go:build e2e

package e2e

import (
	"strings"
	"testing"

	"fairway/test/e2e/lab"
)

// TestFairwayOptions checks the options that only fairway has.
func TestFairwayOptions(t *testing.T) {
	on(t, ends, func(t *testing.T, h *lab.Host) {
		if world.driver == "bridge" {
			return // it knows none of them
		}
		for _, o := range fairwayOptions() {
			t.Run(o.name, func(t *testing.T) {
				defer tidy(t, h)
				if o.before != nil {
					defer o.before(t, h)()
				}
				var args []string
				for _, pair := range o.pairs {
					args = append(args, "--opt", pair)
				}
				lan0(t, h, append(args, "--ipv6", "--subnet", subnet6("fairway"))...)
				o.check(t, h)
			})
		}
	})
}

type fairwayOption struct {
	name   string
	pairs  []string
	before func(t *testing.T, h *lab.Host) (after func())
	check  func(t *testing.T, h *lab.Host)
}

func fairwayOptions() []fairwayOption {
	addr4 := func(n int) string { return addr4("fairway", n) }
	return []fairwayOption{
		{
			name: "mtu", pairs: []string{"mtu=1380"}, check: func(t *testing.T, h *lab.Host) {
				want(t, "MTU", linkValue(t, serve(t, h, "a1", "--network", "n1"), "eth0", "mtu"), "1380")
			},
		}, {
			name: "mtu of the uplink", before: func(t *testing.T, h *lab.Host) func() {
				h.Exec(t, "ip", "link", "set", "eth0", "mtu", "1450")
				return func() { h.Exec(t, "ip", "link", "set", "eth0", "mtu", "1500") }
			},
			check: func(t *testing.T, h *lab.Host) {
				want(t, "MTU", linkValue(t, serve(t, h, "a1", "--network", "n1"), "eth0", "mtu"), "1450")
			},
		}, {
			name: "routes", pairs: []string{"routes=10.50.0.0/16 via " + addr4(9) + ", fd50::/32 via " + addr6("fairway", 9)},
			check: func(t *testing.T, h *lab.Host) {
				a := serve(t, h, "a1", "--network", "n1")
				want(t, "IPv4 route", strings.Fields(mustTry(t, a, "ip", "route", "show", "10.50.0.0/16"))[2], addr4(9))
				want(t, "IPv6 route", strings.Fields(mustTry(t, a, "ip", "-6", "route", "show", "fd50::/32"))[2], addr6("fairway", 9))
				a.reaches(t, "tcp", lab.Outside+":7", "neighbour", h.IP)
			},
		}, {
			name: "gateway=none", pairs: []string{"gateway=none"}, check: func(t *testing.T, h *lab.Host) {
				a := serve(t, h, "a1", "--network", "n1")
				serve(t, h, "b1", "--network", "n1")
				want(t, "default route", defaultRoute(t, a, "-4")+defaultRoute(t, a, "-6"), "")
				want(t, "links", len(lines(mustTry(t, a, "ip", "-o", "link"))), 2)
				a.reaches(t, "tcp", "b1:80", "b1", "")
			},
		}, {
			name: "snat", pairs: []string{"snat=203.0.113.251", "snat6=2001:db8:1::251"},
			before: func(t *testing.T, h *lab.Host) func() {
				h.Sh(t, "ip addr add 203.0.113.251/32 dev eth0; ip addr add 2001:db8:1::251/128 dev eth0 nodad")
				return func() { h.Sh(t, "ip addr del 203.0.113.251/32 dev eth0; ip addr del 2001:db8:1::251/128 dev eth0") }
			},
			check: func(t *testing.T, h *lab.Host) {
				a := serve(t, h, "a1", "--network", "n1")
				a.reaches(t, "tcp", lab.Outside+":7", "neighbour", "203.0.113.251")
				a.reaches(t, "tcp", at(lab.Outside6, 7), "neighbour", "2001:db8:1::251")
			},
		}, {
			name: "antispoof", check: func(t *testing.T, h *lab.Host) {
				thief, client := theft(t, h)
				client.reaches(t, "tcp4", "b1:80", "b1", "")
				machine(h.Machine).reaches(t, "tcp", at(ip4(t, h, "b1", "n1"), 80), "b1", "")
				thief.isShutOut(t, "tcp", at(lab.Outside, 7))
			},
		}, {
			name: "antispoof=false", pairs: []string{"antispoof=false"}, check: func(t *testing.T, h *lab.Host) {
				// A container may change its address, as keepalived and nested bridges do.
				a := serve(t, h, "a1", "--network", "n1", "--cap-add", "NET_ADMIN")
				changeMAC(t, a, "02:99:00:00:00:01")
				serve(t, h, "b1", "--network", "n1").reaches(t, "tcp4", "a1:80", "a1", "")
				machine(h.Machine).reaches(t, "tcp", at(ip4(t, h, "a1", "n1"), 80), "a1", "")
			},
		},
	}
}

// theft has container a1 take the MAC address of b1 and send from it, while
// c1 looks on.
func theft(t *testing.T, h *lab.Host) (thief, client party) {
	t.Helper()
	serve(t, h, "b1", "--network", "n1")
	client = serve(t, h, "c1", "--network", "n1")
	client.reaches(t, "tcp4", "b1:80", "b1", "")
	thief = serve(t, h, "a1", "--network", "n1", "--cap-add", "NET_ADMIN")
	changeMAC(t, thief, inNetwork(t, h, "b1", "n1", "MacAddress"))
	_, _ = thief.try("ping", "-c", "3", "-i", "0.2", "-W", "1", "-A", ip4(t, h, "c1", "n1"))
	return thief, client
}

func changeMAC(t *testing.T, p party, mac string) {
	t.Helper()
	mustTry(t, p, "sh", "-c", "ip link set eth0 down; ip link set eth0 address "+mac+"; ip link set eth0 up")
}
