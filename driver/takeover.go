package driver

import (
	"context"
	"net/netip"

	"fairway/event"
	"fairway/store"
)

// takeOverSubnets removes networks that overlap n and that Docker has given up:
// it gives a network's pools back before it calls DeleteNetwork, and that call may
// get lost (this daemon was away, or dockerd was killed). One with a living
// endpoint stays. The caller holds the world shared.
//
// For Docker's own IPAM driver nothing tells that a network was given up but the
// engine's word, some time later: see Observe. That the new one has got its subnet
// says nothing, since it gives one subnet to several networks.
func (d *Driver) takeOverSubnets(ctx context.Context, n store.Network) error {
	for _, o := range d.sortedNetworks() {
		if _, _, overlaps := overlap(o.Network, n); o.ID == n.ID || !overlaps || !d.givenUp(ctx, o) {
			continue
		}
		h, err := d.lock.alone(ctx, "network "+o.ID)
		if err != nil {
			return err
		}
		if o, ok := d.network(o.ID); ok && d.givenUp(ctx, o) { // still
			d.event(event.Stale, o).Warn("stale network removed: its subnet was given to another")
			err = d.removeNetwork(ctx, o)
		}
		h.release()
		if err != nil {
			return err
		}
	}
	return nil
}

// givenUp reports whether Docker has given back a pool of n, and no endpoint on it
// lives.
func (d *Driver) givenUp(ctx context.Context, n network) bool {
	for _, e := range d.endpointsOf(n.ID) {
		if d.attached(ctx, n, e) {
			return false
		}
	}
	for _, s := range n.Subnets {
		if d.opts.Pools.Released(s.Space, s.Prefix, n.Created) {
			return true
		}
	}
	return false
}

// overlap returns subnets of a and b that have addresses in common, if there are
// any.
func overlap(a, b store.Network) (ofA, ofB netip.Prefix, ok bool) {
	for _, p := range a.Subnets {
		for _, q := range b.Subnets {
			if p.Prefix.Bits() > 0 && q.Prefix.Bits() > 0 && p.Prefix.Overlaps(q.Prefix) {
				return p.Prefix, q.Prefix, true
			}
		}
	}
	return ofA, ofB, false
}
