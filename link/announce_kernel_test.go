//go:build kernel

package link

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// A neighbour that knows an old MAC address takes the announced one.
func TestAnnounce(t *testing.T) {
	c := newConn(t)
	run(t, "ip", "link", "add", "br0", "type", "bridge", "forward_delay", "0")
	run(t, "ip", "link", "add", "p0", "type", "veth", "peer", "name", "n0")
	run(t, "ip", "link", "set", "p0", "master", "br0", "up")
	run(t, "ip", "link", "set", "br0", "up")
	run(t, "ip", "link", "set", "n0", "up")
	run(t, "ip", "addr", "add", "10.9.0.2/24", "dev", "n0")
	run(t, "ip", "addr", "add", "fd09::2/64", "dev", "n0", "nodad")
	mac, _ := net.ParseMAC("02:00:00:00:00:99")
	ips := []netip.Addr{netip.MustParseAddr("10.9.0.3"), netip.MustParseAddr("fd09::3")}
	for _, ip := range ips {
		run(t, "ip", "neigh", "replace", ip.String(), "dev", "n0", "lladdr", "02:00:00:00:00:11", "nud", "reachable")
	}
	for _, ip := range ips {
		var got string
		for range 1000 { // the port forwards once its carrier is seen
			if err := c.Announce(t.Context(), "", "br0", mac, ips...); err != nil {
				t.Fatal(err)
			}
			got = run(t, "ip", "neigh", "show", ip.String(), "dev", "n0")
			if strings.Contains(got, mac.String()) {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if !strings.Contains(got, mac.String()) {
			t.Errorf("%s: neighbour entry %q, want %s", ip, got, mac)
		}
	}
}
