package nat

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Connections are the host's tracked connections.
type Connections struct{}

// Forget removes the tracked connections that e makes stale: every one from or
// to its addresses, and those by its ports: what was translated by one before,
// and, since a datagram's flow that began untranslated stays so, the udp ones
// that reached the host itself. An endpoint that lives on is passed without
// its addresses, so that its other connections stay.
func (Connections) Forget(ctx context.Context, e Endpoint) error {
	for _, family := range []netlink.InetFamily{unix.AF_INET, unix.AF_INET6} {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("nat: forget connections: %w", err)
		}
		s := newStale(e, family == unix.AF_INET6)
		if s.empty() {
			continue
		}
		if err := s.addLocal(family); err != nil {
			return err
		}
		_, err := netlink.ConntrackDeleteFilters(netlink.ConntrackTable, family, s)
		if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
			return fmt.Errorf("nat: forget connections of endpoint %s: %w", e.ID, err)
		}
	}
	return nil
}

// stale matches the connections of one family that an endpoint makes stale.
type stale struct {
	addrs []netip.Addr
	ports map[hostPort][]netip.Addr // → host addresses, unspecified for all
	local map[netip.Addr]bool       // the host's
}

type hostPort struct {
	proto uint8
	port  uint16
}

func newStale(e Endpoint, v6 bool) *stale {
	s := &stale{ports: map[hostPort][]netip.Addr{}}
	for _, a := range []netip.Addr{e.IPv4, e.IPv6} {
		if a.IsValid() && a.Is6() == v6 {
			s.addrs = append(s.addrs, a)
		}
	}
	for _, p := range e.Ports {
		if p.HostPort != 0 && p.Target.Is6() == v6 {
			k := hostPort{p.Proto, p.HostPort}
			s.ports[k] = append(s.ports[k], p.Host())
		}
	}
	return s
}

func (s *stale) empty() bool { return len(s.addrs) == 0 && len(s.ports) == 0 }

// addLocal reads the host's addresses if a port is on all of them: a flow to
// another machine's port is not ours.
func (s *stale) addLocal(family netlink.InetFamily) error {
	if len(s.ports) == 0 {
		return nil
	}
	list, err := netlink.AddrList(nil, int(family))
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return fmt.Errorf("nat: list addresses: %w", err)
	}
	s.local = map[netip.Addr]bool{}
	for _, a := range list {
		if ip, ok := netip.AddrFromSlice(a.IP); ok {
			s.local[ip.Unmap()] = true
		}
	}
	return nil
}

// MatchConntrackFlow implements netlink.CustomConntrackFilter.
func (s *stale) MatchConntrackFlow(flow *netlink.ConntrackFlow) bool {
	if len(s.addrs) > 0 {
		for _, ip := range [][]byte{flow.Forward.SrcIP, flow.Forward.DstIP, flow.Reverse.SrcIP, flow.Reverse.DstIP} {
			if a, ok := netip.AddrFromSlice(ip); ok && slices.Contains(s.addrs, a.Unmap()) {
				return true
			}
		}
	}
	hosts, ok := s.ports[hostPort{flow.Forward.Protocol, flow.Forward.DstPort}]
	if !ok {
		return false
	}
	to, ok := netip.AddrFromSlice(flow.Forward.DstIP)
	if !ok {
		return false
	}
	to = to.Unmap()
	ours := func(h netip.Addr) bool {
		return h == to || h.IsUnspecified() && (s.local[to] || to.IsLoopback() && to.Is4())
	}
	if !slices.ContainsFunc(hosts, ours) {
		return false
	}
	translated := !flow.Reverse.SrcIP.Equal(flow.Forward.DstIP)
	return translated || flow.Forward.Protocol == unix.IPPROTO_UDP
}
