package ipam

import (
	"math/bits"
	"net/netip"
)

// A host is the part of an address that its subnet's prefix leaves open, as a
// number of 128 bits.
type host struct{ hi, lo uint64 }

// hostOf returns the host part of ip in subnet.
func hostOf(subnet netip.Prefix, ip netip.Addr) host {
	h := number(ip)
	open := ip.BitLen() - subnet.Bits()
	switch {
	case open < 64:
		return host{0, h.lo & (1<<open - 1)}
	case open < 128:
		return host{h.hi & (1<<(open-64) - 1), h.lo}
	}
	return h
}

// addr returns the address whose host part in subnet is h.
func (h host) addr(subnet netip.Prefix) netip.Addr {
	base := number(subnet.Addr())
	h.hi |= base.hi
	h.lo |= base.lo
	if subnet.Addr().Is4() {
		return netip.AddrFrom4([4]byte{byte(h.lo >> 24), byte(h.lo >> 16), byte(h.lo >> 8), byte(h.lo)})
	}
	var b [16]byte
	for i := range 8 {
		b[i] = byte(h.hi >> (56 - 8*i))
		b[8+i] = byte(h.lo >> (56 - 8*i))
	}
	return netip.AddrFrom16(b)
}

func number(ip netip.Addr) host {
	if ip.Is4() {
		b := ip.As4()
		return host{0, uint64(b[0])<<24 | uint64(b[1])<<16 | uint64(b[2])<<8 | uint64(b[3])}
	}
	var h host
	for i, b := range ip.As16() {
		if i < 8 {
			h.hi = h.hi<<8 | uint64(b)
		} else {
			h.lo = h.lo<<8 | uint64(b)
		}
	}
	return h
}

// windowBits is how many low bits of a host part one tree covers: a tree of
// three levels, 64 ways each but the last, which is 64 words of 64 bits.
const (
	windowBits = 24
	topLevel   = 2
)

// A set holds host parts. It answers "first one missing from here on" in a
// time that doesn't depend on how many it holds, and costs memory only where
// it holds some.
type set struct {
	near   *node          // hosts below 2^24; as high as its largest one needs
	height int            // level of near
	far    map[host]*node // trees of all others, by the host without its low 24 bits
}

// tree returns the tree that would hold h, nil if there is none yet, and its level.
func (s *set) tree(h host) (*node, int) {
	if h.hi != 0 || h.lo>>windowBits != 0 {
		return s.far[host{h.hi, h.lo >> windowBits}], topLevel
	}
	if h.lo >= span(s.height) {
		return nil, s.height
	}
	return s.near, s.height
}

func (s *set) add(h host) {
	if at := (host{h.hi, h.lo >> windowBits}); at != (host{}) {
		n := s.far[at]
		if n == nil {
			n = newNode(topLevel)
			if s.far == nil {
				s.far = map[host]*node{}
			}
			s.far[at] = n
		}
		n.add(topLevel, uint32(h.lo))
		return
	}
	for s.near == nil || h.lo >= span(s.height) {
		s.grow(h)
	}
	s.near.add(s.height, uint32(h.lo))
}

func (s *set) grow(h host) {
	if s.near == nil {
		for h.lo >= span(s.height) {
			s.height++
		}
		s.near = newNode(s.height)
		return
	}
	old := s.near
	s.near = newNode(s.height + 1)
	s.height++
	s.near.kids[0] = old
	s.near.some = 1
	if old.full == ^uint64(0) {
		s.near.full = 1
	}
}

func (s *set) remove(h host) {
	n, level := s.tree(h)
	if n == nil || !n.remove(level, uint32(h.lo)) {
		return
	}
	if n == s.near {
		s.near, s.height = nil, 0
	} else {
		delete(s.far, host{h.hi, h.lo >> windowBits})
	}
}

// next returns the first host of [from, to] that the set doesn't hold. Both
// have the same high half.
func (s *set) next(from, to host) (host, bool) {
	for from.lo <= to.lo {
		n, level := s.tree(from)
		if n == nil {
			return from, true
		}
		within := span(level) - 1
		if i, ok := n.next(level, uint32(from.lo&within)); ok {
			found := host{from.hi, from.lo&^within | uint64(i)}
			return found, found.lo <= to.lo
		}
		if from.lo = (from.lo | within) + 1; from.lo == 0 {
			break // the last address below 2^64 was in this tree
		}
	}
	return host{}, false
}

// A node is one level of a tree; above level 0 its 64 kids are nodes that are
// made when they are first needed, at level 0 they are words.
type node struct {
	full  uint64 // kids that hold all they can
	some  uint64 // kids that hold anything
	kids  *[64]*node
	words *[64]uint64
}

func newNode(level int) *node {
	if level == 0 {
		return &node{words: new([64]uint64)}
	}
	return &node{kids: new([64]*node)}
}

// span returns how many hosts a tree of that level covers.
func span(level int) uint64 { return 1 << (6 * (level + 2)) }

// place says which kid of a node at that level has i, and where in it.
func place(level int, i uint32) (kid int, rest uint32) {
	shift := 6 * (level + 1)
	return int(i >> shift & 63), i & (1<<shift - 1)
}

func (n *node) add(level int, i uint32) {
	k, rest := place(level, i)
	n.some |= 1 << k
	full := false
	if level == 0 {
		n.words[k] |= 1 << rest
		full = n.words[k] == ^uint64(0)
	} else {
		if n.kids[k] == nil {
			n.kids[k] = newNode(level - 1)
		}
		n.kids[k].add(level-1, rest)
		full = n.kids[k].full == ^uint64(0)
	}
	if full {
		n.full |= 1 << k
	}
}

// remove reports whether n holds nothing any more.
func (n *node) remove(level int, i uint32) (empty bool) {
	k, rest := place(level, i)
	n.full &^= 1 << k
	if level == 0 {
		n.words[k] &^= 1 << rest
		empty = n.words[k] == 0
	} else if empty = n.kids[k] == nil || n.kids[k].remove(level-1, rest); empty {
		n.kids[k] = nil
	}
	if empty {
		n.some &^= 1 << k
	}
	return n.some == 0
}

// next returns the first number from i on that n doesn't hold.
func (n *node) next(level int, i uint32) (uint32, bool) {
	k, rest := place(level, i)
	shift := 6 * (level + 1)
	if j, ok := n.nextIn(level, k, rest); ok {
		return uint32(k)<<shift | j, true
	}
	later := ^n.full & (^uint64(0) << (k + 1))
	if later == 0 {
		return 0, false
	}
	k = bits.TrailingZeros64(later)
	j, ok := n.nextIn(level, k, 0)
	return uint32(k)<<shift | j, ok
}

func (n *node) nextIn(level, k int, i uint32) (uint32, bool) {
	if level == 0 {
		missing := ^n.words[k] & (^uint64(0) << i)
		return uint32(bits.TrailingZeros64(missing)), missing != 0
	}
	if n.kids[k] == nil {
		return i, true
	}
	return n.kids[k].next(level-1, i)
}
