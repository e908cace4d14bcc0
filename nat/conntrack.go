package nat

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Connections are the host's tracked connections.
type Connections struct{}

// Forget removes the tracked connections that stand in the way of endpoints, in
// one pass for all of them.
//
// With its addresses, an endpoint is gone or published no more: every connection
// from or to them goes, published ones among them. Without addresses, its ports
// have just been published: a flow of datagrams to one that began before, to the
// host itself or to another container, would go on as it began (moby#53384),
// and goes. It costs nothing where there is nothing to look for.
func (Connections) Forget(ctx context.Context, all ...Endpoint) error {
	tracked, err := countTracked()
	if err != nil || tracked == 0 || len(all) == 0 {
		return err
	}
	for _, family := range trackedFamilies() {
		if err := newStale(all, family == unix.AF_INET6).forget(ctx, family, tracked); err != nil {
			return fmt.Errorf("nat: forget connections of %d endpoints: %w", len(all), err)
		}
	}
	return nil
}

// countTracked returns how many connections there are; one where that isn't told.
func countTracked() (int, error) {
	text, err := os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_count")
	if errors.Is(err, fs.ErrNotExist) {
		return 1, nil
	}
	if err != nil {
		return 0, fmt.Errorf("nat: %w", err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("nat: count connections: %w", err)
	}
	return n, nil
}

func trackedFamilies() []uint8 { return []uint8{unix.AF_INET, unix.AF_INET6} }

// few is up to how many addresses the kernel looks for, twice each through the
// whole table, in less time than all of it is read once (docs/benchmarks.md).
func few(tracked int) int {
	if tracked < 10000 { // to read takes its time even where there is little
		return 8
	}
	return 2
}

// forget has the kernel itself look for a few IPv4 addresses. Kernels before 6.8
// can't; they refuse the message, and the table is read. So it is for IPv6,
// since there the kernel, up to 6.18 at least, takes every address for the one
// that is not meant (measured: net/netfilter/nf_conntrack_netlink.c compares
// with !ipv6_addr_cmp).
func (s *stale) forget(ctx context.Context, family uint8, tracked int) error {
	if len(s.ports) > 0 {
		if err := s.addLocal(family); err != nil {
			return err
		}
	}
	switch {
	case len(s.addrs)+len(s.ports) == 0:
		return nil
	case len(s.addrs) == 0:
		return deleteMatching(ctx, family, unix.IPPROTO_UDP, s.match)
	case len(s.ports) > 0 || len(s.addrs) > few(tracked) || family == unix.AF_INET6:
		return deleteMatching(ctx, family, 0, s.match)
	}
	for a := range s.addrs {
		for _, tuple := range []int{nl.CTA_TUPLE_ORIG, nl.CTA_TUPLE_REPLY} {
			if err := ctx.Err(); err != nil {
				return err
			}
			err := deleteBySource(a, tuple)
			if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
				return deleteMatching(ctx, family, 0, s.match)
			}
			if err != nil && !errors.Is(err, unix.ENOENT) {
				return err
			}
		}
	}
	return nil
}

// deleteMatching reads the table, or what is of one protocol, and removes what
// matches.
func deleteMatching(ctx context.Context, family, proto uint8, match func(entry) bool) error {
	var keys [][]byte
	err := eachEntry(ctx, family, proto, func(e entry) {
		if match(e) {
			keys = append(keys, e.key())
		}
	})
	if err != nil {
		return err
	}
	return deleteEntries(family, keys)
}

// deleteBySource removes the IPv4 connections whose packets in one direction, that
// of a tuple, come from ip: those that it began (original), and those to it,
// translated or not (reply).
func deleteBySource(ip netip.Addr, tuple int) error {
	req := conntrackRequest(nl.IPCTNL_MSG_CT_DELETE, unix.AF_INET, unix.NLM_F_ACK)
	t := nl.NewRtAttr(unix.NLA_F_NESTED|tuple, nil)
	t.AddRtAttr(unix.NLA_F_NESTED|nl.CTA_TUPLE_IP, nil).AddRtAttr(nl.CTA_IP_V4_SRC, ip.AsSlice())
	req.AddData(t)
	orig, reply := uint32(ctaFilterSource), uint32(0)
	if tuple == nl.CTA_TUPLE_REPLY {
		orig, reply = reply, orig
	}
	req.AddData(filterBy(orig, reply))
	_, err := req.Execute(unix.NETLINK_NETFILTER, 0)
	return err
}
