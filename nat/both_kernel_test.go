//go:build kernel

package nat

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// families is a request for a port on all addresses of both families, or of one.
func families(proto uint8, port uint16, ips ...string) Request {
	r := Request{Proto: proto, First: port}
	for _, ip := range ips {
		a := netip.MustParseAddr(ip)
		r.HostIPs = append(r.HostIPs, a)
		to := netip.AddrPort{}
		if a.Is6() {
			to = netip.MustParseAddrPort("172.20.0.2:80")
		}
		r.Targets = append(r.Targets, to)
	}
	return r
}

// occupy takes a port as a process of the host does.
func occupy(proto uint8, ip string, port uint16) (stop func(), err error) {
	fd, err := bind(newKey(proto, netip.MustParseAddr(ip), port), false)
	if err != nil {
		return nil, err
	}
	return func() { unix.Close(fd) }, nil
}

// isHeld checks in which families nobody else gets a port.
func isHeld(t *testing.T, proto uint8, port uint16, want ...string) {
	t.Helper()
	for _, ip := range []string{"0.0.0.0", "127.0.0.1", "::", "::1"} {
		stop, err := occupy(proto, ip, port)
		if err == nil {
			stop()
		}
		family := "::"
		if netip.MustParseAddr(ip).Is4() {
			family = "0.0.0.0"
		}
		if held := errors.Is(err, ErrAllocated); held != slices.Contains(want, family) {
			t.Errorf("%s is held: %t (%v), want %v", ip, held, err, want)
		}
	}
}

// TestBothFamilies: a port of both families has one socket as long as both are
// wanted, and what is wanted is held at any time.
func TestBothFamilies(t *testing.T) {
	enter(t)
	const port = 8080
	for _, proto := range []uint8{unix.IPPROTO_TCP, unix.IPPROTO_UDP} {
		t.Run(ProtoName(proto), func(t *testing.T) {
			enter(t)
			p, d := newDesk(t)
			files := openFiles(t)
			both, v4, v6 := families(proto, port, "0.0.0.0", "::"), families(proto, port, "0.0.0.0"), families(proto, port, "::")
			reserve(t, p, "one", both)
			if n := openFiles(t) - files; n != 1 {
				t.Errorf("%d sockets, want one", n)
			}
			isHeld(t, proto, port, "0.0.0.0", "::")
			d.is(t, "172.20.0.2:80")
			for _, part := range []struct {
				Request
				held string
			}{{v4, "0.0.0.0"}, {v6, "::"}} {
				reserve(t, p, "one", both)
				reserve(t, p, "one", part.Request)
				isHeld(t, proto, port, part.held)
				reserve(t, p, "one", both)
				isHeld(t, proto, port, "0.0.0.0", "::")
				p.Release("one")
				isHeld(t, proto, port)
			}

			// What fails leaves both.
			stop, err := occupy(proto, "127.0.0.1", port+1)
			if err != nil {
				t.Fatal(err)
			}
			reserve(t, p, "one", both)
			want := fmt.Sprintf("Bind for 0.0.0.0:%d failed: port is already allocated", port+1)
			refused(t, p, "one", want, v4, families(proto, port+1, "0.0.0.0", "::"))
			refused(t, p, "one", want, families(proto, port, "127.0.0.1"), families(proto, port+1, "0.0.0.0", "::"))
			isHeld(t, proto, port, "0.0.0.0", "::")
			d.is(t, "172.20.0.2:80")
			stop()
			if stop, err = occupy(proto, "::1", port+1); err != nil {
				t.Fatal(err)
			}
			refused(t, p, "one", fmt.Sprintf("Bind for :::%d failed: port is already allocated", port+1), families(proto, port+1, "0.0.0.0", "::"))
			stop()
		})
	}
}

// TestRestoreBothFamilies: of a port that somebody took in one family while the
// daemon was down, the other is held at once, and both when he is gone.
func TestRestoreBothFamilies(t *testing.T) {
	enter(t)
	const port = 8080
	p, d := newDesk(t)
	reserve(t, p, "one", families(unix.IPPROTO_TCP, port, "0.0.0.0", "::"))
	held := p.Held()
	p.Close()
	for taken, free := range map[string]string{"0.0.0.0": "::", "::": "0.0.0.0"} {
		stop, err := occupy(unix.IPPROTO_TCP, taken, port)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			err = p.Restore("one", held)
			var c *Conflict
			if !errors.As(err, &c) || c.HostIP.String() != taken {
				t.Errorf("Restore while %s is taken: %v", taken, err)
			}
		}
		isHeld(t, unix.IPPROTO_TCP, port, "0.0.0.0", "::")
		stop()
		isHeld(t, unix.IPPROTO_TCP, port, free)
		if err = p.Restore("one", held); err != nil {
			t.Error(err)
		}
		isHeld(t, unix.IPPROTO_TCP, port, "0.0.0.0", "::")
		p.Close()
		d.is(t)
	}
	files := openFiles(t)
	if err := p.Restore("one", held); err != nil {
		t.Error(err)
	}
	if n := openFiles(t) - files; n != 1 {
		t.Errorf("%d sockets after Restore, want one", n)
	}
	d.is(t, "172.20.0.2:80")
	if c, err := net.Dial("tcp6", fmt.Sprintf("[::1]:%d", port)); err != nil {
		t.Error(err)
	} else {
		c.Close()
	}
}
