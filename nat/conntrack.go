package nat

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Connections are the host's tracked connections.
type Connections struct{}

// Forget removes the tracked connections that stand in e's way.
//
// With its addresses, e is gone or published no more: every connection from or
// to them goes, published ones among them. Without addresses, e's ports have
// just been published: a flow of datagrams to one that began before, to the
// host itself or to another container, would go on as it began (moby#53384),
// and goes. It costs nothing where there is nothing to look for.
func (Connections) Forget(ctx context.Context, e Endpoint) error {
	for _, family := range []netlink.InetFamily{unix.AF_INET, unix.AF_INET6} {
		s := newStale(e, family == unix.AF_INET6)
		var err error
		switch {
		case len(s.addrs) > 0:
			err = s.forgetAddrs(ctx, family)
		case len(s.ports) > 0:
			err = s.forgetPorts(ctx, family)
		}
		if err != nil {
			return fmt.Errorf("nat: forget connections of endpoint %s: %w", e.ID, err)
		}
	}
	return nil
}

// forgetAddrs has the kernel itself look for the addresses, which costs a tenth
// of reading the table (KERNEL.md 1.7). Kernels before 6.8 can't; they refuse
// the message, and the table is read. So it is for IPv6, since there the
// kernel, up to 6.18 at least, takes every address for the one that is not
// meant (measured: net/netfilter/nf_conntrack_netlink.c compares with
// !ipv6_addr_cmp).
func (s *stale) forgetAddrs(ctx context.Context, family netlink.InetFamily) error {
	if family == unix.AF_INET6 {
		return deleteMatching(ctx, family, s)
	}
	for _, a := range s.addrs {
		if err := ctx.Err(); err != nil {
			return err
		}
		for _, tuple := range []int{nl.CTA_TUPLE_ORIG, nl.CTA_TUPLE_REPLY} {
			err := deleteBySource(a, tuple)
			if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
				return deleteMatching(ctx, family, s)
			}
			if err != nil && !errors.Is(err, unix.ENOENT) {
				return err
			}
		}
	}
	return nil
}

func (s *stale) forgetPorts(ctx context.Context, family netlink.InetFamily) error {
	if err := s.addLocal(family); err != nil {
		return err
	}
	return deleteMatching(ctx, family, s)
}

func deleteMatching(ctx context.Context, family netlink.InetFamily, s *stale) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	_, err := netlink.ConntrackDeleteFilters(netlink.ConntrackTable, family, s)
	if errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil // what changed meanwhile is not stale
	}
	return err
}

// Attributes of nfnetlink_conntrack.h that the library lacks, and the bit of
// the kernel's nf_internals.h for the source address in a filter.
const (
	ctaFilter           = 25
	ctaFilterOrigFlags  = 1
	ctaFilterReplyFlags = 2
	ctaFilterSource     = 1 << 0
)

// deleteBySource removes the IPv4 connections whose packets in one direction, that
// of a tuple, come from ip: those that it began (original), and those to it,
// translated or not (reply).
func deleteBySource(ip netip.Addr, tuple int) error {
	req := nl.NewNetlinkRequest(netlink.ConntrackTable<<8|nl.IPCTNL_MSG_CT_DELETE, unix.NLM_F_ACK)
	req.AddData(&nl.Nfgenmsg{NfgenFamily: unix.AF_INET, Version: nl.NFNETLINK_V0})
	t := nl.NewRtAttr(unix.NLA_F_NESTED|tuple, nil)
	t.AddRtAttr(unix.NLA_F_NESTED|nl.CTA_TUPLE_IP, nil).AddRtAttr(nl.CTA_IP_V4_SRC, ip.AsSlice())
	req.AddData(t)
	orig, reply := uint32(ctaFilterSource), uint32(0)
	if tuple == nl.CTA_TUPLE_REPLY {
		orig, reply = reply, orig
	}
	f := nl.NewRtAttr(unix.NLA_F_NESTED|ctaFilter, nil)
	f.AddRtAttr(ctaFilterOrigFlags, binary.NativeEndian.AppendUint32(nil, orig))
	f.AddRtAttr(ctaFilterReplyFlags, binary.NativeEndian.AppendUint32(nil, reply))
	req.AddData(f)
	_, err := req.Execute(unix.NETLINK_NETFILTER, 0)
	return err
}
