package main

import (
	"context"
	"net/netip"
	"time"

	"github.com/sirupsen/logrus"

	"fairway/dhcp"
	"fairway/driver"
	"fairway/engine"
	"fairway/ipam"
)

// observe hands what an engine knows to those who keep records for it.
func observe(d *driver.Driver, o *overlays, pools *ipam.Allocator, leases *dhcp.Client, log logrus.FieldLogger) func(context.Context, engine.View) {
	return func(ctx context.Context, v engine.View) {
		o.docker.set(v.Version)
		d.Observe(ctx, known(v))
		nameLeases(d, leases)
		subnets, complete := v.Pools()
		if !complete {
			return // what isn't named may be in use
		}
		own := ipam.Known{Engine: v.Engine}
		for _, p := range subnets {
			used := p.Addresses
			for _, e := range d.Endpoints() {
				for _, ip := range []netip.Prefix{e.IPv4, e.IPv6} {
					if ip.IsValid() && p.Subnet.Contains(ip.Addr()) {
						used = append(used, ip.Addr())
					}
				}
			}
			own.Pools = append(own.Pools, ipam.KnownPool{Subnet: p.Subnet, Addresses: used})
		}
		if _, err := pools.Collect(ctx, own); err != nil {
			log.Warn(err)
		}
	}
}

// nameLeases tells DHCP servers the containers' names that are known by now.
func nameLeases(d *driver.Driver, leases *dhcp.Client) {
	type client struct {
		mac string
		ip  netip.Addr
	}
	names := map[client]string{}
	for _, e := range d.Endpoints() {
		names[client{e.MAC, e.IPv4.Addr()}] = e.Container
		names[client{e.MAC, e.IPv6.Addr()}] = e.Container
	}
	leases.Name(func(mac string, ip netip.Addr) string { return names[client{mac, ip}] })
}

// known returns the part of a view that is the driver's.
func known(v engine.View) driver.Known {
	out := driver.Known{Engine: v.Engine, Networks: map[string]driver.KnownNetwork{}, Containers: v.Containers}
	for id, n := range v.Networks {
		if !n.Driver {
			continue
		}
		k := driver.KnownNetwork{Name: n.Name, Containers: map[string]driver.Container{}}
		for endpoint, e := range n.Endpoints {
			k.Containers[endpoint] = driver.Container{ID: e.ContainerID, Name: e.Name, Names: e.Names}
		}
		out.Networks[id] = k
	}
	return out
}

// reclaim gives addresses back that were requested and never used, from time to
// time.
func reclaim(pools *ipam.Allocator, log logrus.FieldLogger) func(context.Context) error {
	return func(ctx context.Context) error {
		every := time.NewTicker(time.Minute)
		defer every.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-every.C:
				if _, err := pools.Reclaim(ctx); err != nil {
					log.Warn(err)
				}
			}
		}
	}
}
