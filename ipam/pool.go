package ipam

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net/netip"

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

	a.mu.Lock()
	h, err := a.place(spec, want, onHost)
	if err != nil {
		a.mu.Unlock()
		return PoolReply{}, err
	}
	commit := a.store.Begin(append(a.sweep(4), store.PutPool(h.Pool))...)
	a.mu.Unlock()
	err = a.await(ctx, commit, func(err error) {
		if err != nil && a.handles[h.ID] == h {
			a.detach(h)
		}
	})
	if err != nil {
		return PoolReply{}, fmt.Errorf("ipam: request pool %s: %w", h.Subnet, err)
	}
	return PoolReply{ID: h.ID, Prefix: h.Subnet}, nil
}

// place finds the subnet for a new handle and puts the handle on it.
func (a *Allocator) place(spec PoolSpec, want wanted, onHost routed) (*handle, error) {
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
		Subnet: want.subnet, Range: want.ipRange, Options: spec.Options, Created: a.now(),
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
		if a.handles[id] == nil && a.releasing[id] == nil {
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
	a.mu.Lock()
	h := a.handles[id]
	r := a.releasing[id]
	if h == nil {
		a.mu.Unlock()
		return r.wait(ctx)
	}
	commit, finish := a.beginRelease(h)
	a.mu.Unlock()
	if err := a.await(ctx, commit, finish); err != nil {
		return fmt.Errorf("ipam: release pool %s: %w", h.Subnet, err)
	}
	return nil
}

// wait waits for the outcome of a release that another call began.
func (r *release) wait(ctx context.Context) error {
	if r == nil {
		return nil
	}
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// beginRelease removes h. With its subnet's last handle all records of the
// subnet's addresses go, with another one those addresses that h requested are
// released: nobody else can.
func (a *Allocator) beginRelease(h *handle) (commit <-chan error, finish func(error)) {
	s := h.subnet
	r := &release{done: make(chan struct{})}
	a.releasing[h.ID] = r
	a.detach(h)
	changes := []store.Change{store.DeletePool(h.ID)}
	var finishes []func(error)
	if len(s.handles) == 0 {
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
	return a.store.Begin(changes...), func(err error) {
		delete(a.releasing, h.ID)
		for _, finish := range finishes {
			finish(err)
		}
		if err != nil {
			a.restore(h)
			r.err = fmt.Errorf("ipam: release pool %s: %w", h.Subnet, err)
		}
		close(r.done)
	}
}

// leasesOf returns the addresses in use that h requested.
func (s *subnet) leasesOf(h *handle) (leases []*lease) {
	for _, e := range s.entries {
		if e.now.inUse() && e.now.Pool == h.ID {
			leases = append(leases, e.now)
		}
	}
	return leases
}

// attach puts h on its subnet, which is made if it is the first.
func (a *Allocator) attach(h *handle) {
	all := a.spaces[h.Space]
	s := all.by[h.Subnet]
	if s == nil {
		if s = h.subnet; s == nil {
			s = newSubnet(h.Space, h.Subnet)
		}
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

// restore brings back a handle whose removal wasn't made durable. If its subnet
// was given out anew since, the handle comes to lie on the new one.
func (a *Allocator) restore(h *handle) {
	old := h.subnet
	a.attach(h)
	s := h.subnet
	if s == old {
		return
	}
	s.network = s.network || old.network
	for ip, e := range old.entries {
		if _, ok := s.entries[ip]; !ok && e.saved != nil {
			s.entries[ip] = entry{saved: e.saved}
			s.set(ip, e.saved)
		}
	}
}

func (a *Allocator) subnet(space string, prefix netip.Prefix) *subnet {
	all := a.spaces[space]
	if all == nil {
		return nil
	}
	return all.by[prefix]
}
