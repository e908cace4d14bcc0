package unroutable

import (
	"fmt"

	"github.com/vishvananda/netlink"

	"fairway/nat"
)

// Compare says what in the kernel differs from what networks need, as Reconcile
// would find it. It changes nothing.
func (t *Table) Compare(networks []nat.Network) (found []nat.Repair, err error) {
	state := nat.State{Networks: networks}
	a, err := t.around(nat.Links(state))
	if err != nil {
		return nil, err
	}
	for _, family := range t.families {
		have, err := t.read(family)
		if err != nil {
			return found, err
		}
		for _, s := range t.plan(family, have, t.wanted(state, a, family)) {
			found = append(found, nat.Repair{What: name(family) + " " + s.what + " was " + s.was})
		}
	}
	return found, nil
}

// Clashes says, a line each, what others have that ours doesn't go with.
func (t *Table) Clashes() (out []string, err error) {
	for _, family := range t.families {
		lines, err := t.clashes(family)
		if err != nil {
			return nil, err
		}
		out = append(out, lines...)
	}
	return out, nil
}

// clashes returns a line for each rule or route of another that ours don't go
// with, in a family.
func (t *Table) clashes(family int) (out []string, err error) {
	rules, err := netlink.RuleList(family)
	if err != nil {
		return nil, fmt.Errorf("unroutable: list rules: %w", err)
	}
	for _, r := range rules {
		if why := t.clash(r); why != "" {
			out = append(out, name(family)+" "+why)
		}
	}
	for _, table := range []int{t.opts.Priority, t.answers()} {
		routes, err := netlink.RouteListFiltered(family, &netlink.Route{Table: table}, netlink.RT_FILTER_TABLE)
		if err != nil {
			continue // no such table
		}
		for _, r := range routes {
			if r.Protocol != Protocol {
				out = append(out, fmt.Sprintf("%s table %d holds another's route to %s, which packets will take: choose another --rule-priority", name(family), table, r.Dst))
				break
			}
		}
	}
	return out, nil
}
