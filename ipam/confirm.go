package ipam

import (
	"net/netip"

	"fairway/store"
)

// Confirm tells that one of fairway's networks, or an endpoint on it, was made
// with the subnet and these addresses: Docker knows them. It doesn't wait for
// the records: they can be had again from those of the network and the endpoint,
// which [New] reads. Subnets that aren't from here are none of its business, nor
// are invalid addresses.
//
// The network itself must be confirmed before its endpoints: what was requested
// until then is its gateway and its auxiliary addresses, and is confirmed as well.
func (a *Allocator) Confirm(space string, prefix netip.Prefix, ips ...netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.confirmAll(space, prefix, ips, true)
}

// ConfirmRequested is Confirm for an endpoint that is about to be made, so that
// one fsync does for the records of both. Addresses that nobody requested are
// left as they are: if the endpoint fails, nobody would give them back.
func (a *Allocator) ConfirmRequested(space string, prefix netip.Prefix, ips ...netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.confirmAll(space, prefix, ips, false)
}

// confirmAll confirms the addresses that are in use, and if it may claim them
// those that are free. The caller holds the lock.
func (a *Allocator) confirmAll(space string, prefix netip.Prefix, ips []netip.Addr, claim bool) {
	s := a.subnet(space, prefix)
	if s == nil || s.goes() {
		return
	}
	var changes []store.Change
	h := s.newest()
	if !h.Confirmed {
		h.Confirmed, h.noted = true, true
		changes = append(changes, store.PutPool(h.Pool))
	}
	if !s.network {
		s.network = true
		for ip, e := range s.entries {
			if e.now.unconfirmed() {
				ips = append(ips, ip)
			}
		}
	}
	for _, ip := range ips {
		if !claim && !s.entries[ip].now.inUse() {
			continue
		}
		if change, ok := a.confirm(s, ip, h.Engine); ok {
			changes = append(changes, change)
		}
	}
	if len(changes) > 0 {
		a.store.Begin(changes...)
	}
}

// newest returns the handle that was given out last, unless one is confirmed.
func (s *subnet) newest() (newest *handle) {
	for _, h := range s.handles {
		switch {
		case h.Confirmed:
			return h
		case newest == nil || h.Created.After(newest.Created),
			h.Created.Equal(newest.Created) && h.ID > newest.ID:
			newest = h
		}
	}
	return newest
}

// confirm makes ip a confirmed address in use. One that wasn't in use belongs to
// no handle from then on: any may release it.
func (a *Allocator) confirm(s *subnet, ip netip.Addr, engine string) (store.Change, bool) {
	if !ip.IsValid() || !s.prefix.Contains(ip) {
		return store.Change{}, false
	}
	e := s.entries[ip]
	if e.now.inUse() && e.now.Confirmed {
		return store.Change{}, false
	}
	l := store.Address{
		Space: s.space, Subnet: s.prefix, IP: ip, Engine: engine, Kind: store.KindEndpoint, Created: a.now(),
	}
	if e.now.inUse() {
		l = e.now.Address
	}
	l.Confirmed = true
	put, finish := a.write(s, l)
	finish(nil) // if this version gets lost, New finds it again
	return put, true
}
