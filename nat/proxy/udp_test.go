package proxy

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// frontUDP serves an udp port of [::] and returns it with the address ::1.
func frontUDP(t *testing.T, p *Proxy, to netip.AddrPort) (addr string, stop func()) {
	t.Helper()
	c, err := net.ListenUDP("udp6", &net.UDPAddr{})
	if err != nil {
		t.Fatal(err)
	}
	f, err := c.File()
	if err != nil {
		t.Fatal(err)
	}
	stop, err = p.Serve(int(f.Fd()), unix.IPPROTO_UDP, to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		f.Close()
		c.Close()
	})
	return netip.AddrPortFrom(netip.IPv6Loopback(), c.LocalAddr().(*net.UDPAddr).AddrPort().Port()).String(), stop
}

func containerUDP(t *testing.T) (*net.UDPConn, netip.AddrPort) {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err = c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return c, c.LocalAddr().(*net.UDPAddr).AddrPort()
}

// clientUDP is connected: it hears only who answers from where it has asked.
func clientUDP(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("udp6", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err = c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return c
}

// receives returns who sent a datagram, and checks it.
func receives(t *testing.T, c *net.UDPConn, want string) netip.AddrPort {
	t.Helper()
	b := make([]byte, 1<<16)
	n, from, err := c.ReadFromUDPAddrPort(b)
	if err != nil || string(b[:n]) != want {
		t.Fatalf("the container got %q, %v; want %q", b[:n], err, want)
	}
	return from
}

func answers(t *testing.T, c *net.UDPConn, to netip.AddrPort, text string) {
	t.Helper()
	if _, err := c.WriteToUDPAddrPort([]byte(text), to); err != nil {
		t.Fatal(err)
	}
}

func isTold(t *testing.T, c net.Conn, want string) {
	t.Helper()
	b := make([]byte, 1<<16)
	if n, err := c.Read(b); err != nil || string(b[:n]) != want {
		t.Fatalf("the client got %q, %v; want %q", b[:n], err, want)
	}
}

// Each client has a session of its own, which lasts, with datagrams of any size.
func TestSessions(t *testing.T) {
	there, to := containerUDP(t)
	addr, _ := frontUDP(t, newProxy(t, Options{}), to)
	a, b := clientUDP(t, addr), clientUDP(t, addr)
	send(t, a, "a")
	fromA := receives(t, there, "a")
	send(t, b, "b")
	fromB := receives(t, there, "b")
	if fromA == fromB {
		t.Fatalf("two clients are one to the container: %s", fromA)
	}
	answers(t, there, fromB, "to b")
	answers(t, there, fromA, "to a")
	isTold(t, a, "to a")
	isTold(t, b, "to b")
	big := string(make([]byte, 60000))
	send(t, a, big)
	if again := receives(t, there, big); again != fromA {
		t.Errorf("the same client comes from %s, then from %s", fromA, again)
	}
	answers(t, there, fromA, big)
	isTold(t, a, big)
}

// only returns the socket that has sessions.
func only(t *testing.T, p *Proxy) *socket {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for s := range p.busy {
		return s
	}
	t.Fatal("no socket has sessions")
	return nil
}

// A session ends when it is silent, then later than one that was never answered.
func TestSessionTimeout(t *testing.T) {
	there, to := containerUDP(t)
	p := newProxy(t, Options{})
	addr, _ := frontUDP(t, p, to)
	answeredOne, other := clientUDP(t, addr), clientUDP(t, addr)
	send(t, answeredOne, "x")
	from := receives(t, there, "x")
	answers(t, there, from, "y")
	isTold(t, answeredOne, "y")
	send(t, other, "z")
	was := receives(t, there, "z")
	s, now := only(t, p), time.Now()

	s.sweep(now.Add(unanswered - time.Second))
	if n := p.sessions.n.Load(); n != 2 {
		t.Fatalf("%d sessions, want both", n)
	}
	s.sweep(now.Add(unanswered + time.Second))
	if n := p.sessions.n.Load(); n != 1 {
		t.Fatalf("%d sessions, want the answered one", n)
	}
	send(t, answeredOne, "x")
	if again := receives(t, there, "x"); again != from {
		t.Errorf("the answered session began anew: %s, then %s", from, again)
	}
	answers(t, there, was, "late") // nobody hears it
	send(t, other, "z")
	answers(t, there, receives(t, there, "z"), "in time")
	isTold(t, other, "in time")

	s.sweep(time.Now().Add(answered + time.Second))
	if n := p.sessions.n.Load(); n != 0 {
		t.Errorf("%d sessions, want none", n)
	}
	if d := p.nextSweep(); d >= 0 {
		t.Errorf("Run wakes up every %v for nothing", d)
	}
}

func TestOver(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	tb := newTable(2)
	one, two := flow{link: 1}, flow{link: 2}
	tb.put(&session{flow: one, last: start})
	tb.put(&session{flow: two, last: start, answered: true})
	if !tb.full() {
		t.Error("two of two: not full")
	}
	for _, c := range []struct {
		after time.Duration
		want  []uint32
	}{{unanswered - 1, nil}, {unanswered, []uint32{1}}, {answered - 1, []uint32{1}}, {answered, []uint32{1, 2}}} {
		var got []uint32
		for _, s := range tb.over(start.Add(c.after)) {
			got = append(got, s.link)
		}
		slices.Sort(got)
		if !slices.Equal(got, c.want) {
			t.Errorf("after %v: over are %v, want %v", c.after, got, c.want)
		}
	}
	if tb.get(one, start.Add(answered)) == nil || tb.get(flow{}, start) != nil {
		t.Error("get: want what was put, nothing else")
	}
	if over := tb.over(start.Add(answered)); len(over) != 1 {
		t.Errorf("used a moment ago, but over: %d sessions", len(over))
	}
}

// One session too many is dropped; one that has ended makes room.
func TestSessionLimits(t *testing.T) {
	for name, limits := range map[string]Limits{
		"of a port": {Sessions: 5, SessionsPerPort: 1},
		"of all":    {Sessions: 1, SessionsPerPort: 5},
	} {
		t.Run(name, func(t *testing.T) {
			there, to := containerUDP(t)
			p := newProxy(t, Options{Limits: limits})
			addr, _ := frontUDP(t, p, to)
			one, two := clientUDP(t, addr), clientUDP(t, addr)
			send(t, one, "1")
			receives(t, there, "1")
			send(t, two, "2")
			send(t, one, "1") // comes after the one that is dropped
			receives(t, there, "1")
			only(t, p).sweep(time.Now().Add(answered))
			send(t, two, "2")
			receives(t, there, "2")
		})
	}
}

// Nobody there: the session ends by itself, and the next datagram begins one.
func TestSessionRefused(t *testing.T) {
	there, to := containerUDP(t)
	there.Close()
	p := newProxy(t, Options{})
	addr, _ := frontUDP(t, p, to)
	c := clientUDP(t, addr)
	send(t, c, "x")
	for end := time.Now().Add(patience); p.poll.tokens() != 2 || p.sessions.n.Load() != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the session of a port where nobody listens lives on")
		}
	}
	again, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(to))
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if err = again.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	send(t, c, "y")
	receives(t, again, "y")
}

// tokens returns how many sockets were ever added.
func (p *poller) tokens() token {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last
}

func TestDatagramNotAllowed(t *testing.T) {
	there, to := containerUDP(t)
	asked := make(chan netip.Addr, 1)
	p := newProxy(t, Options{Allow: func(link string, client, _ netip.Addr) (bool, bool) {
		asked <- client.WithZone(link)
		return false, false
	}})
	addr, stop := frontUDP(t, p, to)
	send(t, clientUDP(t, addr), "x")
	if got, want := <-asked, netip.IPv6Loopback().WithZone("lo"); got != want {
		t.Errorf("asked about %s, want %s: by which link it came", got, want)
	}
	stop() // waits for what is under way
	if err := there.SetDeadline(time.Now().Add(-1)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := there.ReadFromUDPAddrPort(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the container got a datagram that wasn't allowed: %v", err)
	}
}
