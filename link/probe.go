package link

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// probeTime is how long an answer is waited for. On a LAN it takes a millisecond
// or less; RFC 5227 and RFC 4862 wait for seconds, in which a container would.
const probeTime = 200 * time.Millisecond

// Probe asks a segment, once, who has addresses that an interface with the MAC
// address is to get (ARP probe, RFC 5227 section 2.1.1; neighbour solicitation,
// RFC 4862 section 5.4). It returns the first other one that it hears of, or
// nothing if nobody answers in time. A segment whose link is down answers
// nothing; one that isn't there is unix.ENODEV.
func (c *Conn) Probe(ctx context.Context, on Segment, mac net.HardwareAddr, ips ...netip.Addr) (ip netip.Addr, holder net.HardwareAddr, err error) {
	if on.VLAN != 0 {
		port, done, err := c.probePort(ctx, on, mac)
		if err != nil {
			return ip, nil, fmt.Errorf("link: probe on %s, VLAN %d: %w", on.Link, on.VLAN, err)
		}
		defer done()
		on.Link = port
	}
	ip, holder, err = c.probe(ctx, on, mac, ips)
	if err != nil {
		return ip, nil, fmt.Errorf("link: probe on %s: %w", on.Link, err)
	}
	return ip, holder, nil
}

func (c *Conn) probe(ctx context.Context, on Segment, mac net.HardwareAddr, ips []netip.Addr) (ip netip.Addr, holder net.HardwareAddr, err error) {
	s, done, err := c.in(on.Namespace)
	if err != nil {
		return ip, nil, err
	}
	defer done()
	l, err := s.fast.link(on.Link)
	if err != nil || !l.up || len(l.mac) != 6 {
		return ip, nil, err
	}
	var ears []unix.PollFd
	defer func() {
		for _, e := range ears {
			err = errors.Join(err, unix.Close(int(e.Fd)))
		}
	}()
	for _, v6 := range []bool{false, true} {
		var of []netip.Addr
		for _, a := range ips {
			if a.Is6() == v6 {
				of = append(of, a)
			}
		}
		if len(of) == 0 {
			continue
		}
		var fd int
		if err = c.thread.in(s.ns, func() error { fd, err = listen(l.index, v6, of); return err }); err != nil {
			return ip, nil, err
		}
		ears = append(ears, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
		for _, a := range of {
			frame := arpProbe(l.mac, a)
			if v6 {
				frame = neighbourSolicitation(l.mac, a)
			}
			err := unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: l.index, Halen: 6})
			if err != nil && !errors.Is(err, unix.ENETDOWN) {
				return ip, nil, err
			}
		}
	}
	return hear(ctx, ears, ips, l.mac, mac)
}

// hear waits until somebody claims one of the addresses. Claims by own MAC
// addresses are none.
func hear(ctx context.Context, ears []unix.PollFd, ips []netip.Addr, own ...net.HardwareAddr) (netip.Addr, net.HardwareAddr, error) {
	end := time.Now().Add(probeTime)
	frame := make([]byte, 256) // more than what is looked at
	for ctx.Err() == nil {
		rest := time.Until(end)
		if rest <= 0 || len(ears) == 0 {
			return netip.Addr{}, nil, nil
		}
		if _, err := unix.Poll(ears, int(rest.Milliseconds())+1); err != nil && !errors.Is(err, unix.EINTR) {
			return netip.Addr{}, nil, err
		}
		for _, e := range ears {
			n, from, err := unix.Recvfrom(int(e.Fd), frame, unix.MSG_DONTWAIT)
			if err != nil {
				continue // nothing, or the link went down
			}
			if l, ok := from.(*unix.SockaddrLinklayer); ok && l.Pkttype == unix.PACKET_OUTGOING {
				continue
			}
			if ip, mac := claimed(frame[:n], ips); mac != nil && !sameAsOne(mac, own) {
				return ip, mac, nil
			}
		}
	}
	return netip.Addr{}, nil, context.Cause(ctx)
}

