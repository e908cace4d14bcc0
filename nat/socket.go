package nat

import (
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// bind returns a socket that holds k: bound, not listening. For sctp there is
// none: this kernel may have no such sockets, and only packets matter. With
// freebind the address need not be the host's (ip(7) IP_FREEBIND).
//
// A tcp socket that is refused tries again with SO_REUSEADDR, so that
// connections in TIME_WAIT don't refuse it. It hasn't the option afterwards, so
// that no other socket gets in that has it (Go's listeners do). The first try is
// without, because Linux 6.1 (6.18 does not) remembers the option with the port:
// others with the option may bind it there then, and are refused by listen(2) only.
// Udp knows no TIME_WAIT, and there the option alone would let two sockets share
// the port.
func bind(k key, freebind bool) (fd int, err error) { return bindFamilies(k, freebind, false) }

// bindFamilies is bind, with both for k's port on all addresses of IPv4, too, if k
// has all of IPv6: one socket is half the work of two. See ipv6(7) IPV6_V6ONLY.
func bindFamilies(k key, freebind, both bool) (fd int, err error) {
	if k.proto == unix.IPPROTO_SCTP {
		return -1, nil
	}
	if fd, err = open(k, both); err != nil {
		return -1, bindError(k, err)
	}
	defer func() {
		if err != nil {
			_ = unix.Close(fd)
			fd, err = -1, bindError(k, err)
		}
	}()
	if freebind {
		if err = setFreebind(fd, k.ip); err != nil {
			return fd, err
		}
	}
	if err = unix.Bind(fd, sockaddr(k.ip, k.port)); err != unix.EADDRINUSE || k.proto != unix.IPPROTO_TCP {
		return fd, err
	}
	if err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return fd, err
	}
	if err = unix.Bind(fd, sockaddr(k.ip, k.port)); err != nil {
		return fd, err
	}
	return fd, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 0)
}

func open(k key, both bool) (int, error) {
	family, kind := unix.AF_INET, unix.SOCK_STREAM
	if k.ip.Is6() {
		family = unix.AF_INET6
	}
	if k.proto == unix.IPPROTO_UDP {
		kind = unix.SOCK_DGRAM
	}
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(k.proto))
	if err != nil {
		return -1, err
	}
	if k.ip.Is6() {
		only := 1
		if both {
			only = 0
		}
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, only)
	}
	if err == nil && k.proto == unix.IPPROTO_UDP {
		err = dropAll(fd)
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// roomAtStart is for how many files the process's table has room from the
// start: 128 KiB of the kernel's memory.
const roomAtStart = 1 << 14

// makeRoom has the kernel make the table of the process's files that large at
// once. Whenever it grows by itself, a process with several threads waits for a
// grace period of RCU, some 10 ms: seven times on the way to 10,000 ports
// (expand_fdtable in the kernel's fs/file.c).
func makeRoom(files uint64) {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return
	}
	last := min(files, limit.Cur) - 1
	if fd, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, int(last)); err == nil { // else the limit is low, or 0 is closed: it grows later
		_ = unix.Close(fd)
	}
}

// dropAll keeps datagrams that aren't translated from filling the socket's
// buffer: nobody reads it. See socket(7) SO_ATTACH_FILTER.
func dropAll(fd int) error {
	filter := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})
}

// receptive makes a bound socket ready for the proxy.
//
// Tcp: no socket gets in beside one that listens, so SO_REUSEADDR is harmless,
// and its connections inherit it: those that outlive the process, in FIN_WAIT or
// TIME_WAIT, would refuse the port to the next one otherwise. It is set before
// listen(2), which looks for conflicts as bind(2) does.
func receptive(fd int, proto uint8) error {
	if proto == unix.IPPROTO_UDP {
		return nil // the proxy puts its filter in the place of dropAll
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return err
	}
	return unix.Listen(fd, unix.SOMAXCONN)
}

// deaf makes a socket take nothing again. It stays bound.
func deaf(fd int, proto uint8) error {
	if proto == unix.IPPROTO_UDP {
		return dropAll(fd)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 0); err != nil {
		return err
	}
	return unix.Shutdown(fd, unix.SHUT_RD)
}

func setFreebind(fd int, ip netip.Addr) error {
	if ip.Is6() {
		return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_FREEBIND, 1)
	}
	return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_FREEBIND, 1)
}

func sockaddr(ip netip.Addr, port uint16) unix.Sockaddr {
	if ip.Is6() {
		return &unix.SockaddrInet6{Addr: ip.As16(), Port: int(port)}
	}
	return &unix.SockaddrInet4{Addr: ip.As4(), Port: int(port)}
}

// freePort returns a port that is free on ip, chosen by the kernel among the
// ephemeral ones. It is not held.
func freePort(proto uint8, ip netip.Addr) (uint16, error) {
	k := newKey(proto, ip, 0)
	fd, err := open(k, false)
	if err != nil {
		return 0, bindError(k, err)
	}
	defer unix.Close(fd)
	if err = unix.Bind(fd, sockaddr(ip, 0)); err != nil {
		return 0, bindError(k, err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return 0, bindError(k, err)
	}
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return uint16(a.Port), nil
	case *unix.SockaddrInet6:
		return uint16(a.Port), nil
	}
	return 0, bindError(k, unix.EAFNOSUPPORT)
}

// ephemeralRange returns the ports that the kernel would choose from, for sctp,
// where it can't be asked to. See Documentation/networking/ip-sysctl.rst.
func ephemeralRange() ([]uint16, error) {
	read := func(name string) (string, error) {
		b, err := os.ReadFile("/proc/sys/net/ipv4/" + name)
		return strings.TrimSpace(string(b)), err
	}
	bounds, err := read("ip_local_port_range")
	if err != nil {
		return nil, fmt.Errorf("ports: %w", err)
	}
	reserved, err := read("ip_local_reserved_ports")
	if err != nil {
		return nil, fmt.Errorf("ports: %w", err)
	}
	first, last, err := parseRange(strings.Join(strings.Fields(bounds), "-"))
	if err != nil {
		return nil, fmt.Errorf("ports: ip_local_port_range %q: %w", bounds, err)
	}
	skip := map[uint16]bool{}
	for r := range strings.SplitSeq(reserved, ",") {
		if r == "" {
			continue
		}
		a, b, err := parseRange(r)
		if err != nil {
			return nil, fmt.Errorf("ports: ip_local_reserved_ports %q: %w", reserved, err)
		}
		for p := int(a); p <= int(b); p++ {
			skip[uint16(p)] = true
		}
	}
	var out []uint16
	for p := int(first); p <= int(last); p++ {
		if !skip[uint16(p)] {
			out = append(out, uint16(p))
		}
	}
	return out, nil
}

func parseRange(s string) (first, last uint16, err error) {
	a, b, ok := strings.Cut(s, "-")
	if !ok {
		b = a
	}
	f, err := strconv.ParseUint(a, 10, 16)
	if err != nil {
		return 0, 0, err
	}
	l, err := strconv.ParseUint(b, 10, 16)
	return uint16(f), uint16(l), err
}

// HasIPv6 reports whether the host has IPv6 at all.
func HasIPv6() bool {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	_ = unix.Close(fd)
	return true
}
