package ipam

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"fairway/store"
)

// RequestAddress gives out an address of a pool: the one that spec names, or
// the one that the container's name had before, or the first that is free and
// that nobody else has on the LAN. The reply carries the subnet's length.
func (a *Allocator) RequestAddress(ctx context.Context, spec AddressSpec) (netip.Prefix, error) {
	for tries := 1; ; tries++ {
		p, err := a.request(ctx, spec)
		if err != nil || a.taken == nil || spec.Gateway || spec.Address.IsValid() {
			return p, err
		}
		holder := a.holder(ctx, spec, p.Addr())
		if holder == "" {
			return p, nil
		}
		if err = a.forfeit(ctx, spec, p.Addr()); err != nil {
			return netip.Prefix{}, err
		}
		if tries == mostTaken {
			return netip.Prefix{}, fmt.Errorf("pool %s: the first %d free addresses are others' on the LAN (%s has %s): see --ip-range", p.Masked(), tries, holder, p.Addr())
		}
	}
}

// request gives out an address, whoever has it on a LAN.
func (a *Allocator) request(ctx context.Context, spec AddressSpec) (netip.Prefix, error) {
	if err := ctx.Err(); err != nil {
		return netip.Prefix{}, fmt.Errorf("ipam: request address: %w", err)
	}
	spec.Address = spec.Address.Unmap()
	if err := a.segmentGateway(ctx, &spec); err != nil {
		return netip.Prefix{}, err
	}
	last := false // of a segment's pool there is no more to be had from other hosts
	for range mostShared {
		p, h, err := a.requestOnce(ctx, spec, last)
		if !errors.Is(err, errOthers) && !errors.Is(err, errNone) {
			return p, err
		}
		if last, err = a.provide(ctx, h, spec, err); err != nil {
			return netip.Prefix{}, err
		}
	}
	return netip.Prefix{}, errors.New("ipam: request address: what other hosts give is gone at once")
}

// mostShared bounds how often other hosts are asked for what others of this host
// then take.
const mostShared = 16

// requestOnce gives out an address of those that this host has; errOthers or
// errNone if another host has to give it first.
func (a *Allocator) requestOnce(ctx context.Context, spec AddressSpec, last bool) (netip.Prefix, *handle, error) {
	gone := a.askStale(ctx, spec)

	h, err := a.lock(ctx, spec.Pool)
	if err != nil {
		return netip.Prefix{}, h, fmt.Errorf("ipam: request address: %w", err)
	}
	if h == nil {
		a.mu.Unlock()
		return netip.Prefix{}, h, fmt.Errorf("pool %q isn't known: it was released, or never requested", spec.Pool)
	}
	s, now := h.subnet, a.now()
	a.expire(s, now)
	if h.parent() != "" && !spec.Gateway && spec.MAC != "" { // without it is an auxiliary address
		want := h.wish(spec)
		a.mu.Unlock()
		if spec.Address.IsValid() && !s.prefix.Contains(spec.Address) {
			return netip.Prefix{}, h, fmt.Errorf("address %s isn't in the pool %s", spec.Address, s.prefix)
		}
		p, err := a.requestLease(ctx, spec, want, gone)
		return p, h, err
	}
	ip, err := h.pick(spec, gone, last)
	if err != nil {
		a.mu.Unlock()
		return netip.Prefix{}, h, err
	}
	kind := store.KindEndpoint
	if spec.Gateway {
		kind = store.KindGateway
		s.chose(ip, !spec.Address.IsValid())
	}
	put, finish := a.write(s, store.Address{
		Space: s.space, Subnet: s.prefix, IP: ip, Engine: spec.Engine, Pool: h.ID,
		Kind: kind, Name: spec.Name, MAC: spec.MAC, Created: now,
	})
	changes := append(a.sweep(4), put)
	h.Confirmed = true
	noting := !h.noted
	if noting {
		h.noted = true
		changes = append(changes, store.PutPool(h.Pool))
	}
	commit := a.store.Begin(changes...)
	a.mu.Unlock()

	err = a.await(ctx, commit, func(err error) {
		finish(err)
		if err != nil && noting {
			h.noted = false
		}
	})
	if err != nil {
		return netip.Prefix{}, h, fmt.Errorf("ipam: request address %s of pool %s: %w", ip, s.prefix, err)
	}
	return netip.PrefixFrom(ip, s.prefix.Bits()), h, nil
}

