package nat

import (
	"net/netip"
	"slices"
)

// DefaultMark is the bit of a packet's mark that says: this one may be routed
// to a fairway subnet. Kubernetes has 0x4000 and 0x8000, Tailscale 0xff0000,
// wg-quick whole marks of 16 bits.
const DefaultMark = 0x10000000

// Unroutable returns the subnets that only marked packets are routed to: those
// of a bridge that has an address in them, sorted, none within another. It
// leaves out what every port of can be reached by routing, and what is on a
// bridge that leads to the outside: the host's own LAN may be in it.
func (s State) Unroutable(a Around) (out []netip.Prefix) {
	for _, n := range s.Networks {
		if a.Uplinks[n.Link] {
			continue
		}
		for _, f := range n.Families {
			if f.unroutable(n) {
				out = append(out, f.Subnet.Masked())
			}
		}
	}
	slices.SortFunc(out, func(a, b netip.Prefix) int {
		if c := a.Addr().Compare(b.Addr()); c != 0 {
			return c
		}
		return a.Bits() - b.Bits()
	})
	var last netip.Prefix
	return slices.DeleteFunc(out, func(p netip.Prefix) bool {
		if last.IsValid() && last.Overlaps(p) {
			return true
		}
		last = p
		return false
	})
}

func (f Family) unroutable(n Network) bool {
	return f.Mode != IsolatedGateway && (n.Internal || f.Mode != Unprotected)
}

// Pinged returns the unroutable subnets whose mode lets echo requests of
// others, and all other ICMP, pass.
func (s State) Pinged(a Around) []netip.Prefix {
	routed := State{}
	for _, n := range s.Networks {
		n.Families = slices.DeleteFunc(slices.Clone(n.Families), func(f Family) bool { return f.Mode != Routed })
		if !n.Internal {
			routed.Networks = append(routed.Networks, n)
		}
	}
	return routed.Unroutable(a)
}
