package proxy

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience guards against a hang; nothing waits for it.
const patience = 20 * time.Second

// newProxy returns a proxy that runs until the test ends.
func newProxy(t *testing.T, o Options) *Proxy {
	t.Helper()
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- p.Run(t.Context()) }()
	t.Cleanup(func() { // after t.Context has ended
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// front serves a tcp port of [::1] and returns its address.
func front(t *testing.T, p *Proxy, to netip.AddrPort) (addr string, stop func()) {
	t.Helper()
	var plain net.ListenConfig
	plain.SetMultipathTCP(false) // as nat's sockets are
	l, err := plain.Listen(t.Context(), "tcp6", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	stop, err = p.Serve(int(f.Fd()), unix.IPPROTO_TCP, to)
	if err != nil {
		t.Fatal(err)
	}
	if err = unix.SetNonblock(int(f.Fd()), true); err != nil { // Fd made it block
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		f.Close()
		l.Close()
	})
	return l.Addr().String(), stop
}

// container listens where the proxy carries to.
func container(t *testing.T, network, addr string) (*net.TCPListener, netip.AddrPort) {
	t.Helper()
	l, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.(*net.TCPListener), l.Addr().(*net.TCPAddr).AddrPort()
}

func dial(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp6", addr)
	if err != nil {
		t.Fatal(err)
	}
	return patient(t, c)
}

func accept(t *testing.T, l *net.TCPListener) *net.TCPConn {
	t.Helper()
	if err := l.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return patient(t, c)
}

func patient(t *testing.T, c net.Conn) *net.TCPConn {
	t.Helper()
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn)
}

func send(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

// hears checks what comes until the other side has ended.
func hears(t *testing.T, c net.Conn, want string) {
	t.Helper()
	if got, err := io.ReadAll(c); err != nil || string(got) != want {
		t.Errorf("got %q, %v; want %q and its end", got, err, want)
	}
}

// isReset checks that a connection is reset, not ended.
func isReset(t *testing.T, c net.Conn) {
	t.Helper()
	if n, err := c.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("read %d bytes, %v; want %v", n, err, unix.ECONNRESET)
	}
}

// isRefused checks that a connection to a port that is served comes to nothing,
// while it is made or right afterwards.
func isRefused(t *testing.T, addr string) {
	t.Helper()
	c, err := net.Dial("tcp6", addr)
	if errors.Is(err, unix.ECONNRESET) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	isReset(t, patient(t, c))
}

// Each side can end what it sends and go on to hear, in both families.
func TestHalfClose(t *testing.T) {
	for _, there := range []struct{ network, addr string }{{"tcp4", "127.0.0.1:0"}, {"tcp6", "[::1]:0"}} {
		t.Run(there.network, func(t *testing.T) {
			l, to := container(t, there.network, there.addr)
			addr, _ := front(t, newProxy(t, Options{}), to)
			for name, ends := range map[string]func(a, b *net.TCPConn){
				"client first":    func(client, server *net.TCPConn) { converse(t, client, server) },
				"container first": func(client, server *net.TCPConn) { converse(t, server, client) },
			} {
				t.Run(name, func(t *testing.T) {
					client := dial(t, addr)
					ends(client, accept(t, l))
				})
			}
		})
	}
}

func converse(t *testing.T, first, second *net.TCPConn) {
	t.Helper()
	send(t, first, "question")
	if err := first.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	hears(t, second, "question")
	send(t, second, "answer")
	if err := second.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	hears(t, first, "answer")
}

// More than the sockets hold goes both ways at a time.
func TestBulk(t *testing.T) {
	l, to := container(t, "tcp4", "127.0.0.1:0")
	addr, _ := front(t, newProxy(t, Options{}), to)
	client := dial(t, addr)
	server := accept(t, l)
	data := bytes.Repeat([]byte("0123456789abcde\n"), 1<<19) // 8 MiB
	for _, c := range []*net.TCPConn{client, server} {
		go func() {
			_, _ = c.Write(data)
			_ = c.CloseWrite()
		}()
	}
	got := make(chan bool)
	for _, c := range []*net.TCPConn{client, server} {
		go func() {
			all, err := io.ReadAll(c)
			got <- err == nil && bytes.Equal(all, data)
		}()
	}
	if a, b := <-got, <-got; !a || !b {
		t.Error("data is not what was sent")
	}
}

// A reset of one side resets the other, though nothing is under way there.
func TestReset(t *testing.T) {
	l, to := container(t, "tcp4", "127.0.0.1:0")
	addr, _ := front(t, newProxy(t, Options{}), to)
	t.Run("by the client", func(t *testing.T) {
		client := dial(t, addr)
		server := accept(t, l)
		abort(client)
		isReset(t, server)
	})
	t.Run("by the container", func(t *testing.T) {
		client := dial(t, addr)
		abort(accept(t, l))
		isReset(t, client)
	})
}

func TestRefused(t *testing.T) {
	l, to := container(t, "tcp4", "127.0.0.1:0")
	l.Close()
	addr, _ := front(t, newProxy(t, Options{}), to)
	isRefused(t, addr) // nobody listens in the container

	_, to = container(t, "tcp4", "127.0.0.1:0")
	addr, _ = front(t, newProxy(t, Options{Allow: func(link string, client, container netip.Addr) (bool, bool) {
		if client != netip.IPv6Loopback() || link != "lo" || container != to.Addr() {
			t.Errorf("asked about %s to %s", client, container)
		}
		return false, false
	}}), to)
	isRefused(t, addr)
}

// Stop ends what is under way, and all that is waited for.
func TestStop(t *testing.T) {
	l, to := container(t, "tcp4", "127.0.0.1:0")
	p := newProxy(t, Options{})
	addr, stop := front(t, p, to)
	client := dial(t, addr)
	server := accept(t, l)
	send(t, client, "x")
	if _, err := io.ReadFull(server, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	stop()
	isReset(t, client)
	isReset(t, server)
	if n := p.connections.n.Load(); n != 0 {
		t.Errorf("%d connections are counted after stop", n)
	}
	p.poll.mu.Lock()
	defer p.poll.mu.Unlock()
	if n := len(p.poll.ready); n != 0 {
		t.Errorf("%d sockets are waited for after stop", n)
	}
}

// One connection too many is reset, of a port as of all; one that has ended makes
// room.
func TestConnectionLimits(t *testing.T) {
	for name, limits := range map[string]Limits{
		"of a port": {Connections: 5, ConnectionsPerPort: 1},
		"of all":    {Connections: 1, ConnectionsPerPort: 5},
	} {
		t.Run(name, func(t *testing.T) {
			l, to := container(t, "tcp4", "127.0.0.1:0")
			p := newProxy(t, Options{Limits: limits})
			addr, _ := front(t, p, to)
			first := dial(t, addr)
			server := accept(t, l)
			isRefused(t, addr)
			first.Close()
			hears(t, server, "")
			server.Close()
			for end := time.Now().Add(patience); p.connections.n.Load() > 0 && time.Now().Before(end); {
				time.Sleep(time.Millisecond) // both sides have ended; the proxy is about to see it
			}
			dial(t, addr)
			accept(t, l)
		})
	}
}

func TestLimitsFor(t *testing.T) {
	for files, want := range map[uint64]Limits{
		1 << 20: {4096, 1024, 4096, 1024},
		1024:    {85, 42, 102, 51},
		64:      {5, 2, 6, 3},
	} {
		if got := limitsFor(files); got != want {
			t.Errorf("%d files: %+v, want %+v", files, got, want)
		}
	}
}