func sameAsOne(mac net.HardwareAddr, of []net.HardwareAddr) bool {
	for _, m := range of {
		if bytes.Equal(mac, m) {
			return true
		}
	}
	return false
}

// listen returns a socket that hears what is said of addresses on a link.
func listen(index int, v6 bool, ips []netip.Addr) (fd int, err error) {
	fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0) // receives nothing yet
	if err != nil {
		return -1, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, unix.Close(fd))
		}
	}()
	protocol := uint16(unix.ETH_P_ARP)
	if v6 {
		protocol = unix.ETH_P_IPV6
		filter := discoveryOnly()
		err = unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})
		for _, group := range groups(ips) {
			m := unix.PacketMreq{Ifindex: int32(index), Type: unix.PACKET_MR_MULTICAST, Alen: 6}
			copy(m.Address[:], group)
			err = errors.Join(err, unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &m))
		}
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: protocol>>8 | protocol<<8, Ifindex: index})
	}
	return fd, err
}

// discoveryOnly lets neighbour solicitations and advertisements pass, as a
// program of bpf(4): a LAN may be busy.
func discoveryOnly() []unix.SockFilter {
	const load, equal, result = unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_RET | unix.BPF_K
	return []unix.SockFilter{
		{Code: load, K: 14 + 6}, // the header after IPv6's
		{Code: equal, K: unix.IPPROTO_ICMPV6, Jf: 3},
		{Code: load, K: 14 + 40}, // its type
		{Code: equal, K: solicitation, Jt: 2},
		{Code: equal, K: advertisement, Jt: 1},
		{Code: result, K: 0},
		{Code: result, K: 256},
	}
}

// Types of ICMPv6, RFC 4861.
const (
	solicitation  = 135
	advertisement = 136
)

// groups are the Ethernet addresses that answers, and others' detections, go to.
func groups(ips []netip.Addr) []net.HardwareAddr {
	out := []net.HardwareAddr{{0x33, 0x33, 0, 0, 0, 1}}
	for _, ip := range ips {
		out = append(out, solicited(ip))
	}
	return out
}

// solicited is the Ethernet address of ip's solicited-node multicast address
// (RFC 4291 section 2.7.1, RFC 2464 section 7).
func solicited(ip netip.Addr) net.HardwareAddr {
	b := ip.As16()
	return net.HardwareAddr{0x33, 0x33, 0xff, b[13], b[14], b[15]}
}

// arpProbe returns an Ethernet frame that asks who has ip without claiming it.
func arpProbe(mac net.HardwareAddr, ip netip.Addr) []byte {
	f := arpAnnouncement(mac, ip)
	copy(f[14+14:], make([]byte, 4)) // the sender's address
	return f
}

// neighbourSolicitation returns an Ethernet frame that asks, from no address,
// who has ip.
func neighbourSolicitation(mac net.HardwareAddr, ip netip.Addr) []byte {
	group := solicited(ip)
	b := ip.As16()
	to := netip.AddrFrom16([16]byte{0: 0xff, 1: 2, 11: 1, 12: 0xff, 13: b[13], 14: b[14], 15: b[15]})
	from := netip.IPv6Unspecified()
	icmp := append([]byte{solicitation, 0, 0, 0, 0, 0, 0, 0}, ip.AsSlice()...)
	binary.BigEndian.PutUint16(icmp[2:], checksum6(from, to, icmp))
	f := make([]byte, 0, 78)
	f = append(append(f, group...), mac...)
	f = append(f, 0x86, 0xdd)
	f = append(f, 0x60, 0, 0, 0, 0, byte(len(icmp)), unix.IPPROTO_ICMPV6, 255)
	f = append(append(f, from.AsSlice()...), to.AsSlice()...)
	return append(f, icmp...)
}

