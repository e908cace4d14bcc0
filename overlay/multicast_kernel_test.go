//go:build kernel

package overlay

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"fairway/nat"
	"fairway/nat/guard"
)

// groups4 and groups6 are multicast groups of a site (RFC 2365, RFC 4291 section 2.7).
const (
	group4 = "239.1.2.3"
	group6 = "ff05::1:203"
)

// awaited is how long a test waits for what must come.
const awaited = 30 * time.Second

// An ear hears the frames of a link.
type ear struct {
	mu     sync.Mutex
	frames [][]byte
}

// listen begins to hear a link of the thread's namespace, in and out.
func listen(t testing.TB, link string) *ear {
	t.Helper()
	const all = unix.ETH_P_ALL<<8 | unix.ETH_P_ALL>>8                          // in the network's order
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0) // hears nothing until it is bound
	must(t, err)
	at, err := net.InterfaceByName(link)
	must(t, err)
	must(t, unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: at.Index}))
	must(t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000}))
	e, stop, ended := &ear{}, make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		defer unix.Close(fd)
		for b := make([]byte, 65536); ; {
			select {
			case <-stop:
				return
			default:
			}
			if n, _, err := unix.Recvfrom(fd, b, 0); err == nil {
				e.mu.Lock()
				e.frames = append(e.frames, bytes.Clone(b[:n]))
				e.mu.Unlock()
			}
		}
	}()
	t.Cleanup(func() { close(stop); <-ended })
	return e
}

// heard counts the frames that are so.
func (e *ear) heard(is func(frame []byte) bool) (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, f := range e.frames {
		if is(f) {
			n++
		}
	}
	return n
}

// says is the frames that contain a text.
func says(text string) func([]byte) bool {
	return func(f []byte) bool { return bytes.Contains(f, []byte(text)) }
}

// forMany is frames to a group or to all.
func forMany(f []byte) bool { return len(f) > 0 && f[0]&1 != 0 }

// private is what each host keeps to itself: ARP, neighbour discovery and who wants
// which group, asked of many.
func private(f []byte) bool {
	if len(f) < 62 || !forMany(f) {
		return len(f) >= 14 && forMany(f) && binary.BigEndian.Uint16(f[12:]) == unix.ETH_P_ARP
	}
	switch binary.BigEndian.Uint16(f[12:]) {
	case unix.ETH_P_ARP:
		return true
	case unix.ETH_P_IP:
		return f[23] == unix.IPPROTO_IGMP && f[14+int(f[14]&15)*4] == igmpQuery
	case unix.ETH_P_IPV6:
		at, next := 54, f[20]
		if next == 0 { // MLD has a hop-by-hop header (RFC 2710 section 3)
			at, next = 62, f[54]
		}
		return next == unix.IPPROTO_ICMPV6 && len(f) > at && (f[at] == mldQuery || f[at] >= routerSolicit && f[at] <= redirect)
	}
	return false
}

// want waits for a condition.
func want(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(awaited); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if is() {
			return
		}
	}
	t.Fatalf("not within %s: %s", awaited, what)
}

// member has the container join a group, and returns what comes to it.
func (c *container) member(t testing.TB, group string) (out chan string) {
	t.Helper()
	c.do(func() {
		at, err := net.InterfaceByName("eth0")
		must(t, err)
		u, err := net.ListenMulticastUDP("udp", at, &net.UDPAddr{IP: net.ParseIP(group), Port: 5001})
		must(t, err)
		out = heard(t, u)
	})
	return out
}

// shout sends a datagram for many.
func (c *container) shout(t testing.TB, to, text string) {
	t.Helper()
	c.do(func() {
		u, err := net.Dial("udp", netip.AddrPortFrom(netip.MustParseAddr(to), 5001).String())
		must(t, err)
		defer u.Close()
		_, err = u.Write([]byte(text))
		must(t, err)
	})
}

func took(c chan string, text string) bool {
	for {
		select {
		case s := <-c:
			if s == text {
				return true
			}
		default:
			return false
		}
	}
}

