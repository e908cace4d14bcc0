package ipam

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net/netip"

	"fairway/store"
)

// RequestPool gives out a pool: the one that spec names, or one that is free.
// Every call gives out another handle, and without a named subnet another subnet.
func (a *Allocator) RequestPool(ctx context.Context, spec PoolSpec) (PoolReply, error) {
	want, err := parsePool(spec)
	if err == nil && want.source == sourceDHCP && a.leases == nil {
		err = fmt.Errorf("option source=%q: want %s here", want.source, sourceLocal)
	}
	if err != nil {
		return PoolReply{}, err
	}
	if err := ctx.Err(); err != nil {
		return PoolReply{}, fmt.Errorf("ipam: request pool: %w", err)
	}
	if err := a.joinSegment(ctx, &want); err != nil {
		return PoolReply{}, err
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
		a.leaveSegment(want.segment)
		return PoolReply{}, err
	}
	changes, forgotten := a.forgetUseless(h.subnet)
	commit := a.store.Begin(append(changes, store.PutPool(h.Pool))...)
	a.mu.Unlock()
	err = a.await(ctx, commit, func(err error) {
		if err != nil {
			a.detach(h)
		} else {
			forgotten()
		}
	})
	if err != nil {
		a.leaveSegment(want.segment)
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
	if p.Bits() == 0 {
		if s := all.by[p]; s != nil {
			return s.release()
		}
		return nil
	}
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
	if s == nil && want.subnet.Bits() == 0 {
		return nil // what the servers' LAN is, nobody knows
	}
	if s == nil {
		if other, ok := all.overlapping(want.subnet); ok {
			return fmt.Errorf("pool %s overlaps %s, which is in use", want.subnet, other)
		}
		return nil
	}
	if s.segment() != want.segment {
		return fmt.Errorf("pool %s overlaps %s, which is in use", want.subnet, s.prefix)
	}
	if s.unused() {
		return nil
	}
	for _, h := range s.handles {
		switch {
		case want.source == sourceDHCP && (h.parent() == want.parent || want.subnet.Bits() == 0): // the servers keep them apart
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
	if s.share == nil && h.segment() != "" {
		s.share = &share{}
		if a.segments != nil {
			s.setShare(a.segments.Share(h.segment(), s.prefix))
		}
	}
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
