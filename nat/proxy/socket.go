package proxy

import (
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// addressOf returns who is at a socket's other end, without a zone, and the
// index of the link that a link-local address is of.
func addressOf(sa unix.Sockaddr) (client netip.AddrPort, link uint32) {
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)), 0
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port)), a.ZoneId
	}
	return client, 0
}

// linkName returns the name of a link, by any socket of its namespace; "" if
// there is none: see netdevice(7).
func linkName(fd int, index uint32) string {
	r, err := unix.NewIfreq("?")
	if err != nil || index == 0 {
		return ""
	}
	r.SetUint32(index)
	if unix.IoctlIfreq(fd, unix.SIOCGIFNAME, r) != nil {
		return ""
	}
	return r.Name()
}

// isIPv6 reports whether a socket is one of IPv6; with those of IPv4, what is
// below has other names.
func isIPv6(fd int) bool {
	family, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	return err == nil && family == unix.AF_INET6
}

// tellLinks has the kernel tell by which link datagrams and connections come in,
// and to which address of the host: RFC 3542 section 6, ip(7) IP_PKTINFO.
func tellLinks(fd int, on bool) error {
	value := 0
	if on {
		value = 1
	}
	if isIPv6(fd) {
		return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, value)
	}
	return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_PKTINFO, value)
}

// arrival returns by which link a connection came in; 0 if the kernel doesn't
// say. It asks for what came with the packet that opened the connection (RFC 2292
// section 4.1), and has the kernel keep no more of that, packet by packet.
func arrival(fd int) (link uint32) {
	var oob [64]byte
	n := uint32(len(oob))
	level, name := unix.IPPROTO_IP, unix.IP_PKTOPTIONS
	if isIPv6(fd) {
		level, name = unix.IPPROTO_IPV6, unix.IPV6_2292PKTOPTIONS
	}
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(name),
		uintptr(unsafe.Pointer(&oob[0])), uintptr(unsafe.Pointer(&n)), 0)
	_ = tellLinks(fd, false)
	if errno != 0 {
		return 0
	}
	_, link, _ = packetInfo(oob[:n])
	return link
}

// packetInfo returns to which address a packet came, and by which link. It is no
// address for one that came to many (broadcast).
func packetInfo(oob []byte) (local netip.Addr, link uint32, err error) {
	for len(oob) > 0 {
		var h unix.Cmsghdr
		var data []byte
		if h, data, oob, err = unix.ParseOneSocketControlMessage(oob); err != nil {
			return local, 0, err
		}
		switch {
		case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
			info := (*unix.Inet6Pktinfo)(unsafe.Pointer(&data[0]))
			local, link = netip.AddrFrom16(info.Addr), info.Ifindex
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
			info := (*unix.Inet4Pktinfo)(unsafe.Pointer(&data[0]))
			link = uint32(info.Ifindex)
			if info.Addr == info.Spec_dst {
				local = netip.AddrFrom4(info.Addr)
			}
		}
	}
	return local, link, nil
}

// receive takes a datagram, and returns by which link it came. One that nobody
// could answer is errRefused.
func receive(fd int, buffer []byte) (n int, f flow, via uint32, err error) {
	var oob [64]byte
	n, oobn, flags, sa, err := unix.Recvmsg(fd, buffer, oob[:], unix.MSG_DONTWAIT)
	if err != nil {
		return 0, f, 0, err
	}
	f.client, f.link = addressOf(sa)
	f.local, via, err = packetInfo(oob[:oobn])
	if err != nil || flags&unix.MSG_TRUNC != 0 || !f.local.IsValid() || f.local.IsMulticast() || f.client.Port() == 0 {
		return 0, f, 0, errRefused
	}
	return n, f, via, nil
}

// send sends to a flow's client, from the address that it asked.
func (f flow) send(fd int, data []byte) error {
	if f.local.Is4() {
		from := unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: f.local.As4()})
		return unix.Sendmsg(fd, data, from, socketAddress(f.client), unix.MSG_DONTWAIT)
	}
	from := unix.PktInfo6(&unix.Inet6Pktinfo{Addr: f.local.As16(), Ifindex: f.link})
	return unix.Sendmsg(fd, data, from, &unix.SockaddrInet6{
		Addr: f.client.Addr().As16(), Port: int(f.client.Port()), ZoneId: f.link,
	}, unix.MSG_DONTWAIT)
}

// connect returns an udp socket that hears from nobody but to, and has as for
// its own address if that is valid.
func connect(to, as netip.AddrPort) (fd int, err error) {
	family := unix.AF_INET
	if to.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err = unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_UDP)
	if err != nil {
		return -1, err
	}
	if as.IsValid() {
		if err = transparent(fd, to.Addr().Is6()); err == nil {
			err = unix.Bind(fd, socketAddress(as))
		}
	}
	if err == nil {
		err = unix.Connect(fd, socketAddress(to))
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func socketAddress(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is6() {
		return &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}
	}
	return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
}
