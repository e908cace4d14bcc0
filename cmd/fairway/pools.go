package main

import (
	"context"
	"net"
	"net/netip"

	"fairway/dhcp"
	"fairway/driver"
	"fairway/ipam"
	"fairway/link"
)

// makePools makes what gives addresses: the allocator, with the DHCP servers'
// leases and the cluster's shares.
func (a *assembly) makePools(context.Context) (err error) {
	instance := a.records.Instance()
	a.leases = dhcp.New(dhcp.Options{Store: a.records, Instance: instance, Log: a.log}, a.all)
	a.overlays, err = newOverlays(a.config, a.records, a.all, a.kernel, a.log, a.step)
	if err != nil {
		return err
	}
	a.pools, err = ipam.New(ipam.Options{
		Store: a.records, Pools: a.config.pools(), Instance: instance, Leases: a.leases, Segments: a.overlays.segments(), Log: a.log,
		HostSubnets: func(ctx context.Context) ([]netip.Prefix, error) { return takenSubnets(ctx, a.kernel, a.driver) },
		Stale: func(ctx context.Context, space string, subnet netip.Prefix, ip netip.Addr) bool {
			return a.driver.Abandoned(ctx, space, subnet, ip)
		},
		Alive: func(ctx context.Context, space string, subnet netip.Prefix, ip netip.Addr) bool {
			return a.driver.Alive(ctx, space, subnet, ip)
		},
		Taken: func(ctx context.Context, space string, subnet netip.Prefix, ip netip.Addr, mac net.HardwareAddr) string {
			return a.driver.TakenOnLAN(ctx, space, subnet, ip, mac)
		},
	}, a.all)
	return err
}

// takenSubnets returns the subnets that automatic pools keep clear of: those of
// the host's routes, and those of fairway's networks, whoever their IPAM is.
func takenSubnets(ctx context.Context, kernel *link.Conn, d *driver.Driver) ([]netip.Prefix, error) {
	taken, err := kernel.Subnets(ctx)
	for _, n := range d.Networks() {
		for _, s := range n.Subnets {
			if s.Prefix.Bits() > 0 {
				taken = append(taken, s.Prefix)
			}
		}
	}
	return taken, err
}

// pools returns the default address pools in ipam's form; nil for its own.
func (c config) pools() (out []ipam.DefaultPool) {
	for _, p := range c.DefaultPools {
		out = append(out, ipam.DefaultPool{Base: p.Base, Size: p.Size})
	}
	return out
}
