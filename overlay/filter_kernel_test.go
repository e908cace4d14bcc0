//go:build kernel

package overlay

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netns"

	"fairway/link"
	"fairway/nat"
)

// frame returns a VXLAN packet with a UDP packet of the segment to port 9, from
// the MAC address and the address of another container (RFC 7348 section 5).
func frame(vni uint32, from, to *container, text string) []byte {
	l, r := from.asLocal(), to.asLocal()
	b := []byte{8, 0, 0, 0, byte(vni >> 16), byte(vni >> 8), byte(vni), 0}
	b = append(append(append(b, r.MAC[:]...), l.MAC[:]...), 8, 0)
	udp := append([]byte{0, 99, 0, 9, 0, byte(8 + len(text)), 0, 0}, text...) // no checksum
	ip := []byte{0x45, 0, 0, byte(20 + len(udp)), 0, 0, 0, 0, 64, 17, 0, 0}
	ip = append(append(ip, l.IPs[0].AsSlice()...), r.IPs[0].AsSlice()...)
	var sum uint32
	for i := 0; i < len(ip); i += 2 {
		sum += uint32(ip[i])<<8 | uint32(ip[i+1])
	}
	sum = ^(sum + sum>>16)
	ip[10], ip[11] = byte(sum>>8), byte(sum)
	return append(append(b, ip...), udp...)
}

// send sends a packet to the VXLAN port of a host, from the thread's namespace.
func send(t testing.TB, to netip.Addr, packet []byte) {
	t.Helper()
	c, err := net.Dial("udp", netip.AddrPortFrom(to, DefaultPort).String())
	must(t, err)
	defer c.Close()
	c.Write(packet) // a refusal is as good as no answer
}

// inbox collects what comes to UDP port 9 of the thread's namespace.
func inbox(t testing.TB) chan string {
	t.Helper()
	u, err := net.ListenPacket("udp", ":9")
	must(t, err)
	return heard(t, u)
}

// Frames of a segment come in from its hosts alone: not from a stranger on the
// underlay, not from a host that lacks the segment, not from a host's own programs;
// and no container of any network on a member gets them out under the member's
// address. Each way is tried without the filter, too: it is open then.
func TestInjection(t *testing.T) {
	for name, v6 := range map[string]bool{"IPv4 underlay": false, "IPv6 underlay": true} {
		t.Run(name, func(t *testing.T) { injection(t, newLab(t, 2, v6, nil, false)) })
	}
}

func injection(t *testing.T, l *lab) {
	victim, other := l.hosts[0].attach(1), l.hosts[1].attach(2)
	var got chan string
	victim.do(func() { got = inbox(t) })
	a, b := l.hosts[0], l.hosts[1]
	stranger := l.plug(8)
	neighbour := b.dockers(t, 40) // of a network that isn't fairway's, masqueraded
	said := func(text string) []byte { return frame(testVNI, other, victim, text) }
	ways := []struct {
		name string
		from func(f func())
		to   netip.Addr
	}{
		{"a stranger", func(f func()) { within(t, stranger, f) }, a.addr},
		{"the host itself", a.do, a.addr},
		{"a container of the segment on another host", other.do, a.addr},
		{"a container of the segment, to its own host", victim.do, a.addr},
		{"another engine's container on another host", func(f func()) { within(t, neighbour, f) }, a.addr},
	}
	if l.v6 { // that one has IPv4 alone
		ways = ways[:4]
	}
	for _, way := range ways {
		way.from(func() { send(t, way.to, said("forged")) })
	}
	pass := func(text string) { // and all that was sent before is there or lost
		t.Helper()
		for end := time.Now().Add(patience); time.Now().Before(end); {
			other.do(func() {
				c, err := net.Dial("udp", netip.AddrPortFrom(victim.e.IPv4.Addr(), 9).String())
				must(t, err)
				c.Write([]byte(text))
				c.Close()
			})
			select {
			case s := <-got:
				if s == "forged" {
					t.Error("a forged frame came through")
				}
				if s == text {
					return
				}
			case <-time.After(100 * time.Millisecond):
			}
		}
		t.Fatal("nothing comes from the other container")
	}
	pass("genuine")
	for _, h := range l.hosts {
		h.do(func() {
			if n, err := h.filter.Denied(t.Context()); err != nil || h == a && n == 0 {
				t.Errorf("%d packets denied, %v", n, err)
			}
			run(t, "nft", "delete", "table", "inet", tableName)
		})
	}
	for _, way := range ways {
		end := time.Now().Add(patience)
		for {
			way.from(func() { send(t, way.to, said(way.name)) })
			select {
			case s := <-got:
				if s != way.name {
					continue // sent twice
				}
			case <-time.After(100 * time.Millisecond):
				if time.Now().Before(end) {
					continue
				}
				t.Errorf("without the filter, nothing came from %s: the test shows nothing", way.name)
			}
			break
		}
	}
	for _, h := range l.hosts {
		h.do(func() {
			if r, err := h.filter.Repair(t.Context()); err != nil || len(r) != 1 {
				t.Errorf("repaired %v, %v; want the table", r, err)
			}
		})
	}
	pass("again")
}

