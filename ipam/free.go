package ipam

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"fairway/store"
)

// ReleaseAddress takes back an address that was requested by that pool. It
// succeeds if the pool has no such address, or somebody else has it by now.
func (a *Allocator) ReleaseAddress(ctx context.Context, pool string, ip netip.Addr) error {
	ip = ip.Unmap()
	if a.isAlive(ctx, pool, ip) {
		return nil
	}
	h, err := a.lock(ctx, pool)
	if err != nil {
		return fmt.Errorf("ipam: release address %s: %w", ip, err)
	}
	if h == nil {
		a.mu.Unlock()
		return nil
	}
	l := h.subnet.entries[ip].now
	if l == nil || l.Pool != "" && l.Pool != h.ID || h.sharesGateway(l) {
		a.mu.Unlock()
		return nil
	}
	return a.release(ctx, h.subnet, l)
}

// isAlive reports whether an endpoint has an address of a pool.
func (a *Allocator) isAlive(ctx context.Context, pool string, ip netip.Addr) bool {
	if a.alive == nil {
		return false
	}
	a.mu.Lock()
	h := a.handles[pool]
	a.mu.Unlock()
	return h != nil && a.alive(ctx, h.Space, h.Subnet, ip)
}

// Free takes back addresses whatever pool they were requested by: those of an
// endpoint that is gone though Docker didn't release them. An address that was
// requested after the time before belongs to a newer endpoint and stays. It
// succeeds for those that aren't in use.
func (a *Allocator) Free(ctx context.Context, space string, subnet netip.Prefix, before time.Time, ips ...netip.Addr) error {
	for _, ip := range ips {
		a.mu.Lock()
		var l *lease
		s := a.subnet(space, subnet)
		if s != nil && !s.goes() {
			l = s.entries[ip].now
		}
		if l == nil || l.Pool != "" && l.Created.After(before) {
			a.mu.Unlock()
			continue
		}
		if err := a.release(ctx, s, l); err != nil {
			return err
		}
	}
	return nil
}

// release makes l a released address. It is called with the lock held and
// returns without.
func (a *Allocator) release(ctx context.Context, s *subnet, l *lease) error {
	if !l.inUse() && s.entries[l.IP].saved == l {
		a.mu.Unlock()
		return nil
	}
	commit, finish := a.beginFree(s, l)
	a.mu.Unlock()
	if err := a.await(ctx, commit, finish); err != nil {
		return fmt.Errorf("ipam: release address %s of pool %s: %w", l.IP, s.prefix, err)
	}
	return nil
}

// beginFree records l as released. An l that is already, but not yet durably so,
// is recorded once more: then this caller's answer is durable, too.
func (a *Allocator) beginFree(s *subnet, l *lease) (commit <-chan error, finish func(error)) {
	a.expire(s, a.now())
	put, finish := a.write(s, a.freed(l))
	changes := append(a.sweep(4), put)
	if s.leased() {
		changes = append(changes, store.DeleteLease(s.space, s.prefix, l.IP))
	}
	return a.store.Begin(changes...), finish
}

// freed returns the record of l as a released address, having given it back to the
// DHCP server that it came from, if one has given it.
func (a *Allocator) freed(l *lease) store.Address {
	if a.leases != nil {
		a.leases.Release(l.Space, l.Subnet, l.IP)
	}
	freed := l.Address
	freed.Confirmed = false
	if l.inUse() {
		freed.Released = a.now()
	}
	return freed
}
