package unroutable

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A step is one change of the kernel.
type step struct {
	what string // e.g. "rule 4000"
	was  string // what it was found to be: missing, or not wanted
	make func() error
}

// rules returns the three rules, those first that open.
func (t *Table) rules(family int) []*netlink.Rule {
	one := func(offset int) *netlink.Rule {
		r := netlink.NewRule()
		r.Family, r.Protocol, r.Priority = family, protocol, t.opts.Priority+offset
		return r
	}
	end, own, closed := one(2), one(0), one(1)
	end.Type = nl.FR_ACT_NOP
	own.IifName, own.Goto = "lo", t.opts.Priority+2
	closed.Table, closed.Mask = t.opts.Priority, &t.opts.Mark // mark 0 of these bits
	return []*netlink.Rule{end, own, closed}
}

// route returns the one that closes a subnet.
func (t *Table) route(family int, p netip.Prefix) *netlink.Route {
	return &netlink.Route{Family: family, Table: t.opts.Priority, Type: unix.RTN_UNREACHABLE, Protocol: protocol, Dst: network(p)}
}

// plan lists the steps from what there is to what is wanted: rules only as long
// as there are subnets. It touches nothing.
func (t *Table) plan(family int, have held, want []netip.Prefix) (steps []step) {
	var rules []*netlink.Rule
	if len(want) > 0 {
		rules = t.rules(family)
	}
	kept := map[int]bool{} // indexes of have.rules
	var adds []step
	for _, w := range rules {
		at := -1
		for i, h := range have.rules {
			if !kept[i] && same(h, *w) {
				at = i
				break
			}
		}
		if at >= 0 {
			kept[at] = true
			continue
		}
		adds = append(adds, step{fmt.Sprintf("rule %d", w.Priority), "missing", func() error { return netlink.RuleAdd(w) }})
	}
	wanted := map[string]bool{}
	for _, p := range want {
		wanted[p.String()] = true
	}
	for i := range have.routes {
		r := &have.routes[i]
		dst := r.Dst.String()
		if r.Table == t.opts.Priority && r.Type == unix.RTN_UNREACHABLE && wanted[dst] {
			delete(wanted, dst)
			continue
		}
		steps = append(steps, step{fmt.Sprintf("unreachable %s in table %d", dst, r.Table), "not wanted", func() error { return netlink.RouteDel(r) }})
	}
	for _, closes := range []bool{true, false} { // in this order, for the host's own packets
		for i := range have.rules {
			if h := &have.rules[i]; !kept[i] && closes == (h.Table != 0) {
				steps = append(steps, step{fmt.Sprintf("rule %d", h.Priority), "not wanted", func() error { return netlink.RuleDel(h) }})
			}
		}
	}
	for _, p := range want {
		if wanted[p.String()] {
			adds = append(adds, step{
				fmt.Sprintf("unreachable %s in table %d", p, t.opts.Priority), "missing",
				func() error { return netlink.RouteAdd(t.route(family, p)) },
			})
		}
	}
	return append(adds, steps...)
}

// same reports whether two rules say the same. The list of the kernel doesn't
// tell a rule's type, but one without table or target is none that we have
// beside nop.
func same(a, b netlink.Rule) bool {
	mask := func(r netlink.Rule) uint32 {
		if r.Mask == nil {
			return 0
		}
		return *r.Mask
	}
	return a.Priority == b.Priority && a.Table == b.Table && a.Goto == b.Goto && a.IifName == b.IifName && a.OifName == b.OifName &&
		a.Mark == b.Mark && mask(a) == mask(b) && !a.Invert && a.Src == nil && a.Dst == nil
}
