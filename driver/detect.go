package driver

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"time"

	"fairway/event"
	"fairway/link"
	"fairway/store"
)

// remembered is how long an address counts as this host's after it was seen to
// be: nobody else of the LAN is asked for it.
const remembered = time.Hour

// A holding is an address on a segment.
type holding struct {
	on link.Segment
	ip netip.Addr
}

// A detecting View is of a network on a LAN where others may have the addresses
// that it is to give out.
type detecting interface {
	// Detection returns the segment that e's addresses are on; ok is false where
	// nobody is to be asked.
	Detection(e store.Endpoint) (on link.Segment, ok bool)
}

func (n network) detection(e store.Endpoint) (link.Segment, bool) {
	if v, ok := n.view.(detecting); ok {
		return v.Detection(e)
	}
	return link.Segment{}, false
}

// vacant refuses an endpoint one of whose addresses somebody else has on its
// LAN: duplicate address detection (RFC 5227, RFC 4862). Addresses that this host
// had within the last hour aren't asked for, nor those that the allocator asked
// for just now.
func (d *Driver) vacant(ctx context.Context, n network, e store.Endpoint) error {
	on, ok := n.detection(e)
	if !ok {
		return nil
	}
	mac, ips := told(e)
	ip, holder := d.ask(ctx, n, on, mac, ips)
	if holder == "" {
		return nil
	}
	return fmt.Errorf("address %s: %s has it on the LAN of %s: give another one, or say dad=off", ip, holder, n.Link)
}

// TakenOnLAN returns who has an address of a pool on the LAN of a network that is
// on the pool, before it is given out; "" for nobody. Mac is that of who is to get
// it; nil for unknown.
func (d *Driver) TakenOnLAN(ctx context.Context, space string, subnet netip.Prefix, ip netip.Addr, mac net.HardwareAddr) string {
	for _, n := range d.sortedNetworks() {
		on, ok := n.detection(store.Endpoint{Network: n.ID})
		if !ok || !slices.ContainsFunc(n.Subnets, func(s store.Subnet) bool { return s.Space == space && s.Prefix == subnet }) {
			continue
		}
		h, err := d.lock.take(ctx) // no repair takes the probe's links for leftovers
		if err != nil {
			return ""
		}
		_, holder := d.ask(ctx, n, on, mac, []netip.Addr{ip})
		h.release()
		if holder != "" {
			d.event(event.AddressTaken, n).WithField("address", ip).WithField("holder", holder).
				Warn("address skipped: somebody else has it on the LAN")
			return holder
		}
	}
	return ""
}

// ask asks a segment for those of the addresses that this host didn't have within
// the last hour. If that can't be done, that is logged and nobody has them. Other
// networks of this host are known to be there: links on one parent don't hear
// what the host sends by it.
func (d *Driver) ask(ctx context.Context, n network, on link.Segment, mac net.HardwareAddr, ips []netip.Addr) (netip.Addr, string) {
	for _, ip := range ips {
		if e, ok := d.beside(n, on, ip); ok {
			return ip, d.holderEndpoint(e)
		}
	}
	d.mu.Lock()
	unknown := slices.DeleteFunc(slices.Clone(ips), func(ip netip.Addr) bool {
		return time.Since(d.had[holding{on, ip}]) < remembered
	})
	d.mu.Unlock()
	if len(unknown) == 0 {
		return netip.Addr{}, ""
	}
	if info, err := d.opts.Kernel.Link(ctx, on.Namespace, on.Link); err == nil && on.VLAN == 0 {
		for _, p := range info.Addresses { // the host doesn't hear its own questions
			if slices.Contains(unknown, p.Addr()) {
				return p.Addr(), "this host"
			}
		}
	}
	ip, holder, err := d.opts.Kernel.Probe(ctx, on, mac, unknown...)
	if err != nil {
		d.log.WithField("network", n.title()).WithError(err).Warn("nobody could be asked whether an address is taken")
		return netip.Addr{}, ""
	}
	if holder == nil {
		d.remembers(on, unknown...)
		return netip.Addr{}, ""
	}
	return ip, holder.String()
}

// beside returns which endpoint of another network has an address on a segment.
func (d *Driver) beside(n network, on link.Segment, ip netip.Addr) (store.Endpoint, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, o := range d.networks {
		e, has := d.endpoints[d.claims[claim{id, ip}]]
		if id == n.ID || !has {
			continue
		}
		if s, ok := o.detection(e); ok && s == on {
			return e, true
		}
	}
	return store.Endpoint{}, false
}

// remembers notes that this host has or had addresses.
func (d *Driver) remembers(on link.Segment, ips ...netip.Addr) {
	const many = 4096 // of them that are kept without a look at their age
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.had) > many {
		maps.DeleteFunc(d.had, func(_ holding, at time.Time) bool { return now.Sub(at) >= remembered })
	}
	for _, ip := range ips {
		d.had[holding{on, ip}] = now
	}
}

// hadBy notes that this host had the addresses of e up to now.
func (d *Driver) hadBy(n network, e store.Endpoint) {
	if on, ok := n.detection(e); ok {
		_, ips := told(e)
		d.remembers(on, ips...)
	}
}
