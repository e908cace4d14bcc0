//go:build kernel

package overlay

import (
	"net/netip"
	"strings"
	"testing"

	"fairway/link"
)

// Containers on three hosts reach each other and the hosts, whatever the family
// of the underlay, with packets as large as their links carry.
func TestReach(t *testing.T) {
	for name, v6 := range map[string]bool{"IPv4 underlay": false, "IPv6 underlay": true} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, 3, v6, nil, false)
			var all []*container
			for i, h := range l.hosts {
				all = append(all, h.attach(i+1))
				h.do(func() { serve(t) })
			}
			for _, c := range all {
				c.do(func() { serve(t) })
			}
			var wire *ear
			l.hosts[0].do(func() { wire = listen(t, "eth0") })
			mtu := 1500 - Overhead(l.hosts[0].addr)
			for i, c := range all {
				to := all[(i+1)%len(all)]
				c.do(func() { c.reach(to.ips(), c.ips(), mtu) })
				// The gateway is on every host, and a host's own address on one.
				c.do(func() {
					for _, ip := range []string{"10.40.0.1", "fd00:40::1"} {
						if err := ping(netip.MustParseAddr(ip), 56); err != nil {
							t.Errorf("ping of the gateway %s: %v", ip, err)
						}
					}
				})
				c.do(func() { c.reach(to.host.record.HostAddresses, c.ips(), mtu) })
				c.do(func() { c.reach(c.host.record.HostAddresses, c.ips(), mtu) })
				c.host.do(func() { c.reach(to.ips(), c.host.record.HostAddresses, mtu) })
				c.host.do(func() { c.reach(c.ips(), c.host.record.HostAddresses, mtu) })
			}
			for _, h := range l.hosts {
				h.do(func() { h.clean() })
			}
			at := map[bool]int{false: 34, true: 54}[v6] // UDP's header in a frame without options
			vxlan := func(f []byte) bool { return len(f) > at+8 && f[at+2] == DefaultPort>>8 && f[at+3] == DefaultPort&0xff }
			sent, bare := wire.heard(vxlan), wire.heard(func(f []byte) bool { return vxlan(f) && f[at+6] == 0 && f[at+7] == 0 })
			if sent == 0 || bare > sent/10 { // a sum may happen to be 0
				t.Errorf("%d VXLAN packets, %d of them without a checksum", sent, bare)
			}
		})
	}
}

// reach checks that whoever the thread's namespace is reaches addresses, and from
// which of its own.
func (h *host) reach(to, from []netip.Addr, mtu int) {
	h.Helper()
	for i, ip := range to {
		header := 28
		if ip.Is6() {
			header = 48
		}
		if err := ping(ip, mtu-header); err != nil {
			h.Errorf("ping of %s from %s with a packet of %d bytes: %v", ip, from[i], mtu, err)
		}
		if seen, err := tcp(ip, 7); err != nil || seen != from[i].String() {
			h.Errorf("TCP to %s: seen as %q, %v; want %s", ip, seen, err, from[i])
		}
		if err := udp(ip, 4000); err != nil {
			h.Errorf("4,000 bytes of UDP to %s: %v", ip, err)
		}
	}
}

// clean checks that nothing is to be repaired.
func (h *host) clean() {
	h.Helper()
	want := h.network.Links()
	for _, r := range try(h.conn.Compare(h.Context(), append(link.Set{}, want...)))(h) {
		if !strings.HasPrefix(r.Object, "link fwv") && !strings.HasPrefix(r.Object, "neighbour") { // the containers'
			h.Errorf("%s %s", r.Object, r.What)
		}
	}
	if d, err := h.plane.Compare(h.Context(), testVNI); err != nil || d.Total() != 0 || d.Entries == 0 {
		h.Errorf("drift %+v, %v; want none", d, err)
	}
	if r, err := h.filter.Repair(h.Context()); err != nil || len(r) > 0 {
		h.Errorf("repaired %v, %v; want nothing", r, err)
	}
}

func try[T any](v T, err error) func(h *host) T {
	return func(h *host) T { h.Helper(); must(h, err); return v }
}
