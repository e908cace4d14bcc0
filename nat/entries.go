package nat

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// An entry is a tracked connection. What has no ports has 0.
type entry struct {
	proto          uint8
	from, to       netip.AddrPort // of its first packet
	answers        netip.AddrPort // who answers: to, unless that was translated
	packets, bytes uint64         // in both directions, if the host counts
	attrs          []byte         // all that the kernel says; valid during the call only
}

// Attributes of linux/netfilter/nfnetlink_conntrack.h that the library lacks,
// and bits of the kernel's nf_internals.h for what a filter looks at.
const (
	ctaFilter           = 25
	ctaFilterOrigFlags  = 1
	ctaFilterReplyFlags = 2
	ctaFilterSource     = 1 << 0
	ctaFilterProto      = 1 << 3
)

func openConntrack() (int, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return -1, fmt.Errorf("open netlink: %w", err)
	}
	return fd, nil
}

// eachEntry reads a family's connections; those of one protocol only, unless it
// is 0, where the kernel can tell (5.8). The table may change meanwhile: what
// comes and goes may be left out.
//
// The library makes an object of each, which takes longer than the kernel does.
func eachEntry(ctx context.Context, family uint8, proto uint8, do func(entry)) error {
	fd, err := openConntrack()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	req := conntrackRequest(nl.IPCTNL_MSG_CT_GET, family, unix.NLM_F_DUMP)
	if proto != 0 {
		t := nl.NewRtAttr(unix.NLA_F_NESTED|nl.CTA_TUPLE_ORIG, nil)
		t.AddRtAttr(unix.NLA_F_NESTED|nl.CTA_TUPLE_PROTO, nil).AddRtAttr(nl.CTA_PROTO_NUM, []byte{proto})
		req.AddData(t)
		req.AddData(filterBy(ctaFilterProto, 0))
	}
	if err := unix.Sendto(fd, req.Serialize(), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	b := make([]byte, 64<<10)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, _, err := unix.Recvfrom(fd, b, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		if last, err := eachMessage(b[:n], func(body []byte) { do(parseEntry(body)) }); last || err != nil {
			return err
		}
	}
}

// eachMessage goes through what was received, and reports whether the answer
// is over.
func eachMessage(b []byte, do func(body []byte)) (last bool, err error) {
	for len(b) >= unix.NLMSG_HDRLEN {
		length := int(binary.NativeEndian.Uint32(b))
		if length < unix.NLMSG_HDRLEN || length > len(b) {
			return true, unix.EBADMSG
		}
		body := b[unix.NLMSG_HDRLEN:length]
		switch binary.NativeEndian.Uint16(b[4:]) {
		case unix.NLMSG_DONE:
			return true, nil
		case unix.NLMSG_ERROR:
			if errno := int32(binary.NativeEndian.Uint32(body)); errno != 0 {
				return true, unix.Errno(-errno)
			}
		default:
			if len(body) >= nl.SizeofNfgenmsg {
				do(body[nl.SizeofNfgenmsg:])
			}
		}
		b = b[min(len(b), align(length)):]
	}
	return false, nil
}

// deleteEntries removes those that still are what their keys say.
func deleteEntries(family uint8, keys [][]byte) error {
	if len(keys) == 0 {
		return nil
	}
	fd, err := openConntrack()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	const most = 64 // in one message to the kernel
	for len(keys) > 0 {
		n := min(len(keys), most)
		var b []byte
		for _, key := range keys[:n] {
			req := conntrackRequest(nl.IPCTNL_MSG_CT_DELETE, family, unix.NLM_F_ACK)
			req.AddRawData(key)
			b = append(b, req.Serialize()...)
		}
		keys = keys[n:]
		if err := unix.Sendto(fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
			return err
		}
		if err := acks(fd, n); err != nil {
			return err
		}
	}
	return nil
}

// acks waits for the answers to n requests. What is gone already is no error.
func acks(fd, n int) error {
	b := make([]byte, 16<<10)
	var refused error
	for n > 0 {
		size, _, err := unix.Recvfrom(fd, b, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		for rest := b[:size]; len(rest) >= unix.NLMSG_HDRLEN+4; n-- {
			length := int(binary.NativeEndian.Uint32(rest))
			if length < unix.NLMSG_HDRLEN+4 || length > len(rest) {
				return unix.EBADMSG
			}
			errno := unix.Errno(-int32(binary.NativeEndian.Uint32(rest[unix.NLMSG_HDRLEN:])))
			if errno != 0 && errno != unix.ENOENT {
				refused = errno
			}
			rest = rest[min(len(rest), align(length)):]
		}
	}
	return refused
}

func conntrackRequest(kind int, family uint8, flags int) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_CTNETLINK<<8|kind, flags)
	req.AddData(&nl.Nfgenmsg{NfgenFamily: family, Version: nl.NFNETLINK_V0})
	return req
}

