package link

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// A Segment is a LAN that the host speaks to by a link of its own.
type Segment struct {
	Namespace string
	Link      string
	VLAN      uint16 // on a VLAN-aware bridge: one that Link itself may not be in; 0: frames without a tag
}

// Announce tells everybody on a bridge, or behind a parent, which MAC address has the addresses, as
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
	if err = c.announceBy(s.ns, index, mac, ips); err != nil {
		return fmt.Errorf("link: announce on %s: %w", bridge, err)
	}
	return nil
}

// AnnounceInside is Announce by the link in a sandbox that has the MAC address:
// links on the same parent hear that, and what the host itself sends by the
// parent they don't. It does nothing if there is none that is up.
func (c *Conn) AnnounceInside(_ context.Context, sandbox string, mac net.HardwareAddr, ips ...netip.Addr) error {
	if !c.SandboxAlive(sandbox) {
		return nil
	}
	s, done, err := c.in(sandbox)
	if err != nil {
		return fmt.Errorf("link: announce: %w", err)
	}
	defer done()
	links, err := s.links()
	if err != nil {
		return fmt.Errorf("link: announce in %s: %w", sandbox, err)
	}
	for _, l := range links {
		if !l.up || !bytes.Equal(l.mac, mac) {
			continue
		}
		if err = c.announceBy(s.ns, l.index, mac, ips); err != nil {
			return fmt.Errorf("link: announce in %s: %w", sandbox, err)
		}
	}
	return nil
}

// announceBy sends announcements by the link of an index in a namespace.
func (c *Conn) announceBy(ns netns.NsHandle, index int, mac net.HardwareAddr, ips []netip.Addr) error {
	var errs []error
	return c.thread.in(ns, func() error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0) // receives nothing
		if err != nil {
			return err
		}
		for _, ip := range ips {
			errs = append(errs, announce(fd, index, mac, ip))
		}
		return errors.Join(append(errs, unix.Close(fd))...)
	})
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
