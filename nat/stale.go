package nat

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// stale matches the connections of one family that stand in endpoints' way: by
// the addresses of an endpoint that has some, or else by its ports.
type stale struct {
	addrs map[netip.Addr]bool
	ports map[uint16][]Port   // host port → udp ports published there
	local map[netip.Addr]bool // the host's addresses
}

func newStale(all []Endpoint, v6 bool) *stale {
	s := &stale{addrs: map[netip.Addr]bool{}, ports: map[uint16][]Port{}}
	for _, e := range all {
		for _, a := range []netip.Addr{e.IPv4, e.IPv6} {
			if a.IsValid() && a.Is6() == v6 {
				s.addrs[a] = true
			}
		}
		if e.IPv4.IsValid() || e.IPv6.IsValid() {
			continue
		}
		for _, p := range e.Ports {
			if p.Proto == unix.IPPROTO_UDP && p.HostPort != 0 && p.Target.Is6() == v6 {
				s.ports[p.HostPort] = append(s.ports[p.HostPort], p)
			}
		}
	}
	return s
}

// addLocal reads the host's addresses: a flow to another machine's port is not
// ours.
func (s *stale) addLocal(family uint8) error {
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

func (s *stale) match(e entry) bool {
	answers := e.answers.Addr()
	if s.addrs[e.from.Addr()] || s.addrs[answers] {
		return true
	}
	if e.proto != unix.IPPROTO_UDP {
		return false
	}
	to := e.to.Addr()
	return slices.ContainsFunc(s.ports[e.to.Port()], func(p Port) bool {
		here := p.Host() == to || p.Host().IsUnspecified() && (s.local[to] || to.Is4() && to.IsLoopback())
		return here && answers != p.Target
	})
}
