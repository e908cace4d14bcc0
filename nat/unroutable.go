package nat

import (
	"fmt"
	"math/bits"

	"net/netip"
	"slices"
)

// Marks are the bits of a packet's mark that are ours.
type Marks struct {
	Reach uint32 // this one may be routed to a fairway subnet
	// Carry: this one is an answer to a client whose address the daemon's own
	// socket has (package proxy), and goes to that socket.
	Carry uint32
}

// DefaultMask has the bits of the default marks. Kubernetes has 0x4000 and
// 0x8000, Tailscale 0xff0000, wg-quick whole marks of 16 bits.
const DefaultMask = 0x30000000

// MarksOf shares the bits of a mask out: the highest one is Carry.
func MarksOf(mask uint32) (Marks, error) {
	if bits.OnesCount32(mask) < 2 {
		return Marks{}, fmt.Errorf("mark mask %#x: want at least two bits", mask)
	}
	carry := uint32(1) << (bits.Len32(mask) - 1)
	return Marks{Reach: mask &^ carry, Carry: carry}, nil
}

// All returns the bits of both.
func (m Marks) All() uint32 { return m.Reach | m.Carry }

// Unroutable returns the subnets that only marked packets are routed to: those
// of a bridge that has an address in them, sorted, none within another. It
// leaves out what every port of can be reached by routing, and what is on a
// bridge that leads to the outside: the host's own LAN may be in it.
func (s State) Unroutable(a Around) (out []netip.Prefix) {
	for _, n := range s.Networks {
		if n.Beside || a.Uplinks[n.Link] {
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

// Carries reports whether ports of s's networks may be carried under clients' own
// addresses in a family: those that it translates otherwise.
func (s State) Carries(v6 bool) bool {
	return slices.ContainsFunc(s.Networks, func(n Network) bool {
		return !n.Internal && !n.Beside && slices.ContainsFunc(n.Families, func(f Family) bool { return f.Is6() == v6 && f.Mode == ModeNAT })
	})
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
