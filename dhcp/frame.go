package dhcp

import (
	"encoding/binary"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// UDP ports of DHCP: RFC 2131 section 4.1, RFC 8415 section 7.2.
const (
	clientPort  = 68
	serverPort  = 67
	clientPort6 = 546
	serverPort6 = 547
)

const (
	etherLen = 14
	ip4Len   = 20
	ip6Len   = 40
	udpLen   = 8
)

// A datagram is one UDP message in one Ethernet frame.
type datagram struct {
	from, to         net.HardwareAddr
	source, dest     netip.Addr
	srcPort, dstPort uint16
	payload          []byte
}

// encode returns the frame of d.
func (d datagram) encode() []byte {
	ipLen, etherType := ip4Len, uint16(unix.ETH_P_IP)
	if d.source.Is6() {
		ipLen, etherType = ip6Len, unix.ETH_P_IPV6
	}
	f := make([]byte, etherLen+ipLen+udpLen+len(d.payload))
	copy(f, d.to)
	copy(f[6:], d.from)
	binary.BigEndian.PutUint16(f[12:], etherType)
	ip, udp := f[etherLen:etherLen+ipLen], f[etherLen+ipLen:]
	binary.BigEndian.PutUint16(udp, d.srcPort)
	binary.BigEndian.PutUint16(udp[2:], d.dstPort)
	binary.BigEndian.PutUint16(udp[4:], uint16(len(udp)))
	copy(udp[udpLen:], d.payload)
	if d.source.Is6() {
		ip[0] = 6 << 4
		binary.BigEndian.PutUint16(ip[4:], uint16(len(udp)))
		ip[6], ip[7] = unix.IPPROTO_UDP, 1
		copy(ip[8:], d.source.AsSlice())
		copy(ip[24:], d.dest.AsSlice())
	} else {
		ip[0] = 4<<4 | ip4Len/4
		binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)+len(udp)))
		ip[8], ip[9] = 64, unix.IPPROTO_UDP
		copy(ip[12:], d.source.AsSlice())
		copy(ip[16:], d.dest.AsSlice())
		binary.BigEndian.PutUint16(ip[10:], checksum(0, ip))
	}
	binary.BigEndian.PutUint16(udp[6:], d.checksum(udp))
	return f
}

// checksum is the one of UDP with its pseudo header: RFC 768, RFC 8200 section 8.1.
func (d datagram) checksum(udp []byte) uint16 {
	sum := uint32(unix.IPPROTO_UDP) + uint32(len(udp))
	for _, a := range [][]byte{d.source.AsSlice(), d.dest.AsSlice()} {
		for i := 0; i < len(a); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(a[i:]))
		}
	}
	if sum := checksum(sum, udp); sum != 0 {
		return sum
	}
	return 0xffff
}

// checksum is the Internet's: RFC 1071.
func checksum(sum uint32, b []byte) uint16 {
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// decode reads a frame. The checksum of UDP isn't looked at: a sender on the same
// host leaves it to the hardware, which isn't there.
func decode(f []byte) (d datagram, ok bool) {
	if len(f) < etherLen+ip4Len+udpLen {
		return d, false
	}
	d.to, d.from = f[:6], f[6:12]
	ip := f[etherLen:]
	var udp []byte
	switch binary.BigEndian.Uint16(f[12:]) {
	case unix.ETH_P_IP:
		header, total := int(ip[0]&15)*4, int(binary.BigEndian.Uint16(ip[2:]))
		if ip[0]>>4 != 4 || header < ip4Len || total < header+udpLen || total > len(ip) ||
			ip[9] != unix.IPPROTO_UDP || binary.BigEndian.Uint16(ip[6:])&0x3fff != 0 { // more fragments, or not the first
			return d, false
		}
		d.source, d.dest = netip.AddrFrom4([4]byte(ip[12:])), netip.AddrFrom4([4]byte(ip[16:]))
		udp = ip[header:total]
	case unix.ETH_P_IPV6:
		if len(ip) < ip6Len+udpLen || ip[0]>>4 != 6 || ip[6] != unix.IPPROTO_UDP {
			return d, false
		}
		total := ip6Len + int(binary.BigEndian.Uint16(ip[4:]))
		if total < ip6Len+udpLen || total > len(ip) {
			return d, false
		}
		d.source, d.dest = netip.AddrFrom16([16]byte(ip[8:])), netip.AddrFrom16([16]byte(ip[24:]))
		udp = ip[ip6Len:total]
	default:
		return d, false
	}
	d.srcPort, d.dstPort = binary.BigEndian.Uint16(udp), binary.BigEndian.Uint16(udp[2:])
	length := int(binary.BigEndian.Uint16(udp[4:]))
	if length < udpLen || length > len(udp) {
		return d, false
	}
	d.payload = udp[udpLen:length]
	return d, true
}
