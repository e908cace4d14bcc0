package ipam

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"fairway/store"
)

// Segments agrees with the other hosts of a cluster on who may hand out which
// addresses of a segment's pools. Its methods are called without locks, but for
// Share and Leave, which don't wait.
type Segments interface {
	// Join makes this host a member and returns the segment's subnet in a family:
	// pool, unless that is invalid.
	Join(ctx context.Context, segment string, pool netip.Prefix, v6 bool) (netip.Prefix, error)
	// Leave says that this host has no pool of the segment any more.
	Leave(segment string)
	// Gateway settles the gateway of a subnet; want may be invalid.
	Gateway(ctx context.Context, segment string, subnet netip.Prefix, want netip.Addr) (netip.Addr, error)
	// Share returns what this host may hand out: all of some blocks, but for the
	// addresses foreign, and claims besides. What becomes of it later is told by
	// SetShare.
	Share(segment string, subnet netip.Prefix) (blocks []netip.Prefix, claims, foreign []netip.Addr)
	// Extend gets another block.
	Extend(ctx context.Context, segment string, subnet netip.Prefix) error
	// Claim gets one address, wherever in the subnet.
	Claim(ctx context.Context, segment string, subnet netip.Prefix, ip netip.Addr) error
}

// A share is what this host may hand out of a segment's subnet.
type share struct {
	blocks  []netip.Prefix
	claims  map[netip.Addr]bool
	foreign map[netip.Addr]bool
}

// segment returns the segment whose pool h is; "" if none's.
func (h *handle) segment() string { return h.Options["segment"] }

// segment returns the segment whose subnet s is; "" if none's.
func (s *subnet) segment() string {
	for _, h := range s.handles {
		return h.segment() // a segment's subnet is no other's
	}
	return ""
}

// mine reports whether this host may hand out an address of s.
func (s *subnet) mine(ip netip.Addr) bool {
	switch {
	case s.share == nil:
		return true
	case s.share.claims[ip]:
		return true
	case s.share.foreign[ip]:
		return false
	}
	return slices.ContainsFunc(s.share.blocks, func(b netip.Prefix) bool { return b.Contains(ip) })
}

// setShare takes a share. Addresses that are foreign are never free.
func (s *subnet) setShare(blocks []netip.Prefix, claims, foreign []netip.Addr) {
	before := s.share
	s.share = &share{blocks: blocks, claims: map[netip.Addr]bool{}, foreign: map[netip.Addr]bool{}}
	for _, ip := range claims {
		s.share.claims[ip] = true
	}
	if s.gateway.IsValid() {
		foreign = append(slices.Clone(foreign), s.gateway)
	}
	for _, ip := range foreign {
		s.share.foreign[ip] = true
		s.taken.add(hostOf(s.prefix, ip))
	}
	if before == nil {
		return
	}
	for ip := range before.foreign {
		if !s.share.foreign[ip] && s.entries[ip].now == nil {
			s.taken.remove(hostOf(s.prefix, ip))
		}
	}
}

// untake makes an address free again, unless another host has it.
func (s *subnet) untake(ip netip.Addr) {
	if s.share == nil || !s.share.foreign[ip] {
		s.taken.remove(hostOf(s.prefix, ip))
	}
}

// freeShared returns the first address of this host's blocks that is neither in
// use nor delayed; with last, else one that is delayed.
func (s *subnet) freeShared(last bool) (netip.Addr, bool) {
	for _, b := range s.share.blocks {
		from, to, ok := s.limits(b)
		if !ok {
			continue
		}
		if h, ok := s.taken.next(from, to); ok {
			return h.addr(s.prefix), true
		}
	}
	if !last {
		return netip.Addr{}, false
	}
	return s.delay.oldest(func(ip netip.Addr, l *lease) bool {
		return s.entries[ip].now == l && s.reserved(ip) == "" && s.mine(ip) && !s.share.claims[ip]
	})
}

// SetShare says what this host may hand out of a segment's subnet from now on.
func (a *Allocator) SetShare(segment string, prefix netip.Prefix, blocks []netip.Prefix, claims, foreign []netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s := a.segmentSubnet(segment, prefix); s != nil {
		s.setShare(blocks, claims, foreign)
	}
}

// Used reports whether an address of a part of a segment's subnet is in use or,
// where the part is more than one address, in the reuse delay.
func (a *Allocator) Used(segment string, prefix, part netip.Prefix) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.segmentSubnet(segment, prefix)
	if s == nil {
		return false
	}
	if part.IsSingleIP() {
		l := s.entries[part.Addr()].now
		return l.inUse() && l.Kind != store.KindGateway
	}
	ended := a.now().Add(-a.delay)
	for ip, e := range s.entries {
		if part.Contains(ip) && (e.now.inUse() || e.now != nil && e.now.Released.After(ended)) {
			return true
		}
	}
	return false
}

