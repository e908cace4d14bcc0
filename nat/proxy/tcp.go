package proxy

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// dialTime is how long a container that doesn't answer at all, because it is
// gone or drops packets, keeps a client waiting.
const dialTime = 5 * time.Second

// A listener accepts connections on one socket.
type listener struct {
	p     *Proxy
	to    netip.AddrPort
	own   limit
	ctx   context.Context // ends with the listener, and all connections with it
	conns sync.WaitGroup

	mu     sync.Mutex // held while fd is used
	fd     int
	closed bool
}

func (p *Proxy) listen(fd int, to netip.AddrPort) (stop func(), err error) {
	ctx, cancel := context.WithCancel(context.Background())
	l := &listener{p: p, to: to, own: limit{most: p.opts.Limits.ConnectionsPerPort}, ctx: ctx, fd: fd}
	t, err := p.poll.add(fd, l.ready)
	if err != nil {
		cancel()
		return nil, err
	}
	return func() {
		l.mu.Lock()
		l.closed = true
		l.mu.Unlock()
		p.poll.remove(fd, t)
		cancel()
		l.conns.Wait()
	}, nil
}

// atOnce is how much is taken from one socket before others have their turn.
const atOnce = 16

// ready takes waiting connections.
func (l *listener) ready() {
	for range atOnce {
		fd, from, link, err := l.accept()
		switch {
		case err == nil:
			go l.carry(fd, from, link)
		case errors.Is(err, errRefused), errors.Is(err, unix.EINTR), errors.Is(err, unix.ECONNABORTED):
		case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE), errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.ENOMEM):
			l.p.warn(l.to, "connection waits: "+err.Error())
			time.Sleep(50 * time.Millisecond) // it is still there to be accepted
			return
		default: // EAGAIN: no more
			return
		}
	}
}

var errRefused = errors.New("refused")

// accept takes a connection, counts it and makes stop wait for it. One too many
// is reset.
func (l *listener) accept() (fd int, from netip.AddrPort, link string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return -1, from, "", unix.EAGAIN
	}
	fd, sa, err := unix.Accept4(l.fd, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
	if err != nil {
		return -1, from, "", err
	}
	from, _ = addressOf(sa)
	if from.Addr().Is4In6() { // the kernel's to translate; it would have, but for somebody who took the rules away
		reset(fd)
		return -1, from, "", errRefused
	}
	switch {
	case !l.own.take():
	case !l.p.connections.take():
		l.own.give()
	default:
		l.conns.Add(1)
		return fd, from, came(fd, from.Addr(), localOf(fd), arrival(fd)), nil
	}
	l.p.warn(l.to, "connection refused: too many at a time, see docs/publishing.md")
	reset(fd)
	return -1, from, "", errRefused
}

// carry moves data between a client and the container until both have ended.
func (l *listener) carry(fd int, from netip.AddrPort, link string) {
	defer l.conns.Done()
	defer l.p.connections.give()
	defer l.own.give()
	may, asItself := l.p.allow(link, from.Addr(), localOf(fd), l.to)
	if !may {
		reset(fd)
		return
	}
	client, err := conn(fd)
	if err != nil {
		return
	}
	var as netip.AddrPort
	if asItself {
		as = from
	}
	container, err := dialAs(l.ctx, l.to, as)
	if err != nil {
		if errors.Is(err, unix.EPERM) {
			l.p.warn(l.to, "connection refused: "+err.Error())
		}
		abort(client)
		return
	}
	stop := context.AfterFunc(l.ctx, func() {
		abort(client)
		abort(container)
	})
	defer stop()
	join(client, container)
}

// dialAs connects to a container, under the address of as if that is valid, and
// its port, too, where it is free.
func dialAs(ctx context.Context, to, as netip.AddrPort) (*net.TCPConn, error) {
	dialer := net.Dialer{Timeout: dialTime}
	if as.IsValid() {
		dialer.LocalAddr = net.TCPAddrFromAddrPort(as)
		dialer.Control = controlTransparent
	}
	c, err := dialer.DialContext(ctx, "tcp", to.String())
	if as.Port() != 0 && isTaken(err) {
		return dialAs(ctx, to, netip.AddrPortFrom(as.Addr(), 0))
	}
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}

// conn makes Go's connection of a socket, and closes the socket if it can't.
func conn(fd int) (*net.TCPConn, error) {
	f := os.NewFile(uintptr(fd), "client")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	tcp := c.(*net.TCPConn)
	// A client that vanished must not count for ever.
	_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true})
	return tcp, nil
}

// join moves data both ways. An end of data is passed on by itself, so that the
// other way goes on (RFC 9293 section 3.6); a reset as a reset.
func join(a, b *net.TCPConn) {
	var there error
	var both sync.WaitGroup
	both.Go(func() { there = move(b, a) })
	back := move(a, b)
	both.Wait()
	if there != nil || back != nil {
		abort(a)
		abort(b)
		return
	}
	_ = a.Close()
	_ = b.Close()
}

// move copies until src ends or either fails.
func move(dst, src *net.TCPConn) error {
	_, err := dst.ReadFrom(src)
	switch {
	case err == nil:
		_ = dst.CloseWrite()
	case gone(src):
		abort(src)
		abort(dst)
	default: // dst has failed; what it has sent before is still to be moved
		_ = src.CloseRead()
	}
	return err
}

// gone reports whether the other end has reset a connection, or it is closed.
func gone(c *net.TCPConn) bool {
	gone := true
	raw, err := c.SyscallConn()
	if err == nil {
		_ = raw.Control(func(fd uintptr) {
			info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
			gone = err != nil || info.State == unix.BPF_TCP_CLOSE
		})
	}
	return gone
}

// abort resets a connection.
func abort(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}

// reset is abort for a socket.
func reset(fd int) {
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	_ = unix.Close(fd)
}
