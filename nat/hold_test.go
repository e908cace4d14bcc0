package nat

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// A desk is a Proxy that serves nobody: it knows who would be.
type desk struct {
	serving map[int]netip.AddrPort // by socket
	refuse  error
}

func (d *desk) Serve(fd int, _ uint8, to netip.AddrPort) (func(), error) {
	if d.refuse != nil {
		return nil, d.refuse
	}
	if _, twice := d.serving[fd]; twice {
		panic("a socket is served twice")
	}
	d.serving[fd] = to
	return func() { delete(d.serving, fd) }, nil
}

func (d *desk) is(t *testing.T, want ...string) {
	t.Helper()
	got := map[string]bool{}
	for _, to := range d.serving {
		got[to.String()] = true
	}
	for _, w := range want {
		if !got[w] {
			t.Errorf("serving %v, want %s", d.serving, w)
		}
	}
	if len(d.serving) != len(want) {
		t.Errorf("serving %v, want %v", d.serving, want)
	}
}

func newDesk(t *testing.T) (*Ports, *desk) {
	t.Helper()
	d := &desk{serving: map[int]netip.AddrPort{}}
	p := NewPorts(nil, d)
	t.Cleanup(func() {
		p.Close()
		d.is(t)
	})
	return p, d
}

// served is a request for a port of 127.0.0.1 and of ::1, carried to a container
// for the latter.
func served(proto uint8, port uint16, to string) Request {
	r := Request{Proto: proto, HostIPs: []netip.Addr{loopback, netip.IPv6Loopback()}, First: port, Targets: make([]netip.AddrPort, 2)}
	if to != "" {
		r.Targets[1] = netip.MustParseAddrPort(to)
	}
	return r
}

// intrudes reports whether a process could listen on a port of ::1.
func intrudes(port uint16) bool {
	for _, addr := range []string{"[::1]", "[::]"} {
		if l, err := net.Listen("tcp6", fmt.Sprintf("%s:%d", addr, port)); err == nil {
			l.Close()
			return true
		}
	}
	return false
}

// A port has its target served as long as it is held, the one that was asked for
// last, and nobody gets in at any time.
func TestTargets(t *testing.T) {
	for _, proto := range []uint8{unix.IPPROTO_TCP, unix.IPPROTO_UDP} {
		t.Run(ProtoName(proto), func(t *testing.T) {
			p, d := newDesk(t)
			port := free(t)
			closed := func(when string) {
				t.Helper()
				if proto == unix.IPPROTO_TCP && intrudes(port) {
					t.Errorf("%s: a process gets the port", when)
				}
			}
			reserve(t, p, "one", served(proto, port, "172.20.0.2:80"))
			d.is(t, "172.20.0.2:80")
			closed("served")
			reserve(t, p, "one", served(proto, port, "172.20.0.2:80"))
			reserve(t, p, "one", served(proto, port, "172.20.0.3:80"))
			d.is(t, "172.20.0.3:80")
			closed("retargeted")
			reserve(t, p, "one", served(proto, port, ""))
			d.is(t)
			closed("not served")
			if proto == unix.IPPROTO_TCP {
				if c, err := net.Dial("tcp6", fmt.Sprintf("[::1]:%d", port)); err == nil {
					c.Close()
					t.Error("connected to a port that isn't served")
				}
			}
			reserve(t, p, "one", served(proto, port, "172.20.0.4:80"))
			d.is(t, "172.20.0.4:80")
			closed("served again")
			held := p.Held()
			p.Release("one")
			d.is(t)
			if proto == unix.IPPROTO_TCP && !intrudes(port) {
				t.Error("released, but taken")
			}
			if err := p.Restore("one", held); err != nil {
				t.Fatal(err)
			}
			d.is(t, "172.20.0.4:80")
			closed("restored")
		})
	}
}

// A reservation that fails leaves what was served as it was.
func TestTargetsUndone(t *testing.T) {
	p, d := newDesk(t)
	port, taken := free(t), free(t)
	reserve(t, p, "one", served(unix.IPPROTO_TCP, port, "172.20.0.2:80"))
	reserve(t, p, "other", tcp("127.0.0.1", taken, 0))
	moved := Request{
		Proto: unix.IPPROTO_TCP, HostIPs: []netip.Addr{netip.IPv6Unspecified()}, First: port,
		Targets: []netip.AddrPort{netip.MustParseAddrPort("172.20.0.9:80")},
	}
	for name, want := range map[string][]Request{
		"new target":  {served(unix.IPPROTO_TCP, port, "172.20.0.3:80"), tcp("127.0.0.1", taken, 0)},
		"new address": {moved, tcp("127.0.0.1", taken, 0)},
	} {
		if _, err := p.Reserve(t.Context(), "one", want); !errors.Is(err, ErrAllocated) {
			t.Fatalf("%s: %v, want ErrAllocated", name, err)
		}
		d.is(t, "172.20.0.2:80")
	}
	d.refuse = unix.ENOSPC // epoll's
	if _, err := p.Reserve(t.Context(), "one", []Request{served(unix.IPPROTO_TCP, port, "172.20.0.3:80")}); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("a proxy that can't: %v, want ENOSPC", err)
	}
	if _, err := p.Reserve(t.Context(), "two", []Request{served(unix.IPPROTO_TCP, free(t), "172.20.0.3:80")}); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("a proxy that can't: %v, want ENOSPC", err)
	}
	d.refuse = nil
	for _, h := range p.Held() { // as each repair does
		if err := p.Restore(h.Owner, []Held{h}); err != nil {
			t.Fatal(err)
		}
	}
	d.is(t, "172.20.0.2:80")
	if n := len(p.Held()); n != 3 {
		t.Errorf("%d ports are held, want those of before", n)
	}
}

// Connections that outlive the daemon, in whatever state, don't refuse the port
// to the next one: those under way, and those that the kernel ends alone.
func TestServedPortAfterCrash(t *testing.T) {
	p, _ := newDesk(t)
	port := free(t)
	reserve(t, p, "one", served(unix.IPPROTO_TCP, port, "172.20.0.2:80"))
	var fd int
	for _, h := range p.owners["one"] {
		if h.ip.Is6() {
			fd = h.fd
		}
	}
	addr := fmt.Sprintf("[::1]:%d", port)
	for _, closed := range []bool{false, true} { // closed: FIN_WAIT, then TIME_WAIT
		c, err := net.Dial("tcp6", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conn, _, err := unix.Accept(fd)
		if err != nil {
			t.Fatal(err)
		}
		if !closed {
			defer unix.Close(conn)
			continue
		}
		unix.Close(conn)
		if _, err = c.Read(make([]byte, 1)); err == nil {
			t.Fatal("read something")
		}
		c.Close()
	}
	held := p.Held()
	p.Close()
	next, d := newDesk(t)
	if err := next.Restore("one", held); err != nil {
		t.Fatal(err)
	}
	d.is(t, "172.20.0.2:80")
	if intrudes(port) {
		t.Error("a process gets the port")
	}
}
