package ipam

import "net/netip"

// ChoseGateway reports whether an address was given out as a gateway without
// having been named: the user didn't ask for one, and an engine before 28 wanted
// one all the same. It is known until this daemon ends.
func (a *Allocator) ChoseGateway(space string, subnet netip.Prefix, ip netip.Addr) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.subnet(space, subnet)
	return s != nil && s.chosen[ip]
}

// chose notes whether a gateway's address was named.
func (s *subnet) chose(ip netip.Addr, unnamed bool) {
	if !unnamed {
		delete(s.chosen, ip)
		return
	}
	if s.chosen == nil {
		s.chosen = map[netip.Addr]bool{}
	}
	s.chosen[ip] = true
}
