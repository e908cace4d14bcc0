package resolver

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// A sender sends datagrams by a link, with any address as source: packet(7). They
// are no part of what the host's firewall sees.
type sender struct{ socket int }

func newSender() (*sender, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0) // 0: receives nothing
	if err != nil {
		return nil, fmt.Errorf("resolver: open packet socket: %w", err)
	}
	return &sender{fd}, nil
}

// send sends d to who has a MAC address behind a link. It doesn't wait.
func (s *sender) send(link int, mac []byte, d datagram) error {
	to := &unix.SockaddrLinklayer{Protocol: bigEndian(unix.ETH_P_IP), Ifindex: link, Halen: uint8(len(mac))}
	if d.from.Addr().Is6() {
		to.Protocol = bigEndian(unix.ETH_P_IPV6)
	}
	copy(to.Addr[:], mac)
	if err := unix.Sendto(s.socket, d.packet(), unix.MSG_DONTWAIT, to); err != nil {
		return fmt.Errorf("resolver: send answer to %s: %w", d.to, err)
	}
	return nil
}

func (s *sender) close() error { return unix.Close(s.socket) }

// bigEndian is a protocol's number as the kernel has it.
func bigEndian(n uint16) uint16 {
	return binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, n))
}
