package proxy

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// loopback is the name of the link by which the host's own packets come.
const loopback = "lo"

// came returns the link by which a client came in.
//
// For the kernel the host's packets to an address of its own come by the link that
// has the address (ip6_rcv_core in net/ipv6/ip6_input.c), as a neighbour's do. The
// host uses that address as source, too (RFC 6724 section 5, rule 1), and nobody
// else can: by tcp because the answers don't reach him, by udp see notByOthers.
func came(fd int, client, local netip.Addr, link uint32) string {
	if client == local {
		return loopback
	}
	return linkName(fd, link)
}

func localOf(fd int) netip.Addr {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return netip.Addr{}
	}
	a, _ := addressOf(sa)
	return a.Addr()
}

// notByOthers keeps datagrams from an udp socket that come from the very address
// that they go to, but not from the host itself: those say that they do; and from
// one of IPv6 those of IPv4, which are the kernel's to translate. The filter is a
// classic one, see Documentation/networking/filter.rst.
func notByOthers(fd int, v6 bool) error {
	const (
		protocol = -0x1000     // SKF_AD_OFF + SKF_AD_PROTOCOL of linux/filter.h
		ifindex  = -0x1000 + 8 // SKF_AD_OFF + SKF_AD_IFINDEX
		header   = -0x100000   // SKF_NET_OFF: of IP
		word     = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		lo       = 1 // LOOPBACK_IFINDEX: its number in every namespace
		all      = 1<<32 - 1
	)
	kind, from, to, length := uint32(unix.ETH_P_IP), 12, 16, 4 // RFC 791 section 3.1
	if v6 {
		kind, from, to, length = unix.ETH_P_IPV6, 8, 24, 16 // RFC 8200 section 3
	}
	at := func(offset int) uint32 { return uint32(offset) } // negative ones mean something
	filter := []unix.SockFilter{
		{Code: word, K: at(protocol)},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: kind, Jf: uint8(length + 2)},
		{Code: word, K: at(ifindex)},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: lo, Jt: uint8(length + 1)},
	}
	for i := 0; i < length; i += 4 {
		filter = append(filter,
			unix.SockFilter{Code: word, K: at(header + from + i)},
			unix.SockFilter{Code: unix.BPF_MISC | unix.BPF_TAX},
			unix.SockFilter{Code: word, K: at(header + to + i)},
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_X, Jf: uint8(length - i - 3)},
		)
	}
	filter = append(filter,
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K},         // dropped
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: all}, // passed
	)
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})
}
