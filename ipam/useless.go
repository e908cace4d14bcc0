package ipam

import (
	"net/netip"
	"slices"
	"time"

	"fairway/store"
)

// An address names the record of an address.
type address struct {
	space  string
	subnet netip.Prefix
	ip     netip.Addr
}

// sweep returns changes that delete a few useless records, to go along with a
// commit that is made anyway.
func (a *Allocator) sweep(n int) (changes []store.Change) {
	for ; n > 0 && len(a.useless) > 0; n-- {
		last := a.useless[len(a.useless)-1]
		a.useless = a.useless[:len(a.useless)-1]
		if s := a.spaces[last.space].by[last.subnet]; s != nil {
			if _, ok := s.entries[last.ip]; ok {
				continue // in use again
			}
		}
		changes = append(changes, store.DeleteAddress(last.space, last.subnet, last.ip))
	}
	return changes
}

// forgetUseless returns changes that delete all useless records of s: before a
// new life, and at its end. They are useless until the commit has succeeded,
// which done is to tell.
func (a *Allocator) forgetUseless(s *subnet) (changes []store.Change, done func()) {
	gone := map[address]bool{}
	for _, u := range a.useless {
		if u.space != s.space || u.subnet != s.prefix || gone[u] {
			continue
		}
		gone[u] = true
		if _, ok := s.entries[u.ip]; !ok {
			changes = append(changes, store.DeleteAddress(u.space, u.subnet, u.ip))
		}
	}
	return changes, func() {
		a.useless = slices.DeleteFunc(a.useless, func(u address) bool { return gone[u] })
	}
}

// expire ends the reuse delays in s that are over.
func (a *Allocator) expire(s *subnet, now time.Time) {
	for _, ip := range s.expire(now.Add(-max(a.delay, 0))) {
		a.useless = append(a.useless, address{s.space, s.prefix, ip})
	}
}
