package guard

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"fairway/nat"
)

// An element is one of a set: the end of an interval is an element, too.
type element struct {
	set, key string // the key as the kernel has it
	end      bool
}

// A value is where an element of a map of verdicts goes to, and a comment.
type value struct{ chain, comment string }

// A fill is the content of all sets, or of a part.
type fill map[element]value

// elementsOf returns what is g's alone; nothing for nil.
func elementsOf(g *nat.Guarded) fill {
	f := fill{}
	if g == nil {
		return f
	}
	port, note := make([]byte, unix.IFNAMSIZ), value{comment: g.ID[:min(len(g.ID), 12)]}
	copy(port, g.Port)
	key := func(more []byte) string {
		padded := append(port[:len(port):len(port)], more...)
		for len(padded)%4 != 0 { // parts of a concatenation fill registers
			padded = append(padded, 0)
		}
		return string(padded)
	}
	f[element{set: setDenied, key: string(port)}] = note
	for _, m := range g.MACs {
		f[element{set: setMACs, key: key(m)}] = note
		f[element{set: setOwn6, key: key(nat.LinkLocal(m).AsSlice())}] = note
	}
	for _, a := range g.Addresses {
		set := setOwn4
		if a.Is6() {
			set = setOwn6
		}
		f[element{set: set, key: key(a.AsSlice())}] = note
	}
	if len(g.Prefixes) > 0 {
		l := listOf(g.Prefixes)
		f[element{set: mapAlso, key: string(port)}] = value{l.name(mapAlso), note.comment}
		f[element{set: mapClaim, key: string(port)}] = value{l.name(mapClaim), note.comment}
	}
	return f
}

// A list is prefixes that some ports may send from, too: chains and interval
// sets of its own, since intervals that are part of a concatenation are
// searched one after the other.
type list struct {
	key      string
	prefixes []netip.Prefix
}

func listOf(prefixes []netip.Prefix) list {
	sum := sha256.Sum256(fmt.Append(nil, prefixes))
	return list{hex.EncodeToString(sum[:6]), prefixes}
}

func (l list) name(what string) string { return what + "-" + l.key }

func (l list) sets() []*nftables.Set {
	return []*nftables.Set{
		{Name: l.name("also4"), Comment: "prefixes of one or more ports", KeyType: nftables.TypeIPAddr, Interval: true},
		{Name: l.name("also6"), Comment: "prefixes of one or more ports", KeyType: nftables.TypeIP6Addr, Interval: true},
	}
}

func (l list) chains() []chain {
	v4, v6 := l.name("also4"), l.name("also6")
	return []chain{
		{name: l.name(mapAlso), rules: []rule{
			mk("the source is in a prefix", protocol(unix.ETH_P_IP), source4().in(v4), accept()),
			mk("the source is in a prefix", protocol(unix.ETH_P_IPV6), source6().in(v6), accept()),
			mk("the sender is in a prefix", protocol(unix.ETH_P_ARP), arpIP().in(v4), accept()),
		}},
		{name: l.name(mapClaim), rules: []rule{
			mk("a probe for one of a prefix", protocol(unix.ETH_P_ARP), arpTarget().in(v4), accept()),
			mk("detection of duplicates of one of a prefix", protocol(unix.ETH_P_IPV6), ndTarget().in(v6), source6().is([]byte(unspecified6)...), accept()),
			mk("the target is in a prefix", protocol(unix.ETH_P_IPV6), ndTarget().in(v6), goTo(chainOwn6)),
		}},
	}
}

func (l list) elements() fill {
	f := fill{}
	for _, p := range l.prefixes {
		set := l.name("also4")
		if p.Addr().Is6() {
			set = l.name("also6")
		}
		last := p.Addr().AsSlice()
		for i := p.Bits(); i < len(last)*8; i++ {
			last[i/8] |= 0x80 >> (i % 8)
		}
		f[element{set: set, key: string(p.Addr().AsSlice())}] = value{}
		end, _ := netip.AddrFromSlice(last)
		if end = end.Next(); end.IsValid() { // else it goes to the end of all
			f[element{set: set, key: string(end.AsSlice()), end: true}] = value{}
		}
	}
	return f
}

// A content is all that the table holds, or that some ports need of it.
type content struct {
	lists    map[string]list // by key
	elements fill
}

// contentOf returns what the table holds for ports.
func contentOf(ports map[string]nat.Guarded) content {
	c := content{lists: map[string]list{}, elements: fill{}}
	for _, g := range ports {
		maps.Copy(c.elements, elementsOf(&g))
		if len(g.Prefixes) > 0 {
			l := listOf(g.Prefixes)
			c.lists[l.key] = l
			maps.Copy(c.elements, l.elements())
		}
	}
	return c
}

// chains returns all chains, each behind those it goes to.
func (c content) chains() []chain {
	out := chains()
	for _, l := range sorted(c.lists) {
		out = append(out, l.chains()...)
	}
	return out
}

func (c content) sets() []*nftables.Set {
	out := sets()
	for _, l := range sorted(c.lists) {
		out = append(out, l.sets()...)
	}
	return out
}

// message returns an element as the library takes it.
func (e element) message(v value) nftables.SetElement {
	out := nftables.SetElement{Key: []byte(e.key), IntervalEnd: e.end, Comment: v.comment}
	if v.chain != "" {
		out.VerdictData = &expr.Verdict{Kind: expr.VerdictGoto, Chain: v.chain}
	}
	return out
}
