package trace

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A Pinger sends echo requests (RFC 792, RFC 4443) from a network namespace.
type Pinger struct {
	To   netip.Addr
	conn *net.IPConn
	id   uint16
	seq  uint16
	// MTU is that of the link that the requests leave by, in bytes.
	MTU int
}

// NewPinger opens a raw socket in the sandbox at a path, "" for the caller's own
// namespace. It stays there wherever it is used from.
func NewPinger(sandbox string, to netip.Addr) (*Pinger, error) {
	p := &Pinger{To: to, id: uint16(os.Getpid())}
	err := Inside(sandbox, func() error {
		network, any4 := "ip4:icmp", "0.0.0.0"
		if to.Is6() {
			network, any4 = "ip6:ipv6-icmp", "::"
		}
		c, err := net.ListenPacket(network, any4)
		if err != nil {
			return fmt.Errorf("trace: open raw socket: %w", err)
		}
		p.conn = c.(*net.IPConn)
		p.MTU = mtuTo(to)
		return p.keepWhole()
	})
	if err != nil && p.conn != nil {
		_ = p.conn.Close()
	}
	return p, err
}

// mtuTo returns the MTU of the route to an address, from the calling thread's
// namespace: what a connected socket says (IP_MTU of ip(7)). 0 if that fails.
func mtuTo(to netip.Addr) (mtu int) {
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, 9)))
	if err != nil {
		return 0
	}
	defer c.Close()
	raw, err := c.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) {
		if to.Is6() {
			mtu, _ = unix.GetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_MTU)
		} else {
			mtu, _ = unix.GetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU)
		}
	})
	return mtu
}

// keepWhole has requests sent in one piece or not at all, whatever the kernel
// believes of the path (IP_PMTUDISC_PROBE of ip(7)).
func (p *Pinger) keepWhole() error {
	raw, err := p.conn.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	err = raw.Control(func(fd uintptr) {
		if p.To.Is6() {
			set = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_PROBE)
		} else {
			set = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE)
		}
	})
	return errors.Join(err, set)
}

// Close frees the socket.
func (p *Pinger) Close() error { return p.conn.Close() }

// headers is how much of a packet isn't data of the request, in bytes.
func (p *Pinger) headers() int {
	if p.To.Is6() {
		return 40 + 8
	}
	return 20 + 8
}

// ErrNoReply is why an echo failed.
var ErrNoReply = errors.New("no reply") //nolint:gochecknoglobals // an error value

// Echo sends one request in a packet of a size in bytes, 0 for the usual 84, and
// waits for its reply. A size that the link doesn't take is unix.EMSGSIZE.
func (p *Pinger) Echo(ctx context.Context, size int, wait time.Duration) (time.Duration, error) {
	if size == 0 {
		size = 84
	}
	p.seq++
	request := make([]byte, max(size-p.headers()+8, 8))
	want := byte(0) // echo reply
	if request[0] = 8; p.To.Is6() {
		request[0], want = 128, 129
	}
	binary.BigEndian.PutUint16(request[4:], p.id)
	binary.BigEndian.PutUint16(request[6:], p.seq)
	if !p.To.Is6() { // of ICMPv6 the kernel does it
		binary.BigEndian.PutUint16(request[2:], checksum(request))
	}
	start := time.Now()
	deadline := start.Add(wait)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	if err := p.conn.SetDeadline(deadline); err != nil {
		return 0, err
	}
	if _, err := p.conn.WriteToIP(request, &net.IPAddr{IP: p.To.AsSlice()}); err != nil {
		return 0, plain(err)
	}
	reply := make([]byte, 1<<16)
	for {
		n, from, err := p.conn.ReadFromIP(reply)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return 0, ErrNoReply
		}
		if err != nil {
			return 0, plain(err)
		}
		ip, _ := netip.AddrFromSlice(from.IP)
		if n >= 8 && reply[0] == want && ip.Unmap() == p.To && binary.BigEndian.Uint16(reply[4:]) == p.id && binary.BigEndian.Uint16(reply[6:]) == p.seq {
			return time.Since(start), nil
		}
	}
}

// plain is what the kernel said, without the ways it came.
func plain(err error) error {
	var call *os.SyscallError
	var no syscall.Errno
	if errors.As(err, &call) {
		err = call.Err
	}
	if errors.As(err, &no) {
		return no
	}
	return err
}

// Largest returns the size in bytes of the largest packet that comes through in
// one piece, up to the link's MTU. Small ones must.
func (p *Pinger) Largest(ctx context.Context, wait time.Duration) (int, error) {
	through := func(size int) (bool, error) {
		_, err := p.Echo(ctx, size, wait)
		if errors.Is(err, ErrNoReply) || errors.Is(err, unix.EMSGSIZE) {
			return false, ctx.Err()
		}
		return err == nil, err
	}
	lo, hi := 84, max(p.MTU, 84)
	if ok, err := through(hi); ok || err != nil {
		return hi, err
	}
	for hi-lo > 1 { // lo comes through, hi doesn't
		mid := (lo + hi) / 2
		ok, err := through(mid)
		if err != nil {
			return lo, err
		}
		if ok {
			lo = mid
		} else {
			hi = mid
		}
	}
	return lo, nil
}

// checksum is that of RFC 1071.
func checksum(b []byte) uint16 {
	sum := uint32(0)
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	if len(b)%2 == 1 {
		sum += uint32(b[len(b)-1]) << 8
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
