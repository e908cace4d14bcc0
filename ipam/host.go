package ipam

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"fairway/store"
)

// TakeHost gives out an address of a subnet for the host itself, which Docker
// hears nothing of: the first that is free, by the newest of the subnet's pools.
// It goes with that pool, or by Free. It is invalid if the subnet
// isn't from here, or its addresses come from DHCP servers.
func (a *Allocator) TakeHost(ctx context.Context, space string, prefix netip.Prefix) (netip.Addr, error) {
	last := false
	for range mostShared {
		ip, h, err := a.takeHostOnce(ctx, space, prefix, last)
		if !errors.Is(err, errNone) {
			return ip, err
		}
		if err := a.segmentGateway(ctx, &AddressSpec{Pool: h.ID}); err != nil {
			return netip.Addr{}, err
		}
		if last, err = a.provide(ctx, h, AddressSpec{}, err); err != nil {
			return netip.Addr{}, err
		}
	}
	return netip.Addr{}, errors.New("ipam: take address: what other hosts give is gone at once")
}

// takeHostOnce is TakeHost of the addresses that this host has; errNone if another
// host has to give some first.
func (a *Allocator) takeHostOnce(ctx context.Context, space string, prefix netip.Prefix, last bool) (netip.Addr, *handle, error) {
	a.mu.Lock()
	s := a.subnet(space, prefix)
	if s == nil || s.release() != nil {
		a.mu.Unlock()
		return netip.Addr{}, nil, nil
	}
	var h *handle
	for _, o := range s.handles {
		if h == nil || o.Created.After(h.Created) {
			h = o
		}
	}
	if h.parent() != "" { // the addresses are a server's to give
		a.mu.Unlock()
		return netip.Addr{}, nil, nil
	}
	now := a.now()
	a.expire(s, now)
	ip, err := h.pick(AddressSpec{Engine: h.Engine, Pool: h.ID}, nil, last)
	if err != nil {
		a.mu.Unlock()
		return netip.Addr{}, h, err
	}
	put, finish := a.write(s, store.Address{
		Space: s.space, Subnet: s.prefix, IP: ip, Engine: h.Engine, Pool: h.ID,
		Kind: store.KindHost, Created: now, Confirmed: true,
	})
	commit := a.store.Begin(append(a.sweep(4), put)...)
	a.mu.Unlock()
	if err := a.await(ctx, commit, finish); err != nil {
		return netip.Addr{}, h, fmt.Errorf("ipam: take address %s of pool %s: %w", ip, s.prefix, err)
	}
	return ip, h, nil
}
