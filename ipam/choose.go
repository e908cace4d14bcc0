package ipam

import (
	"fmt"
	"net/netip"
)

// A cut is a default pool's base divided into candidates of one size. It keeps
// which of them a subnet of fairway lies in or is equal to, so that a free one
// is found without a walk over all that are taken. Candidates beyond the first
// 2^24 are never chosen.
type cut struct {
	DefaultPool
	taken set
}

// count returns how many candidates there are.
func (c *cut) count() uint64 {
	return 1 << min(c.Size-c.Base.Bits(), windowBits)
}

// index returns which candidate p's first address lies in; ok is false if in
// none.
func (c *cut) index(p netip.Prefix) (i uint64, ok bool) {
	if !c.Base.Contains(p.Addr()) {
		return 0, false
	}
	h := hostOf(c.Base, p.Addr())
	shift := c.Base.Addr().BitLen() - c.Size
	if shift >= 64 {
		h.lo, h.hi = h.hi>>(shift-64), 0
	} else if shift > 0 {
		h.lo, h.hi = h.lo>>shift|h.hi<<(64-shift), h.hi>>shift
	}
	return h.lo, h.hi == 0 && h.lo < c.count()
}

func (c *cut) candidate(i uint64) netip.Prefix {
	h := host{0, i}
	shift := c.Base.Addr().BitLen() - c.Size
	if shift >= 64 {
		h.hi, h.lo = i<<(shift-64), 0
	} else if shift > 0 {
		h.hi, h.lo = i>>(64-shift), i<<shift
	}
	return netip.PrefixFrom(h.addr(c.Base), c.Size)
}

// note marks the candidate that p lies in. A p that covers several is found by
// overlap when one of them is looked at.
func (c *cut) note(p netip.Prefix) {
	if i, ok := c.index(p); ok && p.Bits() >= c.Size {
		c.taken.add(host{0, i})
	}
}

// cutsFor returns the cuts for a pool of a space: of the given prefix length,
// or of the sizes that the default pools have for 0. They are made when they are
// first needed.
func (a *Allocator) cutsFor(space string, v6 bool, size int) []*cut {
	var out []*cut
	for _, p := range a.defaults[space] {
		if p.Base.Addr().Is6() != v6 {
			continue
		}
		if size != 0 {
			p.Size = size
		}
		if p.Size < p.Base.Bits() || p.Size > p.Base.Addr().BitLen() {
			continue
		}
		c := a.cuts[p]
		if c == nil {
			c = &cut{DefaultPool: p}
			for _, s := range a.spaces {
				for _, q := range s.sorted {
					c.note(q)
				}
			}
			a.cuts[p] = c
		}
		out = append(out, c)
	}
	return out
}

// choose returns the first candidate of the default pools that overlaps
// neither a subnet of any address space nor the host's routes.
func (a *Allocator) choose(space string, want wanted, host routed) (netip.Prefix, error) {
	cuts := a.cutsFor(space, want.v6, want.size)
	for _, c := range cuts {
		if p, ok := a.chooseFrom(c, host); ok {
			return p, nil
		}
	}
	version := "IPv4"
	if want.v6 {
		version = "IPv6"
	}
	if len(cuts) == 0 {
		if want.size == 0 {
			return netip.Prefix{}, fmt.Errorf("no default address pool for %s: name a subnet", version)
		}
		return netip.Prefix{}, fmt.Errorf("no default address pool for %s can hold a /%d: name a subnet", version, want.size)
	}
	return netip.Prefix{}, fmt.Errorf("every default address pool for %s is in use or on a route of the host: name a subnet", version)
}

func (a *Allocator) chooseFrom(c *cut, onHost routed) (netip.Prefix, bool) {
	last := host{0, c.count() - 1}
	for at := (host{}); at.lo <= last.lo; at.lo++ {
		var ok bool
		if at, ok = c.taken.next(at, last); !ok {
			break
		}
		p := c.candidate(at.lo)
		hindrance, hindered := onHost.overlapping(p)
		for _, s := range a.spaces {
			if hindered {
				break
			}
			hindrance, hindered = s.overlapping(p)
		}
		if !hindered {
			return p, true
		}
		if hindrance.Bits() <= c.Base.Bits() {
			break
		}
		if hindrance.Bits() < c.Size { // covers several candidates: go behind it
			end, _ := c.index(hindrance)
			at.lo = end + 1<<min(c.Size-hindrance.Bits(), windowBits) - 1
		}
	}
	return netip.Prefix{}, false
}