// filterBy tells the kernel what to look at in each direction.
func filterBy(orig, reply uint32) *nl.RtAttr {
	f := nl.NewRtAttr(unix.NLA_F_NESTED|ctaFilter, nil)
	f.AddRtAttr(ctaFilterOrigFlags, binary.NativeEndian.AppendUint32(nil, orig))
	f.AddRtAttr(ctaFilterReplyFlags, binary.NativeEndian.AppendUint32(nil, reply))
	return f
}

// key returns a copy of the attributes that tell e from all others.
func (e entry) key() (out []byte) {
	eachAttr(e.attrs, func(kind uint16, whole, _ []byte) {
		switch kind {
		case nl.CTA_TUPLE_ORIG, nl.CTA_ZONE, nl.CTA_ID:
			out = append(out, whole...)
		}
	})
	return out
}

// parseEntry reads the attributes of a connection.
func parseEntry(b []byte) entry {
	e := entry{attrs: b}
	eachAttr(b, func(kind uint16, _, data []byte) {
		switch kind {
		case nl.CTA_TUPLE_ORIG:
			e.proto, e.from, e.to = parseTuple(data)
		case nl.CTA_TUPLE_REPLY:
			_, e.answers, _ = parseTuple(data)
		case nl.CTA_COUNTERS_ORIG, nl.CTA_COUNTERS_REPLY:
			eachAttr(data, func(kind uint16, _, n []byte) {
				switch {
				case len(n) != 8:
				case kind == nl.CTA_COUNTERS_PACKETS:
					e.packets += binary.BigEndian.Uint64(n)
				case kind == nl.CTA_COUNTERS_BYTES:
					e.bytes += binary.BigEndian.Uint64(n)
				}
			})
		}
	})
	return e
}

func parseTuple(b []byte) (proto uint8, src, dst netip.AddrPort) {
	var from, to netip.Addr
	var sport, dport uint16
	eachAttr(b, func(_ uint16, _, part []byte) {
		eachAttr(part, func(kind uint16, _, data []byte) {
			switch len(data) { // the numbers of both parts are different by their lengths
			case 4, 16:
				a, _ := netip.AddrFromSlice(data)
				if kind == nl.CTA_IP_V4_SRC || kind == nl.CTA_IP_V6_SRC {
					from = a
				} else {
					to = a
				}
			case 1:
				if kind == nl.CTA_PROTO_NUM {
					proto = data[0]
				}
			case 2:
				switch kind {
				case nl.CTA_PROTO_SRC_PORT:
					sport = binary.BigEndian.Uint16(data)
				case nl.CTA_PROTO_DST_PORT:
					dport = binary.BigEndian.Uint16(data)
				}
			}
		})
	})
	return proto, netip.AddrPortFrom(from, sport), netip.AddrPortFrom(to, dport)
}

func align(n int) int { return (n + 3) &^ 3 }

// eachAttr goes through attributes (struct nlattr): whole is one with its head
// and padding, data what is in it.
func eachAttr(b []byte, do func(kind uint16, whole, data []byte)) {
	for len(b) >= unix.SizeofNlAttr {
		length := int(binary.NativeEndian.Uint16(b))
		if length < unix.SizeofNlAttr || length > len(b) {
			return
		}
		whole := b[:min(len(b), align(length))]
		do(binary.NativeEndian.Uint16(b[2:])&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER), whole, b[unix.SizeofNlAttr:length])
		b = b[len(whole):]
	}
}
