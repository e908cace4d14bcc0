package driver

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"fairway/store"
)

// learn returns what the LAN says how an endpoint is to be configured, if its
// addresses come from DHCP servers (options 3, 26 and 121). What can't be
// configured is left out, so that a server's mistake keeps no container down.
func (d *Driver) learn(ctx context.Context, n network, e store.Endpoint) (l store.Learned) {
	for _, s := range n.Subnets {
		for _, p := range []netip.Prefix{e.IPv4, e.IPv6} {
			if !p.IsValid() || !s.Prefix.Contains(p.Addr()) {
				continue
			}
			lease, ok := d.opts.Pools.Lease(s.Space, s.Prefix, p.Addr())
			if !ok {
				continue
			}
			gateway, routes := routesOf(lease, p)
			if gateway.IsValid() {
				l.Gateways = append(l.Gateways, gateway)
			}
			l.Routes = append(l.Routes, routes...)
			if n.onParent() && lease.MTU != 0 {
				if info, err := d.opts.Kernel.Link(ctx, n.Namespace, n.Link); err == nil && lease.MTU <= info.MTU {
					l.MTU = lease.MTU
				}
			}
		}
	}
	return l
}

// routesOf returns what a lease says of routes by next hops in the prefix p.
// Classless routes take the place of the routers: RFC 3442.
func routesOf(l store.Lease, p netip.Prefix) (gateway netip.Addr, routes []store.Route) {
	reached := func(hop netip.Addr) bool { return hop != p.Addr() && p.Contains(hop) }
	if len(l.Routes) == 0 {
		for _, r := range l.Routers {
			if reached(r) {
				return r, nil
			}
		}
		return gateway, nil
	}
	for _, r := range l.Routes {
		switch {
		case r.NextHop.IsValid() && !reached(r.NextHop):
		case r.Destination.Bits() > 0:
			routes = append(routes, r)
		case r.NextHop.IsValid() && !gateway.IsValid():
			gateway = r.NextHop
		}
	}
	return gateway, routes
}

// checkSource refuses a network whose addresses come from the servers of a LAN
// that it isn't on.
func (d *Driver) checkSource(n network) error {
	for _, s := range n.Subnets {
		parents := d.opts.Pools.Parents(s.Space, s.Prefix)
		if len(parents) == 0 {
			continue
		}
		parent := parents[0]
		switch {
		case slices.Contains(parents, n.Link):
		case n.onParent():
			return fmt.Errorf("ipam option parent=%q: the network's own parent is %s; want the same", parent, n.Link)
		case !n.Adopted:
			return fmt.Errorf("ipam option parent=%q: the network isn't on that LAN; want -o mode=macvlan -o parent=%[1]s, or the host's bridge that the LAN is plugged into as -o com.docker.network.bridge.name", parent)
		}
		if on := n.segment(store.Endpoint{Network: n.ID}); on.VLAN != 0 {
			return fmt.Errorf("source=dhcp: not with vlan=%d: the daemon asks by %s itself, which need not be in that VLAN", on.VLAN, on.Link)
		}
		if s.Prefix.Bits() == 0 && !n.onParent() {
			return fmt.Errorf("source=dhcp: want a subnet in mode %s", n.Mode)
		}
	}
	return nil
}
