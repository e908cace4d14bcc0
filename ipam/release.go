package ipam

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"fairway/store"
)

// ReleasePool takes back a pool, and with a subnet's last one all that is left
// of its addresses. It succeeds if there is no such pool.
func (a *Allocator) ReleasePool(ctx context.Context, id string) error {
	h, err := a.lock(ctx, id)
	if err != nil {
		return fmt.Errorf("ipam: release pool %s: %w", id, err)
	}
	for h != nil && h.subnet.release() != nil { // of another handle on the subnet: one after the other
		r := h.subnet.release()
		a.mu.Unlock()
		if err := r.wait(ctx); err != nil {
			return fmt.Errorf("ipam: release pool %s: %w", h.Subnet, err)
		}
		if h, err = a.lock(ctx, id); err != nil {
			return fmt.Errorf("ipam: release pool %s: %w", id, err)
		}
	}
	if h == nil {
		a.mu.Unlock()
		return nil
	}
	commit, finish := a.beginRelease(h)
	a.mu.Unlock()
	if err := a.await(ctx, commit, finish); err != nil {
		return fmt.Errorf("ipam: release pool %s: %w", h.Subnet, err)
	}
	return nil
}

// Released reports whether Docker has given back, or was found not to know, every
// pool of a subnet that it was given before a time. Of a pool that isn't from
// here nothing is known, and it is false.
func (a *Allocator) Released(space string, subnet netip.Prefix, before time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := a.spaces[space]
	if all == nil {
		return false
	}
	s := all.by[subnet]
	if s == nil {
		return true
	}
	for _, h := range s.handles {
		if h.Confirmed || !h.Created.After(before) {
			return false
		}
	}
	return true
}

// A release is the removal of a handle while its commit is under way. The handle
// stays until then, but isn't used any more.
type release struct{ done chan struct{} }

// wait waits until the commit is done, whatever its outcome.
func (r *release) wait(ctx context.Context) error {
	select {
	case <-r.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// lock takes the lock and returns the handle of that ID, nil if there is none.
// The outcome of a release that is under way is waited for.
func (a *Allocator) lock(ctx context.Context, id string) (*handle, error) {
	for {
		a.mu.Lock()
		h := a.handles[id]
		if h == nil || h.leaving == nil {
			return h, nil
		}
		r := h.leaving
		a.mu.Unlock()
		if err := r.wait(ctx); err != nil {
			return nil, err
		}
	}
}

// release returns the release of one of s's handles that is under way, nil if
// there is none. There is never more than one.
func (s *subnet) release() *release {
	for _, h := range s.handles {
		if h.leaving != nil {
			return h.leaving
		}
	}
	return nil
}

// goes reports whether s goes with the handle that is being released.
func (s *subnet) goes() bool { return len(s.handles) == 1 && s.release() != nil }

// beginRelease removes h. With its subnet's last handle all records of the
// subnet's addresses go, with another one those addresses that h requested are
// released: nobody else can. No other release may be under way on the subnet.
func (a *Allocator) beginRelease(h *handle) (commit <-chan error, finish func(error)) {
	s := h.subnet
	changes := []store.Change{store.DeletePool(h.ID)}
	var finishes []func(error)
	forgotten := func() {}
	last := len(s.handles) == 1
	if last {
		for ip := range s.entries {
			changes = append(changes, store.DeleteAddress(s.space, s.prefix, ip))
			if s.leased() {
				a.leases.Release(s.space, s.prefix, ip)
				changes = append(changes, store.DeleteLease(s.space, s.prefix, ip))
			}
		}
		var useless []store.Change
		useless, forgotten = a.forgetUseless(s)
		changes = append(changes, useless...)
	} else {
		for _, l := range s.leasesOf(h) {
			if h.sharesGateway(l) {
				continue
			}
			put, finish := a.write(s, a.freed(l))
			changes, finishes = append(changes, put), append(finishes, finish)
			if s.leased() {
				changes = append(changes, store.DeleteLease(s.space, s.prefix, l.IP))
			}
		}
	}
	h.leaving = &release{done: make(chan struct{})}
	return a.store.Begin(changes...), func(err error) {
		for _, finish := range finishes {
			finish(err)
		}
		close(h.leaving.done)
		h.leaving = nil
		if err == nil {
			if last {
				clear(s.entries)
			}
			forgotten()
			a.detach(h)
			a.leaveSegment(h.segment())
		}
	}
}

// leasesOf returns the addresses in use that h requested, in order.
func (s *subnet) leasesOf(h *handle) (leases []*lease) {
	for _, e := range s.entries {
		if e.now.inUse() && e.now.Pool == h.ID {
			leases = append(leases, e.now)
		}
	}
	slices.SortFunc(leases, func(l, m *lease) int { return l.IP.Compare(m.IP) })
	return leases
}
