//go:build kernel

package firewall

import (
	"encoding/binary"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Frames are built by hand: what is tested is what a container with NET_RAW can
// send, and that is anything.

func mac(s string) net.HardwareAddr {
	m, err := net.ParseMAC(s)
	if err != nil {
		panic(err)
	}
	return m
}

func ether(dst, src net.HardwareAddr, kind uint16, payload []byte) []byte {
	f := append(append([]byte{}, dst...), src...)
	return append(binary.BigEndian.AppendUint16(f, kind), payload...)
}

// tagged puts a VLAN tag into a frame, before the tags that it has.
func tagged(f []byte, kind, vlan uint16) []byte {
	out := append([]byte{}, f[:12]...)
	out = binary.BigEndian.AppendUint16(out, kind)
	out = binary.BigEndian.AppendUint16(out, vlan)
	return append(out, f[12:]...)
}

func arp(op byte, senderMAC net.HardwareAddr, sender, target string) []byte {
	a := append([]byte{0, 1, 8, 0, 6, 4, 0, op}, senderMAC...)
	a = append(a, netip.MustParseAddr(sender).AsSlice()...)
	a = append(a, make([]byte, 6)...)
	return append(a, netip.MustParseAddr(target).AsSlice()...)
}

// ip4 wraps a payload; fragment is the field with flags and offset.
func ip4(src, dst string, proto byte, fragment uint16, payload []byte) []byte {
	h := []byte{0x45, 0, 0, 0, 0, 7, 0, 0, 64, proto, 0, 0}
	binary.BigEndian.PutUint16(h[2:], uint16(20+len(payload)))
	binary.BigEndian.PutUint16(h[6:], fragment)
	h = append(append(h, netip.MustParseAddr(src).AsSlice()...), netip.MustParseAddr(dst).AsSlice()...)
	binary.BigEndian.PutUint16(h[10:], checksum(h))
	return append(h, payload...)
}

func ip6(src, dst string, next byte, payload []byte) []byte {
	h := []byte{0x60, 0, 0, 0, 0, 0, next, 255}
	binary.BigEndian.PutUint16(h[4:], uint16(len(payload)))
	h = append(append(h, netip.MustParseAddr(src).AsSlice()...), netip.MustParseAddr(dst).AsSlice()...)
	return append(h, payload...)
}

func udp(from, to uint16) []byte {
	u := binary.BigEndian.AppendUint16(nil, from)
	return append(binary.BigEndian.AppendUint16(u, to), 0, 12, 0, 0, 'f', 'a', 'i', 'r')
}

// icmp6 returns a message with its checksum (RFC 4443 section 2.3).
func icmp6(src, dst string, kind byte, body ...byte) []byte {
	m := append([]byte{kind, 0, 0, 0}, body...)
	pseudo := append(netip.MustParseAddr(src).AsSlice(), netip.MustParseAddr(dst).AsSlice()...)
	pseudo = binary.BigEndian.AppendUint32(pseudo, uint32(len(m)))
	pseudo = append(pseudo, 0, 0, 0, unix.IPPROTO_ICMPV6)
	binary.BigEndian.PutUint16(m[2:], checksum(append(pseudo, m...)))
	return m
}

// nd returns a neighbour solicitation (135) or advertisement (136) with the
// option that names the sender's or target's MAC address.
func nd(src, dst string, kind byte, target string, m net.HardwareAddr) []byte {
	body := []byte{0, 0, 0, 0}
	option := byte(1)
	if kind == 136 {
		body[0], option = 0x20, 2 // override
	}
	body = append(body, netip.MustParseAddr(target).AsSlice()...)
	if m != nil {
		body = append(append(body, option, 1), m...)
	}
	return icmp6(src, dst, kind, body...)
}

// extended puts destination options before a payload, fragmented the header of
// a fragment with an offset in units of 8 bytes.
func extended(next byte, payload []byte) []byte {
	return append([]byte{next, 0, 1, 4, 0, 0, 0, 0}, payload...)
}

func fragmented(next byte, offset uint16, more bool, payload []byte) []byte {
	h := []byte{next, 0, 0, 0, 0, 0, 0, 9}
	binary.BigEndian.PutUint16(h[2:], offset<<3)
	if more {
		h[3] |= 1
	}
	return append(h, payload...)
}

func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(b[i]) << 8
		if i+1 < len(b) {
			sum += uint32(b[i+1])
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }
func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }
