package nat

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// stale matches the connections of one family that an endpoint makes stale.
type stale struct {
	addrs []netip.Addr
	ports map[protoPort][]netip.Addr // → host addresses, unspecified for all
	local map[netip.Addr]bool        // the host's
}

func newStale(e Endpoint, v6 bool) *stale {
	s := &stale{ports: map[protoPort][]netip.Addr{}}
	for _, a := range []netip.Addr{e.IPv4, e.IPv6} {
		if a.IsValid() && a.Is6() == v6 {
			s.addrs = append(s.addrs, a)
		}
	}
	for _, p := range e.Ports {
		if p.HostPort == 0 || p.Target.Is6() != v6 {
			continue
		}
		if len(s.addrs) > 0 && p.Proto != unix.IPPROTO_UDP {
			continue // translated to one of the addresses, or never
		}
		k := protoPort{p.Proto, p.HostPort}
		s.ports[k] = append(s.ports[k], p.Host())
	}
	return s
}

// addrsOnly matches just by addresses.
func (s *stale) addrsOnly() *stale { return &stale{addrs: s.addrs} }

// addLocal reads the host's addresses: a flow to another machine's port is not
// ours.
func (s *stale) addLocal(family netlink.InetFamily) error {
	list, err := netlink.AddrList(nil, int(family))
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return fmt.Errorf("list addresses: %w", err)
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
	return s.byAddr(flow) || s.byPort(flow)
}

func (s *stale) byAddr(flow *netlink.ConntrackFlow) bool {
	if len(s.addrs) == 0 {
		return false
	}
	for _, ip := range [][]byte{flow.Forward.SrcIP, flow.Reverse.SrcIP} {
		if a, ok := netip.AddrFromSlice(ip); ok && slices.Contains(s.addrs, a.Unmap()) {
			return true
		}
	}
	return false
}

func (s *stale) byPort(flow *netlink.ConntrackFlow) bool {
	hosts, ok := s.ports[protoPort{flow.Forward.Protocol, flow.Forward.DstPort}]
	if !ok {
		return false
	}
	to, ok := netip.AddrFromSlice(flow.Forward.DstIP)
	if !ok {
		return false
	}
	to = to.Unmap()
	if !slices.ContainsFunc(hosts, func(h netip.Addr) bool {
		return h == to || h.IsUnspecified() && (s.local[to] || to.Is4() && to.IsLoopback())
	}) {
		return false
	}
	translated := !flow.Reverse.SrcIP.Equal(flow.Forward.DstIP)
	return translated || flow.Forward.Protocol == unix.IPPROTO_UDP
}
