package proxy

import (
	"errors"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// transparent lets a socket have an address that isn't the host's: ip(7)
// IP_TRANSPARENT, which takes CAP_NET_ADMIN. What is sent to that address comes to
// the socket only if rules and routes see to it (package unroutable).
//
// A client may come by one port of its own to several of ours: SO_REUSEADDR lets
// as many sockets have it.
func transparent(fd int, v6 bool) error {
	level, name := unix.IPPROTO_IP, unix.IP_TRANSPARENT
	if v6 {
		level, name = unix.IPPROTO_IPV6, unix.IPV6_TRANSPARENT
	}
	if err := unix.SetsockoptInt(fd, level, name, 1); err != nil {
		return err
	}
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
}

// controlTransparent is transparent for net.Dialer. The port of an address without
// one is chosen when it connects, so that all are free that lead elsewhere.
func controlTransparent(network, _ string, c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) {
		if failed = transparent(int(fd), network == "tcp6"); failed == nil {
			failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
		}
	})
	return errors.Join(err, failed)
}

// isTaken reports whether a client's port can't be had: the client has come to the
// same container by another port of ours with it, or a service of the host has the
// port on all addresses.
func isTaken(err error) bool {
	return errors.Is(err, unix.EADDRINUSE) || errors.Is(err, unix.EADDRNOTAVAIL)
}

// A pair is a client and a container's port. Unlike for tcp, the kernel wouldn't
// refuse a second socket for it, and bring all answers to one of them.
type pair struct{ client, to netip.AddrPort }

// connectAs is connect under the address of a client, and its port where it is
// free. What it has taken, giveBack frees.
func (p *Proxy) connectAs(to, client netip.AddrPort) (fd int, as pair, err error) {
	as = pair{client, to}
	if p.take(as) {
		if fd, err = connect(to, client); err == nil {
			return fd, as, nil
		}
		p.giveBack(as)
		if !isTaken(err) {
			return -1, pair{}, err
		}
	}
	fd, err = connect(to, netip.AddrPortFrom(client.Addr(), 0))
	return fd, pair{}, err
}

func (p *Proxy) take(as pair) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken[as] {
		return false
	}
	p.taken[as] = true
	return true
}

func (p *Proxy) giveBack(as pair) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.taken, as)
}
