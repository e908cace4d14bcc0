//go:build kernel

package link

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A wire sends and receives raw frames at a link, see packet(7).
type wire struct {
	fd  int
	mac net.HardwareAddr
}

// newWire listens at a link of the namespace at path.
func newWire(t *testing.T, path, link string) *wire {
	t.Helper()
	w := &wire{}
	inside(t, path, func() {
		i, err := net.InterfaceByName(link)
		must(t, err)
		w.mac = i.HardwareAddr
		all := binary.BigEndian.Uint16([]byte{unix.ETH_P_ALL & 255, unix.ETH_P_ALL >> 8})
		w.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(all))
		must(t, err)
		must(t, unix.Bind(w.fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: i.Index}))
	})
	t.Cleanup(func() { unix.Close(w.fd) })
	return w
}

func (w *wire) send(t *testing.T, dst, src net.HardwareAddr, kind uint16, payload []byte) {
	t.Helper()
	frame := slices.Concat(dst, src, binary.BigEndian.AppendUint16(nil, kind), payload)
	_, err := unix.Write(w.fd, frame)
	must(t, err)
}

// received returns the frames of a kind that come in within a time, from
// others.
func (w *wire) received(t *testing.T, kind uint16, within time.Duration) (frames [][]byte) {
	t.Helper()
	buf := make([]byte, 2048)
	for end := time.Now().Add(within); time.Now().Before(end); {
		must(t, unix.SetsockoptTimeval(w.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000}))
		n, from, err := unix.Recvfrom(w.fd, buf, 0)
		if err != nil || from.(*unix.SockaddrLinklayer).Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		if binary.BigEndian.Uint16(buf[12:]) == kind {
			frames = append(frames, slices.Clone(buf[:n]))
		}
	}
	return frames
}

var broadcast = mac("ff:ff:ff:ff:ff:ff")

// arpReply returns a claim that ip is at the MAC address (RFC 826).
func arpReply(ip netip.Addr, at net.HardwareAddr, to netip.Addr, toMAC net.HardwareAddr) []byte {
	return slices.Concat([]byte{0, 1, 8, 0, 6, 4, 0, 2}, at, ip.AsSlice(), toMAC, to.AsSlice())
}

// forgedAdvertisement returns a claim that target is at the MAC address (RFC
// 4861, section 4.4), with the override flag.
func forgedAdvertisement(src, dst, target netip.Addr, at net.HardwareAddr) []byte {
	return icmp6(src, dst, slices.Concat([]byte{136, 0, 0, 0, 0x20, 0, 0, 0}, target.AsSlice(), []byte{2, 1}, at))
}

// forgedRouter returns one that offers a default route and a prefix of
// 64 bits for addresses (RFC 4861, section 4.2).
func forgedRouter(src netip.Addr, prefix netip.Prefix) []byte {
	const lifetimes = "\x00\x00\x0e\x10\x00\x00\x0e\x10" // an hour
	return icmp6(src, netip.MustParseAddr("ff02::1"), slices.Concat(
		[]byte{134, 0, 0, 0, 64, 0, 0x0e, 0x10}, make([]byte, 8),
		[]byte{3, 4, 64, 0xc0}, []byte(lifetimes), make([]byte, 4), prefix.Addr().AsSlice(),
	))
}

// icmp6 returns an IPv6 packet with an ICMPv6 message, which it completes with
// the checksum (RFC 4443, section 2.3).
func icmp6(src, dst netip.Addr, msg []byte) []byte {
	binary.BigEndian.PutUint16(msg[2:], checksum6(src, dst, msg))
	header := []byte{0x60, 0, 0, 0, 0, 0, unix.IPPROTO_ICMPV6, 255}
	binary.BigEndian.PutUint16(header[4:], uint16(len(msg)))
	return slices.Concat(header, src.AsSlice(), dst.AsSlice(), msg)
}