// askStale returns the lease of the address that spec names, if its endpoint is
// gone without having given it back.
func (a *Allocator) askStale(ctx context.Context, spec AddressSpec) *lease {
	if a.stale == nil || !spec.Address.IsValid() || spec.Gateway {
		return nil
	}
	a.mu.Lock()
	var l *lease
	h := a.handles[spec.Pool]
	if h != nil {
		l = h.subnet.entries[spec.Address].now
	}
	a.mu.Unlock()
	if !l.inUse() || l.Engine != spec.Engine || l.Kind != store.KindEndpoint ||
		!a.stale(ctx, l.Space, l.Subnet, l.IP) {
		return nil
	}
	return l
}

// pick chooses the address for spec; that of the lease gone is free. Of a segment's
// pool it chooses what is delayed only if it is the last there is.
func (h *handle) pick(spec AddressSpec, gone *lease, last bool) (netip.Addr, error) {
	s := h.subnet
	if spec.Address.IsValid() {
		return spec.Address, h.mayUse(spec, gone)
	}
	if ip, ok := h.again(spec); ok {
		return ip, nil
	}
	if s.share != nil {
		if ip, ok := s.freeShared(last); ok {
			return ip, nil
		}
		return netip.Addr{}, errNone
	}
	r := h.Range
	if !r.IsValid() {
		r = s.prefix
	}
	if ip, ok := s.free(r); ok {
		return ip, nil
	}
	n := uint64(0)
	if from, to, ok := s.limits(r); ok {
		n = to.lo - from.lo + 1
	}
	if r != s.prefix {
		return netip.Addr{}, fmt.Errorf("ip-range %s of pool %s exhausted: %d of %d in use", r, s.prefix, n, n)
	}
	return netip.Addr{}, fmt.Errorf("pool %s exhausted: %d of %d in use", s.prefix, n, n)
}

// mayUse says why the address that spec names can't be had, nil if it can.
func (h *handle) mayUse(spec AddressSpec, gone *lease) error {
	s, ip := h.subnet, spec.Address
	if !s.prefix.Contains(ip) {
		return fmt.Errorf("address %s isn't in the pool %s", ip, s.prefix)
	}
	if what := s.reserved(ip); what != "" {
		return fmt.Errorf("address %s is the %s of the pool %s", ip, what, s.prefix)
	}
	l := s.entries[ip].now
	if spec.Gateway && l.inUse() && h.sharesGateway(l) {
		return nil
	}
	if l.inUse() && l != gone && !h.repeated(l, spec) {
		return fmt.Errorf("address %s is already in use", ip)
	}
	if !spec.Gateway && ip == s.gateway {
		return fmt.Errorf("address %s is the gateway of the segment", ip)
	}
	if !spec.Gateway && !s.mine(ip) {
		return fmt.Errorf("address %s %w", ip, errOthers)
	}
	return nil
}

// sharesGateway reports whether l is a gateway of a subnet that networks share:
// each of them may name it as its own. It goes with the last of their pools.
func (h *handle) sharesGateway(l *lease) bool {
	if l.Kind != store.KindGateway || !sharedOption(h.Options) {
		return false
	}
	for _, other := range h.subnet.handles {
		if other != h && sharedOption(other.Options) {
			return true
		}
	}
	return false
}

// repeated reports whether l was given out in a reply to the same request that
// got lost: Docker asks for an address and makes the network or the endpoint
// with it while it holds the network's lock, so that the same asker comes twice
// only if it didn't hear the answer. What becomes of the endpoints of other
// drivers' networks isn't seen.
func (h *handle) repeated(l *lease, spec AddressSpec) bool {
	if !l.unconfirmed() || l.Pool != h.ID || l.Engine != spec.Engine {
		return false
	}
	if spec.Gateway {
		return l.Kind == store.KindGateway
	}
	return l.Kind == store.KindEndpoint && h.subnet.network
}

// again returns the address that the same asker had before: in a reply that got
// lost, or as the last one of the container's name.
func (h *handle) again(spec AddressSpec) (netip.Addr, bool) {
	s := h.subnet
	if spec.Gateway || spec.MAC != "" && s.network {
		var first netip.Addr
		for ip := range s.fresh {
			l := s.entries[ip].now
			if h.repeated(l, spec) && l.MAC == spec.MAC && l.Name == spec.Name && (!first.IsValid() || ip.Less(first)) {
				first = ip
			}
		}
		if first.IsValid() {
			return first, true
		}
	}
	if spec.Name == "" || spec.Gateway {
		return netip.Addr{}, false
	}
	ip, ok := s.names[containerName{spec.Engine, spec.Name}]
	if !ok || h.Range.IsValid() && !h.Range.Contains(ip) || !s.mine(ip) {
		return netip.Addr{}, false
	}
	l := s.entries[ip].now
	return ip, !l.inUse() || h.repeated(l, spec)
}
