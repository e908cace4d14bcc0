package link

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A RemoteEntry is a MAC address as a forwarding database has it: that of the
// VXLAN with a host, that of the bridge without one.
type RemoteEntry struct {
	RemoteMAC
	Bridge bool
}

// MACs calls see with every entry of the VXLAN and of its port, in no particular
// order, and slice after every few hundred of them. What is changed meanwhile may
// be seen or not. It ends with the first error.
func (r *Remotes) MACs(slice func() error, see func(RemoteEntry)) error {
	vxlan, _, err := r.Links()
	if err != nil {
		return err
	}
	err = r.dump(portDump(vxlan), slice, func(msg []byte) {
		if e, ok := parseRemoteEntry(msg, vxlan); ok {
			see(e)
		}
	})
	if err != nil {
		return fmt.Errorf("link: list forwarding entries of %s: %w", r.vxlan, err)
	}
	return nil
}

// IPs calls see with every permanent neighbour of the bridge, and slice as MACs
// does.
func (r *Remotes) IPs(slice func() error, see func(RemoteIP)) error {
	_, bridge, err := r.Links()
	if err != nil {
		return err
	}
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		req := neighbourDump(family)
		req.AddData(attr(unix.NDA_IFINDEX, u32(bridge)))
		err := r.dump(req, slice, func(msg []byte) {
			if n, ok := parseRemoteIP(msg, bridge); ok {
				see(n)
			}
		})
		if err != nil {
			return fmt.Errorf("link: list neighbours of %s: %w", r.bridge, err)
		}
	}
	return nil
}

// raw is a part of a request as it is sent.
type raw []byte

// Len implements nl.NetlinkRequestData.
func (b raw) Len() int { return len(b) }

// Serialize implements nl.NetlinkRequestData.
func (b raw) Serialize() []byte { return b }

// The places in struct ndmsg, linux/neighbour.h.
const (
	ndmIndex = 4
	ndmState = 8
	ndmFlags = 10
)

// parseRemoteEntry reads a message of a forwarding database; ok is false for the
// port's own address, and what isn't the port's.
func parseRemoteEntry(msg []byte, port int) (e RemoteEntry, ok bool) {
	if len(msg) < unix.SizeofNdMsg || number(msg[ndmIndex:ndmIndex+4]) != port {
		return e, false
	}
	state := number(msg[ndmState : ndmState+2])
	e.Bridge = msg[ndmFlags]&unix.NTF_SELF == 0
	err := each(msg[unix.SizeofNdMsg:], func(t uint16, v []byte) {
		switch {
		case t == unix.NDA_LLADDR && len(v) == len(e.MAC):
			e.MAC, ok = MAC(v), true
		case t == unix.NDA_DST:
			e.Host, _ = netip.AddrFromSlice(v)
		}
	})
	if e.Bridge && state&unix.NUD_PERMANENT != 0 {
		return e, false
	}
	return e, ok && err == nil
}

// parseRemoteIP reads a message of the neighbour table; ok is false for what
// isn't permanent.
func parseRemoteIP(msg []byte, bridge int) (n RemoteIP, ok bool) {
	if len(msg) < unix.SizeofNdMsg || number(msg[ndmIndex:ndmIndex+4]) != bridge || number(msg[ndmState:ndmState+2])&unix.NUD_PERMANENT == 0 {
		return n, false
	}
	err := each(msg[unix.SizeofNdMsg:], func(t uint16, v []byte) {
		switch {
		case t == unix.NDA_LLADDR && len(v) == len(n.MAC):
			n.MAC = MAC(v)
		case t == unix.NDA_DST:
			n.IP, ok = netip.AddrFromSlice(v)
		}
	})
	return n, ok && err == nil
}

// dump sends one request for a list, and calls see with each of its messages and
// slice after each of the kernel's answers: the kernel goes on when the next is
// asked for.
func (r *Remotes) dump(req *nl.NetlinkRequest, slice func() error, see func(msg []byte)) error {
	k := r.list
	k.mu.Lock()
	defer k.mu.Unlock()
	k.seq++
	req.Seq = k.seq
	fd := k.nl.GetFd()
	err := eintr(func() error {
		return unix.Sendto(fd, req.Serialize(), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	})
	if err != nil {
		return fmt.Errorf("netlink: send: %w", err)
	}
	var stop error // the rest is read all the same: it would be in the way of the next list
	for {
		var n int
		err := eintr(func() (err error) { n, _, err = unix.Recvfrom(fd, k.buf, 0); return err })
		if err != nil {
			return fmt.Errorf("netlink: receive: %w", err)
		}
		last, err := messages(k.buf[:n], k.seq, func(msg []byte) {
			if stop == nil {
				see(msg)
			}
		})
		if last || err != nil {
			return errors.Join(stop, err)
		}
		if stop == nil {
			stop = slice()
		}
	}
}

// messages calls see with each message of a datagram that answers a request; last
// reports that there are no more.
func messages(b []byte, seq uint32, see func(msg []byte)) (last bool, err error) {
	order := nl.NativeEndian()
	for len(b) >= unix.SizeofNlMsghdr {
		n := int(order.Uint32(b))
		if n < unix.SizeofNlMsghdr || n > len(b) {
			return true, fmt.Errorf("netlink: message of %d bytes in %d: %w", n, len(b), unix.EBADMSG)
		}
		msg := b[unix.SizeofNlMsghdr:n]
		if order.Uint32(b[8:]) == seq {
			switch order.Uint16(b[4:]) {
			case unix.NLMSG_DONE, unix.NLMSG_ERROR:
				if len(msg) >= 4 {
					if code := int32(order.Uint32(msg)); code != 0 {
						return true, unix.Errno(-code)
					}
				}
				return true, nil
			case unix.RTM_NEWNEIGH:
				see(msg)
			}
		}
		b = b[min((n+unix.NLMSG_ALIGNTO-1)&^(unix.NLMSG_ALIGNTO-1), len(b)):]
	}
	return false, nil
}
