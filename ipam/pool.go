package ipam

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"

	"fairway/store"
)

// RequestPool gives out a pool: the one that spec names, or one that is free.
// Every call gives out another handle, and without a named subnet another subnet.
func (a *Allocator) RequestPool(ctx context.Context, spec PoolSpec) (PoolReply, error) {
	want, err := parsePool(spec)
	if err != nil {
		return PoolReply{}, err
	}
	if err := ctx.Err(); err != nil {
		return PoolReply{}, fmt.Errorf("ipam: request pool: %w", err)
	}
	var onHost routed
	if !want.subnet.IsValid() && a.hostSubnets != nil {
		prefixes, err := a.hostSubnets(ctx)
		if err != nil {
			return PoolReply{}, fmt.Errorf("ipam: request pool: %w", err)
		}
		onHost = newRouted(prefixes)
	}

	h, err := a.place(ctx, spec, want, onHost)
	if err != nil {
		return PoolReply{}, err
	}
	commit := a.store.Begin(append(a.forgetUseless(h.subnet), store.PutPool(h.Pool))...)
	a.mu.Unlock()
	err = a.await(ctx, commit, func(err error) {
		if err != nil {
			a.detach(h)
		}
	})
	if err != nil {
		return PoolReply{}, fmt.Errorf("ipam: request pool %s: %w", h.Subnet, err)
	}
	return PoolReply{ID: h.ID, Prefix: h.Subnet}, nil
}

// place finds the subnet for a new handle and puts the handle on it. Unless it
// fails it returns with the lock held.
func (a *Allocator) place(ctx context.Context, spec PoolSpec, want wanted, onHost routed) (*handle, error) {
	a.mu.Lock()
	for want.subnet.IsValid() {
		r := a.leavingFor(spec.Space, want.subnet)
		if r == nil {
			break
		}
		a.mu.Unlock()
		if err := r.wait(ctx); err != nil {
			return nil, fmt.Errorf("ipam: request pool %s: %w", want.subnet, err)
		}
		a.mu.Lock()
	}
	h, err := a.placed(spec, want, onHost)
	if err != nil {
		a.mu.Unlock()
		return nil, err
	}
	return h, nil
}

// leavingFor returns the release that is under way of a pool that overlaps p.
func (a *Allocator) leavingFor(space string, p netip.Prefix) *release {
	all := a.spaces[space]
	if other, ok := all.overlapping(p); ok {
		return all.by[other].release()
	}
	return nil
}

func (a *Allocator) placed(spec PoolSpec, want wanted, onHost routed) (*handle, error) {
	var err error
	if want.subnet.IsValid() {
		err = a.mayHave(spec.Space, want)
	} else {
		want.subnet, err = a.choose(spec.Space, want, onHost)
	}
	if err != nil {
		return nil, err
	}
	id, err := a.newID(spec.Space, want.subnet)
	if err != nil {
		return nil, err
	}
	h := &handle{Pool: store.Pool{
		ID: id, Engine: spec.Engine, Space: spec.Space,
		Subnet: want.subnet, Range: want.ipRange, Options: maps.Clone(spec.Options), Created: a.now(),
	}}
	a.attach(h)
	return h, nil
}

func (a *Allocator) newID(space string, subnet netip.Prefix) (string, error) {
	for {
		var b [8]byte
		if _, err := io.ReadFull(a.rand, b[:]); err != nil {
			return "", fmt.Errorf("ipam: request pool: %w", err)
		}
		id := space + "/" + subnet.String() + "/" + hex.EncodeToString(b[:])
		if a.handles[id] == nil {
			return id, nil
		}
	}
}

// mayHave says why the named subnet can't be had, nil if it can.
//
// A subnet may get a second handle if Docker wasn't seen to use any that it has
// (the reply to that request was lost), or if all are to share it.
func (a *Allocator) mayHave(space string, want wanted) error {
	all := a.spaces[space]
	s := all.by[want.subnet]
	if s == nil {
		if other, ok := all.overlapping(want.subnet); ok {
			return fmt.Errorf("pool %s overlaps %s, which is in use", want.subnet, other)
		}
		return nil
	}
	if s.unused() {
		return nil
	}
	for _, h := range s.handles {
		switch {
		case !want.shared || !sharedOption(h.Options) || !want.ipRange.IsValid() || !h.Range.IsValid():
			return fmt.Errorf("pool %s overlaps %s, which is in use (networks share a subnet if each has --ipam-opt shared=true and an --ip-range)",
				want.subnet, s.prefix)
		case h.Range.Overlaps(want.ipRange):
			return fmt.Errorf("ip-range %s of pool %s overlaps %s, which is in use", want.ipRange, want.subnet, h.Range)
		}
	}
	return nil
}

// unused reports whether nothing shows that Docker knows any handle of s.
func (s *subnet) unused() bool {
	if s.network {
		return false
	}
	for _, h := range s.handles {
		if h.Confirmed {
			return false
		}
	}
	for _, e := range s.entries {
		if e.now.inUse() {
			return false
		}
	}
	return true
}

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
	last := len(s.handles) == 1
	if last {
		for ip := range s.entries {
			changes = append(changes, store.DeleteAddress(s.space, s.prefix, ip))
		}
		changes = append(changes, a.forgetUseless(s)...)
	} else {
		for _, l := range s.leasesOf(h) {
			put, finish := a.write(s, a.freed(l))
			changes, finishes = append(changes, put), append(finishes, finish)
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
			a.detach(h)
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

// attach puts h on its subnet, which is made if it is the first.
func (a *Allocator) attach(h *handle) {
	all := a.spaces[h.Space]
	s := all.by[h.Subnet]
	if s == nil {
		s = newSubnet(h.Space, h.Subnet)
		all.add(s)
		for _, c := range a.cuts {
			c.note(s.prefix)
		}
	}
	h.subnet = s
	s.handles[h.ID] = h
	a.handles[h.ID] = h
}

// detach takes h off its subnet, which goes with its last handle.
func (a *Allocator) detach(h *handle) {
	s := h.subnet
	delete(a.handles, h.ID)
	delete(s.handles, h.ID)
	if len(s.handles) > 0 {
		return
	}
	a.spaces[s.space].remove(s)
	for ip := range s.entries { // if a request for another handle on s failed meanwhile
		a.useless = append(a.useless, address{s.space, s.prefix, ip})
	}
	for _, c := range a.cuts {
		a.unnote(c, s.prefix)
	}
}

// unnote frees the candidate of c that p lay in, if nothing else lies in it.
func (a *Allocator) unnote(c *cut, p netip.Prefix) {
	i, ok := c.index(p)
	if !ok || p.Bits() < c.Size {
		return
	}
	for _, all := range a.spaces {
		if _, ok := all.within(c.candidate(i)); ok {
			return
		}
	}
	c.taken.remove(host{0, i})
}

func (a *Allocator) subnet(space string, prefix netip.Prefix) *subnet {
	all := a.spaces[space]
	if all == nil {
		return nil
	}
	return all.by[prefix]
}