// guarded has the host drop what containers mustn't send, as the daemon does.
func (h *host) guarded(t testing.TB, cs ...*container) {
	t.Helper()
	h.do(func() {
		g, err := guard.New(nat.Options{Instance: instance})
		must(t, err)
		t.Cleanup(func() { g.Close() })
		for _, c := range cs {
			rule, ok := h.network.Guarded(c.e)
			if !ok {
				t.Fatal("a container isn't guarded")
			}
			must(t, g.Apply(t.Context(), rule))
		}
	})
}

// With multicast=true what is sent to a group comes to its members on other hosts
// and to nobody else there, and broadcasts to all. What hosts keep to themselves
// doesn't cross.
func TestMulticast(t *testing.T) {
	l := newLab(t, 3, false, map[string]string{"multicast": "true"}, false)
	a, b, c := l.hosts[0].attach(1), l.hosts[1].attach(2), l.hosts[2].attach(3)
	for _, one := range []*container{a, b, c} {
		one.host.guarded(t, one)
	}
	var crossed, outsider *ear
	l.hosts[1].do(func() { crossed = listen(t, "fwx1") })
	c.do(func() { outsider = listen(t, "eth0") })

	for _, group := range []string{group4, group6} {
		in := b.member(t, group)
		for _, h := range []*host{l.hosts[0], l.hosts[2]} {
			want(t, "the other hosts hear that b is in "+group, func() (is bool) {
				h.do(func() { is = strings.Contains(run(t, "bridge", "mdb", "show", "dev", "fwb1"), "port fwx1 grp "+group) })
				return is
			})
		}
		// At first all hear all: a host that has just begun to ask knows nothing.
		i := 0
		want(t, "a message to "+group+" comes to b, and not to c", func() bool {
			i++
			text, fence := fmt.Sprintf("<%s %d>", group, i), fmt.Sprintf("[%s %d]", group, i)
			a.shout(t, group, text)
			a.shout(t, "10.40.255.255", fence)
			want(t, "broadcast comes to c", func() bool { return outsider.heard(says(fence)) == 1 })
			want(t, "broadcast comes to host b", func() bool { return crossed.heard(says(fence)) == 1 })
			return took(in, text) && outsider.heard(says(text)) == 0
		})
	}

	// Neighbours are found where they always were; and what nobody has isn't asked
	// for on other hosts.
	for _, to := range b.ips() {
		a.do(func() {
			run(t, "ip", "neigh", "flush", "dev", "eth0")
			if err := ping(to, 56); err != nil {
				t.Errorf("ping of %s: %v", to, err)
			}
		})
	}
	var asked *ear
	l.hosts[0].do(func() { asked = listen(t, a.e.HostLink) })
	for _, nobody := range []string{"10.40.77.77", "fd00:40::7777"} {
		ip := netip.MustParseAddr(nobody)
		want(t, "a asks for "+nobody, func() bool {
			a.do(func() {
				u, err := net.Dial("udp", netip.AddrPortFrom(ip, 9).String())
				must(t, err)
				u.Write([]byte("x"))
				u.Close()
			})
			return asked.heard(func(f []byte) bool { return private(f) && bytes.Contains(f, ip.AsSlice()) }) > 0
		})
	}
	a.shout(t, "10.40.255.255", "[last]")
	want(t, "broadcast comes to host b", func() bool { return crossed.heard(says("[last]")) == 1 })
	crossed.heard(func(f []byte) bool {
		if private(f) {
			t.Errorf("of ARP, neighbour discovery or queries, crossed: % x", f)
		}
		return false
	})
	a.groupsDrift(t)
}