// claimed returns which of the addresses the sender of a frame has, or is about
// to take, and its MAC address; nil for none.
func claimed(f []byte, ips []netip.Addr) (ip netip.Addr, mac net.HardwareAddr) {
	const ethernet = 14
	if len(f) < ethernet {
		return ip, nil
	}
	ip, mac = claimedByARP(f[ethernet:])
	if f[12] == 0x86 && f[13] == 0xdd {
		ip, mac = claimedByDiscovery(f[ethernet:]), net.HardwareAddr(bytes.Clone(f[6:12]))
	} else if f[12] != 0x08 || f[13] != 0x06 {
		return netip.Addr{}, nil
	}
	for _, a := range ips {
		if a == ip {
			return ip, mac
		}
	}
	return netip.Addr{}, nil
}

// claimedByARP: the sender's address is its own, and so would be the target of
// a probe.
func claimedByARP(p []byte) (ip netip.Addr, mac net.HardwareAddr) {
	if len(p) < 28 || !bytes.Equal(p[:6], []byte{0, 1, 8, 0, 6, 4}) {
		return ip, nil
	}
	mac, sender := net.HardwareAddr(bytes.Clone(p[8:14])), netip.AddrFrom4([4]byte(p[14:18]))
	if sender.IsUnspecified() {
		return netip.AddrFrom4([4]byte(p[24:28])), mac
	}
	return sender, mac
}

// claimedByDiscovery: the target of an advertisement is the sender's, and so
// would be that of a solicitation from no address.
func claimedByDiscovery(p []byte) netip.Addr {
	const header = 40
	if len(p) < header+24 || p[6] != unix.IPPROTO_ICMPV6 || p[7] != 255 {
		return netip.Addr{}
	}
	from, icmp := netip.AddrFrom16([16]byte(p[8:24])), p[header:]
	target := netip.AddrFrom16([16]byte(icmp[8:24]))
	if icmp[0] == advertisement || icmp[0] == solicitation && from.IsUnspecified() {
		return target
	}
	return netip.Addr{}
}

// probePort makes a port in a VLAN for a while, by which others are spoken to: a
// bridge's own link need not be in the VLAN.
func (c *Conn) probePort(ctx context.Context, on Segment, mac net.HardwareAddr) (name string, done func(), err error) {
	id := RandomMAC()
	if len(mac) != 6 {
		mac = id
	}
	v := Veth{
		Namespace: on.Namespace, Name: fmt.Sprintf("fwp%x", []byte(id[1:])), Peer: fmt.Sprintf("fwq%x", []byte(id[1:])), PeerMAC: mac,
		Master: on.Link, Adopted: true, Alias: Mark(c.instance, "probe", ""), Learning: true, VLANs: PortVLANs{Access: on.VLAN},
	}
	if err := c.Apply(ctx, Set{v}); err != nil {
		return "", nil, err
	}
	done = func() {
		if err := c.Remove(context.WithoutCancel(ctx), Set{v}); err != nil {
			c.log.Warn(err)
		}
	}
	s, leave, err := c.in(on.Namespace)
	if err == nil {
		a := &attempt{Conn: c}
		if err = a.noInet6(s, v.Peer); err == nil {
			_, err = s.fast.one(setLink(0, v.Peer, linkChange{up: true}))
		}
		if err == nil {
			err = awaitForwarding(ctx, s, v.Name)
		}
		leave()
	}
	if err != nil {
		done()
		return "", nil, err
	}
	return v.Peer, done, nil
}

// awaitForwarding waits until a new port forwards, which takes the kernel a few
// milliseconds, for as long as a probe takes: with spanning tree it may be half a
// minute.
func awaitForwarding(ctx context.Context, s *space, port string) error {
	for end := time.Now().Add(probeTime); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		l, err := s.fast.link(port)
		if err != nil || ctx.Err() != nil || l.port != nil && l.port.forwarding {
			return err
		}
	}
	return nil
}
