package resolver

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// A datagram is UDP in one packet of IP.
type datagram struct {
	from, to netip.AddrPort
	data     []byte
}

const (
	ipv4Header = 20
	ipv6Header = 40
	udpHeader  = 8
)

// readDatagram reads a packet of IPv4 (RFC 791) or IPv6 (RFC 8200) with UDP (RFC
// 768) in it; false if it is anything else, or a fragment.
func readDatagram(p []byte) (d datagram, ok bool) {
	var src, dst netip.Addr
	switch {
	case len(p) >= ipv4Header && p[0]>>4 == 4:
		header, total := int(p[0]&15)*4, int(binary.BigEndian.Uint16(p[2:]))
		if header < ipv4Header || total < header || total > len(p) || p[9] != unix.IPPROTO_UDP || binary.BigEndian.Uint16(p[6:])&0x3fff != 0 {
			return d, false
		}
		src, dst = netip.AddrFrom4([4]byte(p[12:16])), netip.AddrFrom4([4]byte(p[16:20]))
		p = p[header:total]
	case len(p) >= ipv6Header && p[0]>>4 == 6:
		total := ipv6Header + int(binary.BigEndian.Uint16(p[4:]))
		if total > len(p) || p[6] != unix.IPPROTO_UDP {
			return d, false
		}
		src, dst = netip.AddrFrom16([16]byte(p[8:24])), netip.AddrFrom16([16]byte(p[24:40]))
		p = p[ipv6Header:total]
	default:
		return d, false
	}
	if len(p) < udpHeader {
		return d, false
	}
	length := int(binary.BigEndian.Uint16(p[4:]))
	if length < udpHeader || length > len(p) {
		return d, false
	}
	d.from = netip.AddrPortFrom(src, binary.BigEndian.Uint16(p))
	d.to = netip.AddrPortFrom(dst, binary.BigEndian.Uint16(p[2:]))
	d.data = p[udpHeader:length]
	return d, true
}

// packet is d as it goes over a link.
func (d datagram) packet() []byte {
	length := udpHeader + len(d.data)
	var p []byte
	sum := uint32(unix.IPPROTO_UDP) + uint32(length) // of the pseudo-header (RFC 8200 section 8.1)
	if d.from.Addr().Is4() {
		p = make([]byte, ipv4Header, ipv4Header+length)
		p[0], p[6], p[8], p[9] = 0x45, 0x40, 64, unix.IPPROTO_UDP // not to be fragmented
		binary.BigEndian.PutUint16(p[2:], uint16(ipv4Header+length))
		copy(p[12:], d.from.Addr().AsSlice())
		copy(p[16:], d.to.Addr().AsSlice())
		binary.BigEndian.PutUint16(p[10:], fold(add(0, p)))
		sum = add(sum, p[12:20])
	} else {
		p = make([]byte, ipv6Header, ipv6Header+length)
		p[0], p[6], p[7] = 0x60, unix.IPPROTO_UDP, 64
		binary.BigEndian.PutUint16(p[4:], uint16(length))
		copy(p[8:], d.from.Addr().AsSlice())
		copy(p[24:], d.to.Addr().AsSlice())
		sum = add(sum, p[8:40])
	}
	header := len(p)
	p = binary.BigEndian.AppendUint16(p, d.from.Port())
	p = binary.BigEndian.AppendUint16(p, d.to.Port())
	p = binary.BigEndian.AppendUint16(p, uint16(length))
	p = append(p, 0, 0)
	p = append(p, d.data...)
	checksum := fold(add(sum, p[header:]))
	if checksum == 0 {
		checksum = 0xffff // 0 is for "none"
	}
	binary.BigEndian.PutUint16(p[header+6:], checksum)
	return p
}

// add adds b to a sum of the Internet checksum (RFC 1071).
func add(sum uint32, b []byte) uint32 {
	for i, c := range b {
		if i%2 == 0 {
			sum += uint32(c) << 8
		} else {
			sum += uint32(c)
		}
	}
	return sum
}

func fold(sum uint32) uint16 {
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
