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

// rules returns the four rules, those first that open. That for answers has the
// priority of the one that closes: what carries its bit carries the other, too.
func (t *Table) rules(family, first int) []*netlink.Rule {
	one := func(offset int) *netlink.Rule {
		r := netlink.NewRule()
		r.Family, r.Protocol, r.Priority = family, Protocol, first+offset
		return r
	}
	end, own, closed, answers := one(2), one(0), one(1), one(1)
	end.Type = nl.FR_ACT_NOP
	own.IifName, own.Goto = "lo", first+2
	closed.Table, closed.Mask = t.opts.Priority, &t.opts.Marks.Reach // mark 0 of these bits
	answers.Table, answers.Mark, answers.Mask = t.answers(), t.opts.Marks.Carry, &t.opts.Marks.Carry
	return []*netlink.Rule{end, own, answers, closed}
}

// first returns the priority of the first rule: as set, or lower where another's
// rule is before it, which would route what ours close. A rule that is added
// without a priority, as by wg-quick(8), gets there: one below the lowest
// (fib_default_rule_pref in the kernel's net/core/fib_rules.c).
func (t *Table) first(have held) int {
	if have.lowest > 3 && have.lowest < t.opts.Priority {
		return have.lowest - 3
	}
	return t.opts.Priority
}

// answers returns the number of the table that leads to the host itself.
func (t *Table) answers() int { return t.opts.Priority + 1 }

// route returns the one that closes a subnet.
func (t *Table) route(family int, p netip.Prefix) *netlink.Route {
	return &netlink.Route{Family: family, Table: t.opts.Priority, Type: unix.RTN_UNREACHABLE, Protocol: Protocol, Dst: network(p)}
}

// toHost returns the route by which answers come to a socket of the host's that
// has another's address: IP_TRANSPARENT of ip(7).
func (t *Table) toHost(family int) *netlink.Route {
	everywhere := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	if family == unix.AF_INET6 {
		everywhere = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	return &netlink.Route{
		Family: family, Table: t.answers(), Type: unix.RTN_LOCAL, Protocol: Protocol,
		Scope: netlink.SCOPE_HOST, LinkIndex: loopback, Dst: network(everywhere),
	}
}

const loopback = 1 // LOOPBACK_IFINDEX of the kernel: the index of lo in every namespace

// plan lists the steps from what there is to what is wanted. It touches nothing.
func (t *Table) plan(family int, have held, want wanted) (steps []step) {
	var rules []*netlink.Rule
	if want.any() {
		rules = t.rules(family, t.first(have))
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
	missing := map[string]bool{}
	for _, p := range want.closed {
		missing[p.String()] = true
	}
	lacksHost := want.any()
	for i := range have.routes {
		r := &have.routes[i]
		dst := destination(r)
		switch {
		case r.Table == t.opts.Priority && r.Type == unix.RTN_UNREACHABLE && missing[dst]:
			delete(missing, dst)
			continue
		case r.Table == t.answers() && r.Type == unix.RTN_LOCAL && r.LinkIndex == loopback && dst == "default" && lacksHost:
			lacksHost = false
			continue
		}
		steps = append(steps, step{fmt.Sprintf("%s %s in table %d", routeType(r), dst, r.Table), "not wanted", func() error { return netlink.RouteDel(r) }})
	}
	for _, closes := range []bool{true, false} { // in this order, for the host's own packets
		for i := range have.rules {
			if h := &have.rules[i]; !kept[i] && closes == (h.Table != 0) {
				steps = append(steps, step{fmt.Sprintf("rule %d", h.Priority), "not wanted", func() error { return netlink.RuleDel(h) }})
			}
		}
	}
	if lacksHost {
		adds = append(adds, step{
			fmt.Sprintf("local default in table %d", t.answers()), "missing",
			func() error { return netlink.RouteAdd(t.toHost(family)) },
		})
	}
	for _, p := range want.closed {
		if missing[p.String()] {
			adds = append(adds, step{
				fmt.Sprintf("unreachable %s in table %d", p, t.opts.Priority), "missing",
				func() error { return netlink.RouteAdd(t.route(family, p)) },
			})
		}
	}
	return append(adds, steps...)
}

// destination returns where a route leads, as ip-route(8) writes it.
func destination(r *netlink.Route) string {
	if r.Dst == nil {
		return "default"
	}
	if ones, _ := r.Dst.Mask.Size(); ones == 0 {
		return "default"
	}
	return r.Dst.String()
}

func routeType(r *netlink.Route) string {
	if r.Type == unix.RTN_LOCAL {
		return "local"
	}
	return "unreachable"
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