// Spare returns how many addresses of this host's blocks of a segment's subnet can
// be handed out at once; it counts no further than most.
func (a *Allocator) Spare(segment string, prefix netip.Prefix, most int) (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.segmentSubnet(segment, prefix)
	if s == nil || s.share == nil {
		return most // nobody wants any
	}
	for _, b := range s.share.blocks {
		from, to, ok := s.limits(b)
		for ok && n < most {
			h, free := s.taken.next(from, to)
			if !free {
				break
			}
			n++
			from, ok = host{h.hi, h.lo + 1}, h.lo < to.lo
		}
	}
	return n
}

// Segments returns the names of the segments of which this host has a pool.
func (a *Allocator) Segments() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	names := map[string]bool{}
	for _, h := range a.handles {
		if name := h.segment(); name != "" {
			names[name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// InSegment reports whether a subnet is a pool of a segment.
func (a *Allocator) InSegment(space string, prefix netip.Prefix, segment string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.subnet(space, prefix)
	return s != nil && s.segment() == segment
}

func (a *Allocator) segmentSubnet(segment string, prefix netip.Prefix) *subnet {
	for _, all := range a.spaces {
		if s := all.by[prefix]; s != nil && s.segment() == segment {
			return s
		}
	}
	return nil
}

// joinSegment makes want the pool of a segment.
func (a *Allocator) joinSegment(ctx context.Context, want *wanted) error {
	if want.segment == "" {
		return nil
	}
	if a.segments == nil {
		return fmt.Errorf("option segment=%q: this host is in no cluster: its daemon runs without --cluster", want.segment)
	}
	p, err := a.segments.Join(ctx, want.segment, want.subnet, want.v6)
	want.subnet = p
	return err
}

// checkSegment refuses what contradicts that a pool is a segment's.
func (w *wanted) checkSegment(text, ipRange string) error {
	switch {
	case w.segment == "":
		return nil
	case w.shared, w.source == sourceDHCP:
		return fmt.Errorf("option segment=%q: not allowed with shared=true or source=dhcp", w.segment)
	case ipRange != "":
		return fmt.Errorf("ip-range %q: not allowed with segment=%s: each host gets blocks of the pool", ipRange, w.segment)
	case w.size != 0:
		return fmt.Errorf("pool %s: not allowed with segment=%s: want the segment's subnet, or none", text, w.segment)
	}
	return nil
}

// errOthers is why an address can't be handed out, or errNone none: it isn't this
// host's yet.
var (
	errOthers = errors.New("belongs to no block of this host") //nolint:gochecknoglobals // an error value
	errNone   = errors.New("blocks exhausted")                 //nolint:gochecknoglobals // an error value
)

// provide gets from the other hosts what spec needs of a segment's pool, after an
// attempt without it failed with err. Last says that there is nothing more.
func (a *Allocator) provide(ctx context.Context, h *handle, spec AddressSpec, err error) (last bool, _ error) {
	switch {
	case errors.Is(err, errOthers):
		return false, a.segments.Claim(ctx, h.segment(), h.Subnet, spec.Address)
	case errors.Is(err, errNone):
		if err := a.segments.Extend(ctx, h.segment(), h.Subnet); err != nil {
			a.mu.Lock()
			_, ok := h.subnet.freeShared(true)
			a.mu.Unlock()
			if ok { // released a moment ago, and better than none
				return true, nil
			}
			return false, err
		}
		return false, nil
	}
	return false, err
}

// segmentGateway settles the address of spec if it is for a segment's gateway, and
// before the first other address is handed out: it must be nobody's.
func (a *Allocator) segmentGateway(ctx context.Context, spec *AddressSpec) error {
	a.mu.Lock()
	h := a.handles[spec.Pool]
	var settled bool
	if h != nil && h.segment() != "" {
		settled = h.subnet.gateway.IsValid()
	}
	a.mu.Unlock()
	switch {
	case h == nil || h.segment() == "":
		return nil
	case a.segments == nil:
		return fmt.Errorf("segment %s: this host is in no cluster: its daemon runs without --cluster", h.segment())
	case settled && !spec.Gateway:
		return nil
	}
	want := netip.Addr{}
	if spec.Gateway {
		want = spec.Address.Unmap()
	}
	g, err := a.segments.Gateway(ctx, h.segment(), h.Subnet, want)
	if err != nil {
		return err
	}
	a.mu.Lock()
	h.subnet.gateway = g
	h.subnet.taken.add(hostOf(h.Subnet, g))
	if h.subnet.share != nil {
		h.subnet.share.foreign[g] = true
	}
	a.mu.Unlock()
	if spec.Gateway {
		spec.Address = g
	}
	return nil
}

// leaveSegment says that a pool of a segment is gone. The lock may be held.
func (a *Allocator) leaveSegment(segment string) {
	if segment != "" && a.segments != nil {
		a.segments.Leave(segment)
	}
}
