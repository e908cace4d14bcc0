package link

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Announce tells everybody on a bridge which MAC address has the addresses, as
// if their owner had said it: neighbours that knew another one forget it (ARP
// announcement, RFC 5227 section 3; unsolicited neighbour advertisement, RFC
// 4861 section 7.2.6). Engines before 28 send none.
func (c *Conn) Announce(_ context.Context, namespace, bridge string, mac net.HardwareAddr, ips ...netip.Addr) error {
	s, done, err := c.in(namespace)
	if err != nil {
		return fmt.Errorf("link: announce on %s: %w", bridge, err)
	}
	defer done()
	index, err := s.index(bridge)
	if err != nil {
		return fmt.Errorf("link: announce on %s: %w", bridge, err)
	}
	var errs []error
	err = c.thread.in(s.ns, func() error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0) // receives nothing
		if err != nil {
			return err
		}
		for _, ip := range ips {
			errs = append(errs, announce(fd, index, mac, ip))
		}
		return errors.Join(append(errs, unix.Close(fd))...)
	})
	if err != nil {
		return fmt.Errorf("link: announce on %s: %w", bridge, err)
	}
	return nil
}

func announce(fd, index int, mac net.HardwareAddr, ip netip.Addr) error {
	frame := arpAnnouncement(mac, ip)
	if ip.Is6() {
		frame = neighbourAdvertisement(mac, ip)
	}
	return unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: index, Halen: 6})
}

// arpAnnouncement returns an Ethernet frame with an ARP request of ip for
// itself (RFC 826, RFC 5227).
func arpAnnouncement(mac net.HardwareAddr, ip netip.Addr) []byte {
	f := make([]byte, 0, 60)
	f = append(f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
	f = append(f, mac...)
	f = append(f, 0x08, 0x06)                                  // ARP
	f = append(f, 0, 1, 0x08, 0x00, 6, 4, 0, 1)                // Ethernet, IPv4, request
	f = append(append(f, mac...), ip.AsSlice()...)             // sender
	f = append(append(f, make([]byte, 6)...), ip.AsSlice()...) // target
	return f[:cap(f)]
}

// neighbourAdvertisement returns an Ethernet frame in which ip says to all
// nodes that it has mac, and that this overrides what they know (RFC 4861
// section 4.4).
func neighbourAdvertisement(mac net.HardwareAddr, ip netip.Addr) []byte {
	const override = 0x20
	all := netip.MustParseAddr("ff02::1")
	icmp := []byte{136, 0, 0, 0, override, 0, 0, 0}
	icmp = append(icmp, ip.AsSlice()...)
	icmp = append(icmp, 2, 1) // target link-layer address, 8 bytes
	icmp = append(icmp, mac...)
	binary.BigEndian.PutUint16(icmp[2:], checksum6(ip, all, icmp))

	f := make([]byte, 0, 86)
	f = append(f, 0x33, 0x33, 0, 0, 0, 1)
	f = append(f, mac...)
	f = append(f, 0x86, 0xdd)                                                  // IPv6
	f = append(f, 0x60, 0, 0, 0, 0, byte(len(icmp)), unix.IPPROTO_ICMPV6, 255) // hop limit 255: section 7.1.2
	f = append(append(f, ip.AsSlice()...), all.AsSlice()...)
	return append(f, icmp...)
}

// checksum6 is the checksum of an ICMPv6 message (RFC 4443 section 2.3).
func checksum6(src, dst netip.Addr, msg []byte) uint16 {
	pseudo := append(src.AsSlice(), dst.AsSlice()...)
	pseudo = append(pseudo, 0, 0, 0, byte(len(msg)), 0, 0, 0, unix.IPPROTO_ICMPV6)
	var sum uint32
	for _, part := range [][]byte{pseudo, msg} { // both of even length
		for i := 0; i < len(part); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(part[i:]))
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
