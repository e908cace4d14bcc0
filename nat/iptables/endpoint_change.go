package iptables

import (
	"maps"
	"slices"

	"fairway/nat"
)

// endpointChange returns the input for iptables-restore that takes the rules
// of the endpoints in before to what after says of them, in one family; "" if
// they are the same.
func endpointChange(before, after nat.Delta, v6 bool, instance string, marks nat.Marks) string {
	p := &plan{tables: map[string]*script{}}
	for _, id := range slices.Sorted(maps.Keys(before.Endpoints)) {
		was := endpointRulesOf(before.Endpoints[id], v6, instance, marks)
		is := endpointRulesOf(after.Endpoints[id], v6, instance, marks)
		for _, r := range was {
			if !slices.Contains(is, r) {
				p.table(r.table).make = append(p.table(r.table).make, "-D "+r.name+" "+r.text)
			}
		}
		for _, r := range is {
			if slices.Contains(was, r) {
				continue
			}
			verb := "-A "
			if r.rank == 0 {
				verb = "-I "
			}
			p.table(r.table).hook = append(p.table(r.table).hook, verb+r.name+" "+r.text)
		}
	}
	return p.text()
}
