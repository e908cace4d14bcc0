package nat

import (
	"context"
	"encoding/binary"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A socket is what sock_diag(7) says of one.
type socket struct {
	cgroup uint64 // id of its cgroup v2; 0 unknown
	inode  uint32
}

// Attributes of a reply and sizes, of linux/inet_diag.h.
const (
	diagV6Only    = 11 // INET_DIAG_SKV6ONLY
	diagCgroup    = 21 // INET_DIAG_CGROUP_ID
	diagRequest   = 56 // struct inet_diag_req_v2
	diagReply     = 72 // struct inet_diag_msg
	stateListen   = 1 << 10
	stateBound    = 1 << 13 // TCP_BOUND_INACTIVE, Linux 6.8
	stateTimeWait = 1 << 6
	stateAll      = 1<<12 - 1
)

// socketsOn returns the sockets that stand in the way of c, as far as the
// kernel tells. Listening ones first: they are cheap to find.
func socketsOn(ctx context.Context, c *Conflict) (out []socket) {
	states := []uint32{stateListen | stateBound, stateAll &^ (stateListen | stateTimeWait)}
	if c.Proto != unix.IPPROTO_TCP {
		states = []uint32{stateAll}
	}
	families := []uint8{unix.AF_INET6}
	if c.HostIP.Is4() {
		families = []uint8{unix.AF_INET, unix.AF_INET6} // [::] may have both families
	}
	for _, s := range states {
		for _, f := range families {
			out = append(out, dump(ctx, c, f, s)...)
		}
		if len(out) > 0 {
			break
		}
	}
	return out
}

// dump asks for the sockets of a family on c's port.
func dump(ctx context.Context, c *Conflict, family uint8, states uint32) (out []socket) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	request := make([]byte, unix.SizeofNlMsghdr+diagRequest)
	ne := binary.NativeEndian
	ne.PutUint32(request[0:], uint32(len(request)))
	ne.PutUint16(request[4:], unix.SOCK_DIAG_BY_FAMILY)
	ne.PutUint16(request[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	body := request[unix.SizeofNlMsghdr:]
	body[0], body[1] = family, c.Proto
	ne.PutUint32(body[4:], states)
	binary.BigEndian.PutUint16(body[8:], c.Port)
	if unix.Sendto(fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}) != nil {
		return nil
	}
	buffer := make([]byte, 1<<16)
	for {
		left := time.Second // at most until ctx is looked at again
		if end, ok := ctx.Deadline(); ok {
			left = time.Until(end)
		}
		if left <= 0 || ctx.Err() != nil {
			return out
		}
		wait := unix.NsecToTimeval(max(left, time.Millisecond).Nanoseconds())
		if unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait) != nil {
			return out
		}
		n, _, err := unix.Recvfrom(fd, buffer, 0)
		if err == unix.EINTR || err == unix.EAGAIN {
			continue
		}
		if err != nil {
			return out
		}
		messages, err := syscall.ParseNetlinkMessage(buffer[:n])
		if err != nil {
			return out
		}
		for _, m := range messages {
			if m.Header.Type != unix.SOCK_DIAG_BY_FAMILY {
				return out // NLMSG_DONE or NLMSG_ERROR
			}
			if s, ok := parseSocket(m.Data, c); ok {
				out = append(out, s)
			}
		}
	}
}

// parseSocket reads a struct inet_diag_msg and what follows, and reports
// whether that socket wants packets that c's would.
func parseSocket(b []byte, c *Conflict) (s socket, ok bool) {
	if len(b) < diagReply || binary.BigEndian.Uint16(b[4:]) != c.Port {
		return s, false
	}
	v6 := b[0] == unix.AF_INET6
	ip := netip.AddrFrom4([4]byte(b[8:12]))
	if v6 {
		ip = netip.AddrFrom16([16]byte(b[8:24])).Unmap()
	}
	s.inode = binary.NativeEndian.Uint32(b[68:])
	v6only := false
	for a := b[diagReply:]; len(a) >= unix.SizeofNlAttr; {
		size := int(binary.NativeEndian.Uint16(a))
		if size < unix.SizeofNlAttr || size > len(a) {
			break
		}
		value := a[unix.SizeofNlAttr:size]
		switch kind := binary.NativeEndian.Uint16(a[2:]); {
		case kind == diagV6Only && len(value) >= 1:
			v6only = value[0] != 0
		case kind == diagCgroup && len(value) >= 8:
			s.cgroup = binary.NativeEndian.Uint64(value)
		}
		a = a[min(len(a), (size+3)&^3):]
	}
	if v6 && c.HostIP.Is4() && ip == netip.IPv6Unspecified() && !v6only {
		return s, true
	}
	return s, overlap(ip, c.HostIP)
}
