package ipam

import (
	"cmp"
	"net/netip"
	"slices"
	"sort"
)

// subnets are the subnets of one address space. They overlap only where a
// commit's failure brought one back that was being released. A subnet of length
// 0, which stands for a LAN whose servers know it, overlaps nothing.
type subnets struct {
	by      map[netip.Prefix]*subnet
	sorted  []netip.Prefix // by address, then by length
	lengths [2][129]int    // how many there are of each length; IPv4, IPv6
}

func newSubnets() *subnets { return &subnets{by: map[netip.Prefix]*subnet{}} }

func comparePrefixes(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}

func family(p netip.Prefix) int {
	if p.Addr().Is4() {
		return 0
	}
	return 1
}

func (s *subnets) add(n *subnet) {
	s.by[n.prefix] = n
	if n.prefix.Bits() == 0 {
		return
	}
	s.lengths[family(n.prefix)][n.prefix.Bits()]++
	i, _ := slices.BinarySearchFunc(s.sorted, n.prefix, comparePrefixes)
	s.sorted = slices.Insert(s.sorted, i, n.prefix)
}

func (s *subnets) remove(n *subnet) {
	if n.prefix.Bits() == 0 && s.by[n.prefix] == n {
		delete(s.by, n.prefix)
		return
	}
	i, ok := slices.BinarySearchFunc(s.sorted, n.prefix, comparePrefixes)
	if !ok || s.by[n.prefix] != n {
		return
	}
	delete(s.by, n.prefix)
	s.lengths[family(n.prefix)][n.prefix.Bits()]--
	s.sorted = slices.Delete(s.sorted, i, i+1)
}

// around returns a subnet that p lies in, p itself among them.
func (s *subnets) around(p netip.Prefix) (netip.Prefix, bool) {
	for length, n := range s.lengths[family(p)][:p.Bits()+1] {
		if n == 0 {
			continue
		}
		wider := netip.PrefixFrom(p.Addr(), length).Masked()
		if s.by[wider] != nil {
			return wider, true
		}
	}
	return netip.Prefix{}, false
}

// within returns the first subnet that lies in p.
func (s *subnets) within(p netip.Prefix) (netip.Prefix, bool) {
	i, _ := slices.BinarySearchFunc(s.sorted, p, comparePrefixes)
	if i < len(s.sorted) && p.Contains(s.sorted[i].Addr()) {
		return s.sorted[i], true
	}
	return netip.Prefix{}, false
}

// overlapping returns a subnet that has an address in common with p.
func (s *subnets) overlapping(p netip.Prefix) (netip.Prefix, bool) {
	if q, ok := s.around(p); ok {
		return q, true
	}
	return s.within(p)
}

// routed are prefixes that no automatic pool may overlap: sorted, and none in another.
type routed []netip.Prefix

// newRouted takes the subnets of the host's routes. Default routes are no
// hindrance.
func newRouted(prefixes []netip.Prefix) routed {
	all := make(routed, 0, len(prefixes))
	for _, p := range prefixes {
		if p = p.Masked(); p.Bits() > 0 {
			all = append(all, p)
		}
	}
	slices.SortFunc(all, comparePrefixes)
	out := all[:0]
	for _, p := range all {
		if len(out) == 0 || !out[len(out)-1].Overlaps(p) {
			out = append(out, p)
		}
	}
	return out
}

func (r routed) overlapping(p netip.Prefix) (netip.Prefix, bool) {
	// The first that begins behind p's first address; the one before it may
	// reach into p or around it, and it may lie in p itself.
	i := sort.Search(len(r), func(i int) bool { return p.Addr().Less(r[i].Addr()) })
	for _, j := range []int{i - 1, i} {
		if j >= 0 && j < len(r) && r[j].Overlaps(p) {
			return r[j], true
		}
	}
	return netip.Prefix{}, false
}
