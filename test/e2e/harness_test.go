//go:build e2e

package e2e

import (
	"strings"
	"testing"

	"fairway/test/e2e/lab"
)

// TestLeaksAreSeen leaves one of each thing on a host, and wants the check
// that ends every other test to name it.
func TestLeaksAreSeen(t *testing.T) {
	on(t, []string{newest}, func(t *testing.T, h *lab.Host) {
		for _, c := range []struct{ what, make, remove, kind, seen string }{
			{"link", "ip link add fwvleak type bridge", "ip link del fwvleak", "link", "fwvleak"},
			{"address", "ip addr add 10.99.9.9/32 dev lo", "ip addr del 10.99.9.9/32 dev lo", "address", "10.99.9.9/32"},
			{"route", "ip route add 10.99.8.0/24 dev eth0", "ip route del 10.99.8.0/24", "route", "10.99.8.0/24"},
			{"rule", "iptables -A FORWARD -s 10.99.9.9 -j DROP", "iptables -D FORWARD -s 10.99.9.9 -j DROP", "iptables", "10.99.9.9"},
			{"rule6", "ip6tables -A FORWARD -s fd99::9 -j DROP", "ip6tables -D FORWARD -s fd99::9 -j DROP", "ip6tables", "fd99::9"},
			{"nft", "nft add table inet leak", "nft delete table inet leak", "nft", "leak"},
			{"sandbox", "ip netns add leak", "ip netns del leak", "sandbox", "leak"},
			{"process", "sleep 60 >/dev/null 2>&1 </dev/null &", "kill $(ps -eo pid=,comm= | sed -n 's/ sleep$//p')", "process", "sleep"},
			{
				"connection", "conntrack -I -p udp -s 10.99.9.9 -d 192.0.2.1 --sport 1 --dport 2 -r 192.0.2.1 -q 10.99.9.9 --reply-port-src 2 --reply-port-dst 1 -t 60",
				"conntrack -D -s 10.99.9.9", "connection", "10.99.9.9",
			},
		} {
			h.Sh(t, c.make)
			found := h.Difference(t)
			h.Sh(t, c.remove)
			if !strings.Contains(found, "+ "+c.kind+": ") || !strings.Contains(found, c.seen) {
				t.Errorf("a %s left behind: the check says %q, want %q of kind %s", c.what, found, c.seen, c.kind)
			}
		}
	})
}
