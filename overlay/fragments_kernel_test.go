//go:build kernel

package overlay

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A packet in two fragments, the first of which ends before the VNI, is no way
// around the filter: not from a stranger, and not from a container.
func TestFragments(t *testing.T) {
	for name, v6 := range map[string]bool{"IPv4 underlay": false, "IPv6 underlay": true} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, 2, v6, nil, false)
			victim, other := l.hosts[0].attach(1), l.hosts[1].attach(2)
			var got chan string
			victim.do(func() { got = inbox(t) })
			stranger := l.plug(8)
			packet := frame(testVNI, other, victim, "forged")
			to := l.hosts[0].addr
			ways := map[string]struct {
				from netip.Addr
				do   func(f func())
			}{
				"a stranger": {netip.MustParseAddr(map[bool]string{false: "192.0.2.9", true: "2001:db8::9"}[v6]), func(f func()) { within(t, stranger, f) }},
				"a container of the segment on another host": {other.ips()[map[bool]int{true: 1}[v6]], other.do},
			}
			open := func(want bool) {
				t.Helper()
				for who, w := range ways {
					came := false
					for end := time.Now().Add(patience); !came && time.Now().Before(end); {
						w.do(func() { fragments(t, w.from, to, packet) })
						select {
						case <-got:
							came = true
						case <-time.After(100 * time.Millisecond):
							if !want {
								end = time.Now() // one is enough, below is one that comes
							}
						}
					}
					if came != want {
						t.Errorf("fragments from %s: came through %t, want %t", who, came, want)
					}
				}
			}
			open(false)
			for _, h := range l.hosts {
				h.do(func() { run(t, "nft", "delete", "table", "inet", tableName) })
			}
			open(true) // else the test shows nothing
		})
	}
}

// fragments sends a UDP packet to the VXLAN port in two fragments: the header, and
// the rest (RFC 791, RFC 8200 section 4.5).
func fragments(t testing.TB, from, to netip.Addr, data []byte) {
	t.Helper()
	udp := make([]byte, 8, 8+len(data))
	binary.BigEndian.PutUint16(udp, 12345)
	binary.BigEndian.PutUint16(udp[2:], DefaultPort)
	binary.BigEndian.PutUint16(udp[4:], uint16(8+len(data)))
	udp = append(udp, data...)
	pseudo := append(append([]byte{}, from.AsSlice()...), to.AsSlice()...)
	pseudo = append(pseudo, 0, 17, byte(len(udp)>>8), byte(len(udp)))
	var sum uint32
	for _, b := range [][]byte{pseudo, udp} {
		for i, c := range b {
			sum += uint32(c) << (8 * (1 - i%2))
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(udp[6:], ^uint16(sum))
	id := uint16(time.Now().UnixNano())
	for _, part := range []struct {
		at   int
		more bool
		data []byte
	}{{0, true, udp[:8]}, {8, false, udp[8:]}} {
		raw(t, from, to, id, part.at, part.more, part.data)
	}
}

func raw(t testing.TB, from, to netip.Addr, id uint16, at int, more bool, data []byte) {
	t.Helper()
	var p []byte
	var family int
	var sa unix.Sockaddr
	if to.Is4() {
		place := uint16(at / 8)
		if more {
			place |= 0x2000
		}
		p = []byte{0x45, 0, 0, 0, byte(id >> 8), byte(id), byte(place >> 8), byte(place), 64, 17, 0, 0} // the kernel fills in length and checksum
		family, sa = unix.AF_INET, &unix.SockaddrInet4{Addr: to.As4()}
	} else {
		place := uint16(at)
		if more {
			place |= 1
		}
		n := 8 + len(data)
		p = []byte{0x60, 0, 0, 0, byte(n >> 8), byte(n), 44, 64}
		family, sa = unix.AF_INET6, &unix.SockaddrInet6{Addr: to.As16()}
		data = append([]byte{17, 0, byte(place >> 8), byte(place), 0, 0, byte(id >> 8), byte(id)}, data...)
	}
	p = append(append(append(p, from.AsSlice()...), to.AsSlice()...), data...)
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	must(t, err)
	defer unix.Close(fd)
	if family == unix.AF_INET6 {
		must(t, unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_HDRINCL, 1))
	}
	must(t, unix.Sendto(fd, p, 0, sa))
}
