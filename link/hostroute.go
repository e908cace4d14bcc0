package link

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A HostRoute is the host's way to one address behind a Shim: a route in the
// main table.
type HostRoute struct {
	Namespace string
	Link      string
	IP        netip.Addr
}

// RouteProtocol marks routes as ours (rtm_protocol; see rtnetlink(7)).
const RouteProtocol = 102

// Key implements Object.
func (r HostRoute) Key() Key { return Key{r.Namespace, "route", r.Link + " " + r.IP.String()} }

func (r HostRoute) String() string { return "route to " + r.IP.String() + " by " + r.Link }

// A routeAt is a route of ours to an address by the link of an index.
type routeAt struct {
	link int
	ip   netip.Addr
}

func hostRouteRequest(kind, flags, index int, ip netip.Addr) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(kind, flags)
	msg := nl.NewRtMsg()
	msg.Family, msg.Dst_len, msg.Protocol = uint8(family(ip)), uint8(ip.BitLen()), RouteProtocol
	if ip.Is4() {
		msg.Scope = unix.RT_SCOPE_LINK
	}
	req.AddData(msg)
	req.AddData(attr(unix.RTA_DST, ip.AsSlice()))
	req.AddData(attr(unix.RTA_OIF, u32(index)))
	return req
}

// hostRoute makes a route that is not there. One by another link is somebody
// else's: unix.EEXIST.
func (a *attempt) hostRoute(s *space, r HostRoute) error {
	if err := a.flush(s); err != nil { // its link comes first
		return err
	}
	index, err := s.index(r.Link)
	if err != nil {
		return err
	}
	a.later(r, hostRouteRequest(unix.RTM_NEWROUTE, exclusive, index, r.IP), func(err error) error {
		if errors.Is(err, unix.EEXIST) {
			have, listErr := s.hostRoutes()
			if listErr == nil && have[routeAt{index, r.IP}] {
				return nil
			}
			return errors.Join(err, listErr)
		}
		if err == nil {
			a.made = append(a.made, r)
		}
		return err
	})
	return nil
}

func (c *Conn) removeHostRoute(s *space, r HostRoute) error {
	index, err := s.index(r.Link)
	if errors.Is(err, unix.ENODEV) {
		return nil // gone with its link
	}
	if err != nil {
		return err
	}
	c.opts.Step("link.remove route")
	_, err = s.fast.one(hostRouteRequest(unix.RTM_DELROUTE, 0, index, r.IP))
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}

// hostRoutes reads the routes of ours in the main tables.
func (s *space) hostRoutes() (map[routeAt]bool, error) {
	out := map[routeAt]bool{}
	filter := &netlink.Route{Table: unix.RT_TABLE_MAIN, Protocol: RouteProtocol}
	err := undisturbed(func() error {
		clear(out)
		for _, f := range []int{unix.AF_INET, unix.AF_INET6} {
			routes, err := s.dumps.RouteListFiltered(f, filter, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_PROTOCOL)
			if err != nil {
				return err
			}
			for _, r := range routes {
				if p, ok := prefixOf(r.Dst); ok && p.IsSingleIP() {
					out[routeAt{outOf(r), p.Addr()}] = true
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	return out, nil
}

// hostRoute is what is missing of a way to a container. With its shim, it waits
// for the parent.
func (p *planner) hostRoute(r HostRoute) {
	l, ok := p.byName[r.Link]
	switch {
	case p.waits[r.Link]:
	case !ok:
		p.make(r, "was missing with its link")
	case !p.routes[routeAt{l.index, r.IP}]:
		p.make(r, "was missing")
	}
}

// orphanRoutes removes routes of ours by wanted shims that nobody wants:
// endpoints leave them behind in a crash.
func (p *planner) orphanRoutes() {
	names, wanted := map[int]string{}, map[routeAt]bool{}
	for _, o := range p.want {
		switch o := o.(type) {
		case Shim:
			if l, ok := p.byName[o.Name]; ok {
				names[l.index] = o.Name
			}
		case HostRoute:
			wanted[routeAt{p.byName[o.Link].index, o.IP}] = true
		}
	}
	var orphans []routeAt
	for r := range p.routes {
		if names[r.link] != "" && !wanted[r] {
			orphans = append(orphans, r)
		}
	}
	slices.SortFunc(orphans, func(a, b routeAt) int { return cmp.Or(a.link-b.link, a.ip.Compare(b.ip)) })
	for _, r := range orphans {
		p.remove(HostRoute{p.namespace, names[r.link], r.ip}, "belonged to nothing")
	}
}
