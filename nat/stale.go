package nat

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// stale matches the connections of one family that stand in an endpoint's way:
// by its addresses, or else by its ports.
type stale struct {
	addrs []netip.Addr
	ports map[uint16][]Port   // host port → udp ports published there
	local map[netip.Addr]bool // the host's addresses
}

func newStale(e Endpoint, v6 bool) *stale {
	s := &stale{ports: map[uint16][]Port{}}
	for _, a := range []netip.Addr{e.IPv4, e.IPv6} {
		if a.IsValid() && a.Is6() == v6 {
			s.addrs = append(s.addrs, a)
		}
	}
	if e.IPv4.IsValid() || e.IPv6.IsValid() {
		return s
	}
	for _, p := range e.Ports {
		if p.Proto == unix.IPPROTO_UDP && p.HostPort != 0 && p.Target.Is6() == v6 {
			s.ports[p.HostPort] = append(s.ports[p.HostPort], p)
		}
	}
	return s
}

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
	began, answers := address(flow.Forward.SrcIP), address(flow.Reverse.SrcIP)
	if len(s.addrs) > 0 {
		return slices.Contains(s.addrs, began) || slices.Contains(s.addrs, answers)
	}
	if flow.Forward.Protocol != unix.IPPROTO_UDP {
		return false
	}
	to := address(flow.Forward.DstIP)
	return slices.ContainsFunc(s.ports[flow.Forward.DstPort], func(p Port) bool {
		here := p.Host() == to || p.Host().IsUnspecified() && (s.local[to] || to.Is4() && to.IsLoopback())
		return here && answers != p.Target
	})
}

// address returns an address as the library gives it; invalid if it is none.
func address(b []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(b)
	return a.Unmap()
}
