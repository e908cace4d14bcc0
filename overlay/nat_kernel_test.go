//go:build kernel

package overlay

import (
	"net/netip"
	"testing"
	"time"

	"fairway/nat"
	"fairway/store"
)

// What leaves the segment does so where the container runs, under that host's
// address; what that host publishes is reached there. An internal segment has
// neither, and its containers reach each other all the same.
func TestOutside(t *testing.T) {
	for name, internal := range map[string]bool{"open": false, "internal": true} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, 2, false, nil, internal)
			outside := l.plug(98)
			world := []netip.Addr{netip.MustParseAddr("192.0.2.99"), netip.MustParseAddr("2001:db8::99")}
			within(t, outside, func() { serve(t) })
			wait := patience
			if internal {
				wait = 300 * time.Millisecond
			}
			var all []*container
			for i, h := range l.hosts {
				c := h.attach(i + 1)
				c.do(func() { serve(t) })
				c.publish(8080, 7)
				all = append(all, c)
			}
			for i, c := range all {
				from := []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)}), netip.MustParseAddr([]string{"2001:db8::1", "2001:db8::2"}[i])}
				other := all[1-i]
				c.do(func() {
					c.reach(other.ips(), c.ips(), c.record.MTU)
					for f, ip := range world {
						seen, err := tcpIn(ip, 7, wait)
						if internal && err == nil {
							t.Errorf("an internal segment's container reaches %s as %s", ip, seen)
						}
						if !internal && (err != nil || seen != from[f].String()) {
							t.Errorf("TCP to %s: seen as %q, %v; want %s", ip, seen, err, from[f])
						}
					}
				})
				within(t, outside, func() {
					for f, ip := range from {
						seen, err := tcpIn(ip, 8080, wait)
						if internal && err == nil {
							t.Errorf("an internal segment's container is reached at %s", ip)
						}
						if !internal && (err != nil || seen != world[f].String()) {
							t.Errorf("TCP to %s port 8080: seen as %q, %v; want %s", ip, seen, err, world[f])
						}
					}
				})
				if internal {
					continue
				}
				other.do(func() { // by the other host, and masqueraded there; or by the segment
					for _, ip := range append(from, c.host.record.HostAddresses...) {
						if seen, err := tcp(ip, 8080); err != nil {
							t.Errorf("another container's TCP to %s port 8080: %q, %v", ip, seen, err)
						}
					}
				})
				other.host.do(func() {
					for _, ip := range append(from, c.host.record.HostAddresses...) {
						if seen, err := tcp(ip, 8080); err != nil {
							t.Errorf("the other host's TCP to %s port 8080: %q, %v", ip, seen, err)
						}
					}
				})
			}
		})
	}
}

// publish publishes a port of the container on its host.
func (c *container) publish(hostPort, port uint16) {
	c.Helper()
	b, err := c.network.Bindings(c.e, store.PortBinding{Proto: 6, HostPort: hostPort, Port: port})
	must(c, err)
	c.e.Published = b
	c.host.do(func() {
		must(c, c.firewall.Apply(c.Context(), nat.State{Endpoints: []nat.Endpoint{c.network.EndpointFirewall(c.e)}}))
	})
}
