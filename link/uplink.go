package link

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// defaultMTU is Ethernet's, for a host without a way to the outside; bytes.
const defaultMTU = 1500

// UplinkMTU returns the MTU of the route by which the host reaches the outside,
// in bytes: that of its default route with the lowest metric, IPv4 before IPv6,
// or of the link that the route leaves by. Without any it is 1500.
func (c *Conn) UplinkMTU(context.Context) (int, error) {
	for _, f := range []int{unix.AF_INET, unix.AF_INET6} {
		routes, err := c.own.routes(f)
		if err != nil {
			return 0, fmt.Errorf("link: %w", err)
		}
		routes = slices.DeleteFunc(routes, func(r netlink.Route) bool {
			return !isDefault(r) || r.Table != unix.RT_TABLE_MAIN || r.Type != unix.RTN_UNICAST || outOf(r) == 0
		})
		if len(routes) == 0 {
			continue
		}
		best := slices.MinFunc(routes, func(a, b netlink.Route) int { return cmp.Compare(a.Priority, b.Priority) })
		links, err := c.own.links()
		if err != nil {
			return 0, fmt.Errorf("link: %w", err)
		}
		for _, l := range links {
			if l.index != outOf(best) {
				continue
			}
			if best.MTU > 0 && best.MTU < l.mtu {
				return best.MTU, nil
			}
			return l.mtu, nil
		}
	}
	return defaultMTU, nil
}

// AddressMTU returns the MTU in bytes of the host's link that has an address;
// unix.EADDRNOTAVAIL if none has it.
func (c *Conn) AddressMTU(_ context.Context, ip netip.Addr) (int, error) {
	all, err := c.own.addresses()
	if err != nil {
		return 0, fmt.Errorf("link: %w", err)
	}
	links, err := c.own.links()
	if err != nil {
		return 0, fmt.Errorf("link: %w", err)
	}
	for at := range all {
		i := slices.IndexFunc(links, func(l linkState) bool { return l.index == at.link })
		if at.prefix.Addr() == ip && i >= 0 {
			return links[i].mtu, nil
		}
	}
	return 0, fmt.Errorf("link: address %s: %w", ip, unix.EADDRNOTAVAIL)
}

// outOf returns the index of the link that a route leaves by, the first of
// several; 0 for none.
func outOf(r netlink.Route) int {
	if r.LinkIndex == 0 && len(r.MultiPath) > 0 {
		return r.MultiPath[0].LinkIndex
	}
	return r.LinkIndex
}

// Subnets returns what the host reaches by a route or has an address in, but
// for its default routes, loopback, multicast, link-local addresses, and what
// is on links of this instance: subnets that a new network must keep clear of.
func (c *Conn) Subnets(context.Context) ([]netip.Prefix, error) {
	links, err := c.own.links()
	if err != nil {
		return nil, fmt.Errorf("link: %w", err)
	}
	own := map[int]bool{}
	for _, l := range links {
		own[l.index] = c.ours(l)
	}
	found := map[netip.Prefix]bool{}
	add := func(link int, p netip.Prefix) {
		a := p.Addr()
		if p.Bits() > 0 && !own[link] && !a.IsLoopback() && !a.IsLinkLocalUnicast() && !a.IsMulticast() {
			found[p.Masked()] = true
		}
	}
	addresses, err := c.own.addresses()
	if err != nil {
		return nil, fmt.Errorf("link: %w", err)
	}
	for at := range addresses {
		add(at.link, at.prefix)
	}
	for _, f := range []int{unix.AF_INET, unix.AF_INET6} {
		routes, err := c.own.routes(f)
		if err != nil {
			return nil, fmt.Errorf("link: %w", err)
		}
		for _, r := range routes {
			if p, ok := prefixOf(r.Dst); ok && r.Table != unix.RT_TABLE_LOCAL {
				add(outOf(r), p)
			}
		}
	}
	out := make([]netip.Prefix, 0, len(found))
	for p := range found {
		out = append(out, p)
	}
	slices.SortFunc(out, netip.Prefix.Compare)
	return out, nil
}

// routes reads the routes of a family, of all tables.
func (s *space) routes(family int) (out []netlink.Route, err error) {
	err = undisturbed(func() error {
		out, err = s.dumps.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	return out, nil
}

func isDefault(r netlink.Route) bool {
	p, ok := prefixOf(r.Dst)
	return !ok || p.Bits() == 0
}
