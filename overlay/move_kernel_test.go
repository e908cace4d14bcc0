//go:build kernel

package overlay

import (
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"fairway/link"
)

// An address that goes to a container on another host is reached there at once,
// with another MAC address or the same, though its neighbours remember the old
// one, and whether the news of the old one's end comes before or after.
func TestMove(t *testing.T) {
	const fixed = "02:00:00:00:77:01"
	for name, c := range map[string]struct {
		before, after string // MAC addresses
		early         bool   // the old one's end comes first
	}{
		"another MAC address":                   {link.RandomMAC().String(), link.RandomMAC().String(), false},
		"the same MAC address":                  {fixed, fixed, false},
		"another MAC address, after the old":    {link.RandomMAC().String(), link.RandomMAC().String(), true},
		"the same MAC address, after the old's": {fixed, fixed, true},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, 3, false, nil, false)
			client := l.hosts[0].attach(1)
			from := []*host{l.hosts[1]}
			if c.early { // otherwise what is on the client's own host has the address
				from = append(from, l.hosts[0])
			}
			for _, via := range from {
				to := l.hosts[2]
				old := via.attachAs(9, c.before)
				old.do(func() { answer(t, "old") })
				s := client.stream(t, old.e.IPv4.Addr())
				s.wait(t, "old")
				if c.early {
					old.detach()
				}
				began, sent, got := time.Now(), s.sent.Load(), s.got.Load()
				moved := to.attachAs(9, c.after)
				moved.do(func() { answer(t, "new") })
				s.wait(t, "new")
				took, lost := time.Since(began), s.sent.Load()-sent-(s.got.Load()-got)
				if !c.early {
					old.detach() // whose revision is the latest
				}
				s.wait(t, "new")
				t.Logf("answers from the new one %s after its attach began, %d of 1 ms each without an answer", took.Round(time.Millisecond), lost)
				s.end()
				// A removal that comes late is of something else.
				for _, h := range l.hosts[:2] {
					h.do(func() { must(t, h.plane.Remove(t.Context(), testVNI, moved.e.ID, 1)) })
				}
				client.do(func() {
					if err := ping(moved.e.IPv6.Addr(), 56); err != nil {
						t.Errorf("ping of %s after the move: %v", moved.e.IPv6, err)
					}
				})
				moved.detach()
				for _, h := range l.hosts {
					h.do(func() { h.clean() })
				}
			}
		})
	}
}

// An address that comes to the client's own host is there, too, and when it goes,
// the one on another host has it again.
func TestMoveHere(t *testing.T) {
	l := newLab(t, 2, false, nil, false)
	client := l.hosts[0].attach(1)
	far := l.hosts[1].attach(9)
	far.do(func() { answer(t, "far") })
	s := client.stream(t, far.e.IPv4.Addr())
	s.wait(t, "far")
	here := l.hosts[0].attach(9)
	here.do(func() { answer(t, "here") })
	s.wait(t, "here")
	here.detach()
	s.wait(t, "far")
	s.end()
	l.hosts[0].do(func() { l.hosts[0].clean() })
}

// answer answers UDP on port 9 of the thread's namespace with a name.
func answer(t testing.TB, name string) {
	t.Helper()
	u, err := net.ListenPacket("udp", ":9")
	must(t, err)
	t.Cleanup(func() { u.Close() })
	go func() {
		b := make([]byte, 64)
		for {
			_, from, err := u.ReadFrom(b)
			if err != nil {
				return
			}
			u.WriteTo([]byte(name), from)
		}
	}()
}

// A stream sends a datagram each millisecond to one address.
type stream struct {
	conn      net.Conn
	sent, got atomic.Int64
	names     chan string
	stop      chan struct{}
}

func (c *container) stream(t testing.TB, to netip.Addr) *stream {
	t.Helper()
	s := &stream{names: make(chan string, 1<<16), stop: make(chan struct{})}
	c.do(func() {
		conn, err := net.Dial("udp", netip.AddrPortFrom(to, 9).String())
		must(t, err)
		s.conn = conn
	})
	t.Cleanup(s.end)
	go func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-s.stop:
				return
			case <-tick.C:
				s.sent.Add(1)
				s.conn.Write([]byte("?")) // what is refused is lost
			}
		}
	}()
	go func() {
		b := make([]byte, 64)
		for {
			n, err := s.conn.Read(b)
			select {
			case <-s.stop:
				return
			default:
			}
			if err == nil {
				s.got.Add(1)
				s.names <- string(b[:n])
			}
		}
	}()
	return s
}

// wait waits for an answer of a name.
func (s *stream) wait(t testing.TB, name string) {
	t.Helper()
	for len(s.names) > 0 {
		<-s.names
	}
	end := time.After(30 * time.Second)
	for {
		select {
		case n := <-s.names:
			if n == name {
				return
			}
		case <-end:
			t.Fatalf("no answer from %s", name)
		}
	}
}

func (s *stream) end() {
	select {
	case <-s.stop:
	default:
		close(s.stop)
		s.conn.Close()
	}
}