// groupsDrift does harm to what carries multicast, and sees it found and repaired.
func (c *container) groupsDrift(t *testing.T) {
	t.Helper()
	h := c.host
	all := append(h.network.Links(), h.network.Attachment(c.e)...)
	h.do(func() {
		for _, tc := range []struct{ do, want string }{
			{"bridge fdb del 00:00:00:00:00:00 dev fwx1 self dst 192.0.2.2", "1 0 0"},
			{"bridge fdb append 00:00:00:00:00:00 dev fwx1 self permanent dst 192.0.2.77", "0 0 1"},
		} {
			run(t, strings.Fields(tc.do)...)
			found, err := h.plane.Compare(t.Context(), testVNI)
			if err == nil && found.Total() == 0 {
				found, err = h.plane.Compare(t.Context(), testVNI) // strange for the second time
			}
			if got := fmt.Sprint(found.Missing, found.Wrong, found.Strange); got != tc.want || err != nil {
				t.Errorf("%s: %s, %v; want %s", tc.do, got, err, tc.want)
			}
		}
		copies := func(hosts ...string) {
			t.Helper()
			out := run(t, "sh", "-c", "bridge fdb show dev fwx1 | grep ^00:00:00:00:00:00")
			for _, w := range hosts {
				if !strings.Contains(out, "dst "+w+" ") || strings.Count(out, "dst") != len(hosts) {
					t.Errorf("copies go to %s; want %q", out, hosts)
				}
			}
		}
		copies("192.0.2.2", "192.0.2.3")
		for _, do := range []string{"bridge link set dev fwx1 mcast_flood off", "bridge link set dev fwx1 bcast_flood off", "bridge link set dev fwx1 mcast_router 1", "ip link set fwb1 type bridge mcast_querier 0", "ip link set fwb1 type bridge mcast_snooping 0"} {
			run(t, strings.Fields(do)...)
			for i, most := range []int{1, 0} {
				steps, err := h.conn.Reconcile(t.Context(), all)
				if len(steps) != most || err != nil {
					t.Errorf("%s: look %d repaired %v, %v; want %d", do, i+1, steps, err, most)
				}
			}
		}
		for _, do := range []string{"flush ruleset", "flush chain bridge fairway-overlay crossing", "delete table bridge fairway-overlay"} {
			run(t, "nft", do)
			if found, err := h.filter.Repair(t.Context()); err != nil || len(found) == 0 {
				t.Errorf("%s: found %v, %v", do, found, err)
			}
			if again, err := h.filter.Repair(t.Context()); err != nil || len(again) > 0 {
				t.Errorf("%s: found %v, %v after the repair", do, again, err)
			}
		}
		for _, id := range []string{"host-192.0.2.3", "e103"} { // all that the third host has
			must(t, h.plane.Remove(t.Context(), testVNI, id, 1000))
		}
		copies("192.0.2.2")
		must(t, h.plane.Close(t.Context(), testVNI))
		if out := run(t, "nft", "list", "tables"); strings.Contains(out, tableName) {
			t.Errorf("left behind: %s", out)
		}
	})
}

// By default nothing that is for many crosses, whoever wants it.
func TestNoMulticast(t *testing.T) {
	l := newLab(t, 2, false, nil, false)
	a, b := l.hosts[0].attach(1), l.hosts[1].attach(2)
	b.member(t, group4)
	b.member(t, group6)
	var crossed *ear
	l.hosts[1].do(func() { crossed = listen(t, "fwx1") })
	var got chan string
	b.do(func() { got = inbox(t) })
	for _, to := range []string{group4, group6, "10.40.255.255"} {
		a.shout(t, to, "to many")
	}
	want(t, "a message to b comes", func() bool {
		a.do(func() {
			c, err := net.Dial("udp", netip.AddrPortFrom(b.e.IPv4.Addr(), 9).String())
			must(t, err)
			c.Write([]byte("to one"))
			c.Close()
		})
		return len(got) > 0
	})
	if crossed.heard(says("to one")) == 0 {
		t.Error("nothing was heard on the VXLAN: the test shows nothing")
	}
	if n := crossed.heard(forMany); n > 0 {
		t.Errorf("%d frames for many crossed, want none", n)
	}
}
