package ipam

import (
	"context"
	"fmt"
	"net/netip"

	"fairway/store"
)

// TakeHost gives out an address of a subnet for the host itself, which Docker
// hears nothing of: the first that is free, by the newest of the subnet's pools.
// It goes with that pool, or by Free. It is invalid if the subnet
// isn't from here, or its addresses come from DHCP servers.
func (a *Allocator) TakeHost(ctx context.Context, space string, prefix netip.Prefix) (netip.Addr, error) {
	a.mu.Lock()
	s := a.subnet(space, prefix)
	if s == nil || s.release() != nil {
		a.mu.Unlock()
		return netip.Addr{}, nil
	}
	var h *handle
	for _, o := range s.handles {
		if h == nil || o.Created.After(h.Created) {
			h = o
		}
	}
	if h.parent() != "" { // the addresses are a server's to give
		a.mu.Unlock()
		return netip.Addr{}, nil
	}
	now := a.now()
	a.expire(s, now)
	ip, err := h.pick(AddressSpec{Engine: h.Engine, Pool: h.ID}, nil)
	if err != nil {
		a.mu.Unlock()
		return netip.Addr{}, err
	}
	put, finish := a.write(s, store.Address{
		Space: s.space, Subnet: s.prefix, IP: ip, Engine: h.Engine, Pool: h.ID,
		Kind: store.KindHost, Created: now, Confirmed: true,
	})
	commit := a.store.Begin(append(a.sweep(4), put)...)
	a.mu.Unlock()
	if err := a.await(ctx, commit, finish); err != nil {
		return netip.Addr{}, fmt.Errorf("ipam: take address %s of pool %s: %w", ip, s.prefix, err)
	}
	return ip, nil
}
