package ipam

import (
	"net/netip"

	"fairway/store"
)

// A lease is one version of an address's record. It never changes; a new
// version takes its place. seq orders the versions of all leases.
type lease struct {
	store.Address
	seq    uint64
	before netip.Addr // what the container's name had before; invalid for nothing
}

func (l *lease) inUse() bool { return l != nil && l.Released.IsZero() }

// unconfirmed reports whether Docker has the address, but wasn't seen to use it.
func (l *lease) unconfirmed() bool { return l.inUse() && !l.Confirmed }

func (l *lease) container() containerName { return containerName{l.Engine, l.Name} }

// An entry is what a subnet knows of one address.
type entry struct {
	now     *lease // the version that counts
	saved   *lease // the newest version that is known to be durable; nil for none
	pending int    // commits under way
	lost    bool   // the commit of now failed
}

// newer reports whether l was given out after m.
func (l *lease) newer(m *lease) bool {
	if c := l.Created.Compare(m.Created); c != 0 {
		return c > 0
	}
	return l.IP.Less(m.IP)
}

// write makes l the version of its address that counts and returns the change
// that records it, and what to do with the outcome.
func (a *Allocator) write(s *subnet, l store.Address) (store.Change, func(error)) {
	a.seq++
	v := &lease{Address: l, seq: a.seq}
	if l.Name != "" {
		v.before = s.names[v.container()]
	}
	s.set(l.IP, v)
	e := s.entries[l.IP]
	e.pending++
	s.entries[l.IP] = e
	return store.PutAddress(l), func(err error) { s.settle(v, err) }
}

// settle takes the outcome of v's commit. Outcomes may come in another order
// than the commits: what counts once none is under way is the newest durable
// version, unless that of now is still to be known.
func (s *subnet) settle(v *lease, err error) {
	e := s.entries[v.IP]
	e.pending--
	switch {
	case err != nil:
		e.lost = e.lost || e.now == v
	case e.saved == nil || e.saved.seq < v.seq:
		e.saved = v
	}
	s.entries[v.IP] = e
	if e.lost && e.pending == 0 {
		before := e.now.before
		s.set(v.IP, e.saved)
		s.remember(before)
	}
}