// dockers makes a container on a network that another engine masquerades.
func (h *host) dockers(t testing.TB, n byte) netns.NsHandle {
	ns := namespace(t)
	h.do(func() {
		run(t, "ip", "link", "add", "docker0", "type", "veth", "peer", "name", "eth0", "netns", pathOf(ns))
		run(t, "ip", "address", "add", "172.17.0.1/16", "dev", "docker0")
		run(t, "ip", "link", "set", "docker0", "up")
		run(t, "nft", "add table ip docker; add chain ip docker post { type nat hook postrouting priority 100; }; add rule ip docker post ip saddr 172.17.0.0/16 oifname eth0 masquerade")
	})
	within(t, ns, func() {
		run(t, "ip", "address", "add", "172.17.0.2/16", "dev", "eth0")
		run(t, "ip", "link", "set", "eth0", "up")
		run(t, "ip", "route", "add", "default", "via", "172.17.0.1")
	})
	return ns
}

// A host is let in with its first endpoint of the segment, and no longer with its
// last; and what others do to the table is found and repaired.
func TestFilter(t *testing.T) {
	l := newUnderlay(t, 1, false)
	h := l.hosts[0]
	h.join(0, nil, false)
	h.do(func() {
		members := func(want ...string) {
			t.Helper()
			out := run(t, "nft", "list", "set", "inet", tableName, setMembers+"4")
			if strings.Count(out, "192.0.2.") != len(want) {
				t.Errorf("members %s; want %v", out, want)
			}
			for _, w := range want {
				if !strings.Contains(out, w) {
					t.Errorf("%s is no member: %s", w, out)
				}
			}
		}
		members()
		put := func(id, host string, revision int64) {
			r := Record{ID: id, MAC: link.MAC(link.RandomMAC()), Host: netip.MustParseAddr(host), Revision: revision}
			must(t, h.plane.Put(t.Context(), testVNI, r))
		}
		put("a", "192.0.2.2", 1)
		put("b", "192.0.2.2", 2)
		put("c", "192.0.2.3", 3)
		members("192.0.2.2", "192.0.2.3")
		must(t, h.plane.Remove(t.Context(), testVNI, "a", 4))
		members("192.0.2.2", "192.0.2.3")
		put("b", "192.0.2.4", 5) // its host has another address now
		members("192.0.2.3", "192.0.2.4")
		for _, do := range []string{
			"flush ruleset", "flush chain inet fairway-overlay vxlan", "delete chain inet fairway-overlay input", "flush set inet fairway-overlay members4",
			"add rule inet fairway-overlay forward accept", "add chain inet fairway-overlay more", "flush set inet fairway-overlay segments", "flush set inet fairway-overlay bridges",
		} {
			run(t, "nft", do)
			found, err := h.filter.Repair(t.Context())
			if err != nil || len(found) == 0 {
				t.Errorf("%s: found %v, %v", do, found, err)
			}
			if again, err := h.filter.Repair(t.Context()); err != nil || len(again) > 0 {
				t.Errorf("%s: found %v, %v after the repair", do, again, err)
			}
			members("192.0.2.3", "192.0.2.4")
		}
		run(t, "nft", "flush", "ruleset")
		put("d", "192.0.2.5", 6) // writes all of it
		members("192.0.2.3", "192.0.2.4", "192.0.2.5")
		// A daemon that starts takes over what an earlier one left, until it knows more.
		next, err := NewFilter(nat.Options{Instance: instance})
		must(t, err)
		defer next.Close()
		plane := NewPlane(PlaneOptions{Kernel: h.conn, Filter: next})
		must(t, plane.Open(t.Context(), h.network.Segment()))
		members("192.0.2.3", "192.0.2.4", "192.0.2.5")
		for range 3 {
			d, err := plane.Compare(t.Context(), testVNI)
			if out := run(t, "bridge", "fdb", "show", "dev", "fwx1"); err != nil || d.Total() > 0 || strings.Count(out, " dst ") != 3 {
				t.Errorf("%+v, %v, before all records are known: %s", d, err, out)
			}
		}
		c := Record{ID: "c", MAC: link.MAC(link.RandomMAC()), Host: netip.MustParseAddr("192.0.2.3"), Revision: 3}
		must(t, plane.Set(t.Context(), testVNI, []Record{c}, 9))
		members("192.0.2.3")
		for range 3 {
			_, err := plane.Compare(t.Context(), testVNI)
			must(t, err)
		}
		if out := run(t, "bridge", "fdb", "show", "dev", "fwx1"); strings.Count(out, " dst ") != 1 || !strings.Contains(out, c.MAC.String()) {
			t.Errorf("what an earlier daemon left is there: %s", out)
		}
		must(t, next.Set(t.Context(), h.network.Segment(), []netip.Addr{netip.MustParseAddr("192.0.2.3")}))
		members("192.0.2.3")
		if out := run(t, "nft", "list", "table", "inet", tableName); strings.Count(out, "chain ") != 3 || strings.Count(out, "size set rt mtu") != 2 || !strings.Contains(out, `"fwb1" comment "VNI 8388615"`) {
			t.Errorf("%s: want it once", out)
		}
		t.Log(run(t, "nft", "list", "table", "inet", tableName))
	})
}
