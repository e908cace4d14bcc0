package ipam

import (
	"cmp"
	"net/netip"
	"slices"
)

// A Usage says how many addresses of a subnet are in use, with its gateway, and
// how many were released less than the reuse delay ago. Size is how many can be
// handed out, of an IPv6 subnet 2^64 at most.
type Usage struct {
	Space         string
	Subnet        netip.Prefix
	Used, Delayed int
	Size          float64
}

// Usages returns the usage of every subnet, by address space and prefix.
func (a *Allocator) Usages() (out []Usage) {
	a.mu.Lock()
	defer a.mu.Unlock()
	ended := a.now().Add(-a.delay)
	for space, all := range a.spaces {
		for prefix, s := range all.by {
			u := Usage{Space: space, Subnet: prefix}
			if from, to, ok := s.limits(prefix); ok {
				u.Size = float64(to.lo-from.lo) + 1
			}
			for _, e := range s.entries {
				switch {
				case e.now.inUse():
					u.Used++
				case e.now != nil && e.now.Released.After(ended):
					u.Delayed++
				}
			}
			out = append(out, u)
		}
	}
	slices.SortFunc(out, func(a, b Usage) int {
		return cmp.Or(cmp.Compare(a.Space, b.Space), comparePrefixes(a.Subnet, b.Subnet))
	})
	return out
}
