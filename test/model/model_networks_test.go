package model

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"fairway/store"
)

func (m *model) createNetwork(r request, o outcome) (why string, err error) {
	f, fact := fateOf(m.networks, r.network), &netFact{m.engine(r.engine), netForm(r)}
	for _, other := range f.facts() {
		if other.form != fact.form {
			why = "is there with other settings"
		}
	}
	for id, other := range m.networks {
		if id != r.network && slices.ContainsFunc(other.facts(), func(n *netFact) bool { return formsOverlap(n.form, fact.form) }) {
			why = "overlaps " + id
			m.takeOver(id)
		}
	}
	if r.shape.bad {
		why = "bad options"
		if o.ok() {
			return why, fmt.Errorf("bad options accepted")
		}
	}
	if o.ok() && f.sure() != nil && f.sure().form != fact.form {
		return why, fmt.Errorf("accepted in place of %s", f.sure().form)
	}
	if o.ok() && f.sure() != nil { // the same again: what was there is there
		return why, nil
	}
	settle(m, f, o, fact, false)
	m.bear(r.network)
	return why, nil
}

// takeOver notes that a network may be gone for another one's sake, if Docker has
// given a pool of it back.
func (m *model) takeOver(id string) {
	f := m.networks[id]
	if !m.loose && !slices.ContainsFunc(f.facts(), func(n *netFact) bool { return m.givenUp(id, n) }) {
		return
	}
	f.add(nil)
	for _, e := range m.endpoints {
		if slices.ContainsFunc(e.facts(), func(e *epFact) bool { return e.network == id }) {
			e.add(nil)
		}
	}
}

// givenUp reports whether a network has a subnet of fairway's without a pool that
// was requested before the network was made.
func (m *model) givenUp(id string, n *netFact) bool {
	if !strings.Contains(n.form, "fairway-") {
		return false
	}
	return slices.ContainsFunc(prefixesIn(n.form), func(p netip.Prefix) bool {
		for pool, f := range m.pools {
			if s := f.sure(); s != nil && s.subnet == p.String() && m.born[pool] < m.born[id] {
				return false
			}
		}
		return true
	})
}

func netForm(r request) string {
	var subnets []string
	for _, s := range r.subnets {
		subnets = append(subnets, fmt.Sprint(s.space, s.prefix, s.gateway, s.aux))
	}
	return fmt.Sprint(r.shape.options, r.shape.internal, r.shape.v4 != "", r.shape.v6 != "", subnets)
}

func netFactOf(n store.Network) netFact {
	var subnets []string
	for _, s := range n.Subnets {
		subnets = append(subnets, fmt.Sprint(s.Space, s.Prefix, s.Gateway, s.Aux["DefaultGatewayIPv4"]))
	}
	return netFact{n.Engine, fmt.Sprint(n.Options, n.Internal, n.IPv4, n.IPv6, subnets)}
}

// formsOverlap reports whether two networks have a subnet in common.
func formsOverlap(a, b string) bool {
	for _, p := range prefixesIn(a) {
		for _, q := range prefixesIn(b) {
			if p.Overlaps(q) {
				return true
			}
		}
	}
	return false
}

func prefixesIn(form string) (out []netip.Prefix) {
	for _, word := range strings.FieldsFunc(form, func(r rune) bool { return strings.ContainsRune(" []", r) }) {
		if i := strings.LastIndexFunc(word, func(r rune) bool { return r > 'f' || r == '-' }); i >= 0 {
			word = word[i+1:] // the address space before it
		}
		if p, err := netip.ParsePrefix(word); err == nil {
			out = append(out, p)
		}
	}
	return out
}

// crowded reports whether a network may be on the bridge that is nearly full.
func (m *model) crowded(network string) bool {
	return slices.ContainsFunc(m.networks[network].facts(), func(n *netFact) bool {
		return strings.Contains(n.form, label+"name:"+crowdedBridge)
	})
}
