package ipam

import (
	"net/netip"
	"time"

	"fairway/store"
)

// A containerName is a container's name on an engine.
type containerName struct{ engine, name string }

// A subnet is the state of the addresses of one subnet in one address space.
type subnet struct {
	space   string
	prefix  netip.Prefix
	handles map[string]*handle
	// network: a network of fairway's own lies on the subnet, so that the use of
	// each address is seen.
	network bool

	entries map[netip.Addr]entry
	taken   set                          // hosts in use or in the reuse delay
	delay   queue                        // released addresses, the oldest first
	names   map[containerName]netip.Addr // the address that a name had last
	fresh   map[netip.Addr]struct{}      // addresses in use that aren't confirmed; without a network just gateways
	chosen  map[netip.Addr]bool          // gateways that nobody named
	missing map[netip.Addr]time.Time     // since when an engine hasn't known the address
	share   *share                       // of a segment's subnet; nil: all of it is this host's
	gateway netip.Addr                   // of a segment's subnet, once it is known
}

func newSubnet(space string, prefix netip.Prefix) *subnet {
	return &subnet{
		space:   space,
		prefix:  prefix,
		handles: map[string]*handle{},
		entries: map[netip.Addr]entry{},
		names:   map[containerName]netip.Addr{},
		fresh:   map[netip.Addr]struct{}{},
		missing: map[netip.Addr]time.Time{},
	}
}

// A handle is one pool that Docker was given.
type handle struct {
	store.Pool
	subnet  *subnet
	noted   bool      // Confirmed is on its way to the store, or there
	leaving *release  // under way; nil if none
	missing time.Time // since when the engine hasn't known the pool; zero: it does
}

// set makes l the version of ip that counts, and all that is derived follow.
// A nil l forgets the address.
func (s *subnet) set(ip netip.Addr, l *lease) {
	e := s.entries[ip]
	if old := e.now; old != nil && old.Name != "" && (l == nil || l.Name != old.Name || l.Engine != old.Engine) {
		if s.names[old.container()] == ip {
			delete(s.names, old.container())
		}
	}
	e.now, e.lost = l, false
	if l == nil && e.pending == 0 {
		delete(s.entries, ip)
	} else {
		s.entries[ip] = e
	}
	delete(s.missing, ip)

	if l.unconfirmed() && (s.network || l.Kind == store.KindGateway) {
		s.fresh[ip] = struct{}{}
	} else {
		delete(s.fresh, ip)
	}
	if l == nil {
		s.untake(ip)
		return
	}
	s.taken.add(hostOf(s.prefix, ip))
	if !l.inUse() {
		s.delay.push(ip, l)
	}
	s.remember(ip)
}

// remember makes ip the address of the container's name that it has or had,
// unless the name got another one later.
func (s *subnet) remember(ip netip.Addr) {
	l := s.entries[ip].now
	if l == nil || l.Name == "" {
		return
	}
	name := l.container()
	if other, ok := s.names[name]; ok && s.entries[other].now.newer(l) {
		return
	}
	s.names[name] = ip
}

// expire ends the reuse delay of what was released before then, and returns
// the addresses whose records have become useless: all but those that are
// remembered for a container's name.
//
// It does a bounded part of the work: more than what one call can add.
func (s *subnet) expire(then time.Time) (useless []netip.Addr) {
	for range 1024 {
		ip, l := s.delay.front()
		if l == nil {
			break
		}
		e := s.entries[ip]
		if e.now == l {
			if l.Released.After(then) {
				break
			}
			s.untake(ip)
			if e.pending == 0 && (l.Name == "" || s.names[l.container()] != ip) {
				delete(s.entries, ip)
				useless = append(useless, ip)
			}
		}
		s.delay.pop()
	}
	return useless
}

// limits returns the first and the last host of r, a prefix in the subnet, that
// may be handed out; ok is false if there is none. Of an r with more than 2^64
// addresses it is the first 2^64.
//
// The network and the broadcast address aren't handed out, except on a /31
// (RFC 3021) and a /32; nor is the subnet-router anycast address of IPv6
// (RFC 4291 2.6.1), except on a /127 (RFC 6164) and a /128.
func (s *subnet) limits(r netip.Prefix) (from, to host, ok bool) {
	from = hostOf(s.prefix, r.Addr())
	to = host{from.hi, from.lo | (uint64(1)<<(r.Addr().BitLen()-r.Bits()) - 1)}
	open := s.prefix.Addr().BitLen() - s.prefix.Bits()
	if open > 1 {
		if from == (host{}) {
			from.lo = 1
		}
		if s.prefix.Addr().Is4() && to.lo == 1<<open-1 {
			to.lo--
		}
	}
	return from, to, from.lo <= to.lo
}

// reserved says what an address that is never handed out is; "" for all others.
func (s *subnet) reserved(ip netip.Addr) string {
	open := s.prefix.Addr().BitLen() - s.prefix.Bits()
	switch h := hostOf(s.prefix, ip); {
	case open <= 1:
		return ""
	case h == (host{}) && ip.Is4():
		return "network address"
	case h == (host{}):
		return "subnet-router anycast address"
	case ip.Is4() && h.lo == 1<<open-1:
		return "broadcast address"
	}
	return ""
}

// free returns the first address of r that is neither in use nor delayed, else
// the one of r that has been delayed longest.
func (s *subnet) free(r netip.Prefix) (netip.Addr, bool) {
	from, to, ok := s.limits(r)
	if !ok {
		return netip.Addr{}, false
	}
	if h, ok := s.taken.next(from, to); ok {
		return h.addr(s.prefix), true
	}
	return s.delay.oldest(func(ip netip.Addr, l *lease) bool {
		if s.entries[ip].now != l || !r.Contains(ip) {
			return false
		}
		return s.reserved(ip) == ""
	})
}
