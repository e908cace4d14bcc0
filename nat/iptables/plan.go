package iptables

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"fairway/nat"
)

// A plan is what makes the kernel equal to what is wanted: one input for
// iptables-restore --noflush, and what was found different.
type plan struct {
	tables map[string]*script
	found  []nat.Repair
}

// A script is the part for one table. Chains are made before they are jumped
// to, and emptied before they are removed.
type script struct{ make, hook, remove []string }

func (p *plan) table(name string) *script {
	if p.tables[name] == nil {
		p.tables[name] = &script{}
	}
	return p.tables[name]
}

func (p *plan) note(table, format string, args ...any) {
	p.found = append(p.found, nat.Repair{What: table + ": " + fmt.Sprintf(format, args...)})
}

// text returns the input for iptables-restore; "" if there is nothing to do.
// Each table changes at once, one after the other: what closes comes first.
func (p *plan) text() string {
	var b strings.Builder
	for _, table := range []string{"filter", "raw", "mangle", "nat"} {
		s := p.tables[table]
		if s == nil {
			continue
		}
		b.WriteString("*" + table + "\n")
		for _, line := range slices.Concat(s.make, s.hook, s.remove) {
			b.WriteString(line + "\n")
		}
		b.WriteString("COMMIT\n")
	}
	return b.String()
}

// compare plans the way from have to want. It touches nothing.
func compare(have saved, want ruleset, instance string) *plan {
	p := &plan{tables: map[string]*script{}}
	wanted := map[chainKey]bool{}
	for _, c := range want.chains {
		wanted[chainKey{c.table, c.name}] = true
		p.chain(have, c)
	}
	for _, table := range slices.Sorted(maps.Keys(have)) {
		p.hooks(have, want, table, instance)
		p.leftovers(have, wanted, table, instance)
	}
	for _, h := range want.hooks { // tables that nobody used yet
		if have[h.table] == nil && !h.optional {
			p.table(h.table).hook = append(p.table(h.table).hook, "-A "+h.chain+" "+h.text)
			p.note(h.table, "jump from %s to %s was missing", h.chain, target(h.text))
		}
	}
	slices.SortFunc(p.found, func(a, b nat.Repair) int { return strings.Compare(a.What, b.What) })
	return p
}

// chain writes c anew if it differs. iptables-restore empties a chain that it
// reads a ":" line for.
func (p *plan) chain(have saved, c chain) {
	is, exists := have[c.table][c.name]
	missing, extra := difference(is, c.rules)
	switch {
	case !exists:
		p.note(c.table, "chain %s was missing", c.name)
	case missing+extra > 0:
		p.note(c.table, "chain %s lacked %d rules and had %d others", c.name, missing, extra)
	case !ordered(is, c.rules):
		p.note(c.table, "chain %s was out of order", c.name)
	default:
		return
	}
	s := p.table(c.table)
	s.make = append(s.make, fmt.Sprintf(":%s - [0:0]", c.name))
	for _, r := range c.rules {
		s.hook = append(s.hook, "-A "+c.name+" "+r.text)
	}
}

// difference counts the rules that are wanted and not there, and the reverse.
func difference(have []string, want []rule) (missing, extra int) {
	n := map[string]int{}
	for _, r := range want {
		n[canonical(r.text)]++
	}
	for _, h := range have {
		n[canonical(h)]--
	}
	for _, d := range n {
		if d > 0 {
			missing += d
		} else {
			extra -= d
		}
	}
	return missing, extra
}

// ordered reports whether have, the same rules as want, goes by rank.
func ordered(have []string, want []rule) bool {
	ranks := map[string][]int{}
	for _, r := range want {
		k := canonical(r.text)
		ranks[k] = append(ranks[k], r.rank)
	}
	last := 0
	for _, h := range have {
		k := canonical(h)
		rank := ranks[k][0]
		ranks[k] = ranks[k][1:]
		if rank < last {
			return false
		}
		last = rank
	}
	return true
}

// hooks puts the jumps into the chains of a table that are not ours.
func (p *plan) hooks(have saved, want ruleset, table, instance string) {
	for _, name := range slices.Sorted(maps.Keys(have[table])) {
		rules := have[table][name]
		if strings.HasPrefix(name, chainPrefix) {
			continue
		}
		var wanted []hook
		for _, h := range want.hooks {
			if h.table == table && h.chain == name {
				wanted = append(wanted, h)
			}
		}
		p.hooksOf(table, name, rules, wanted, instance)
	}
	for _, h := range want.hooks { // a base chain that is not listed
		if h.table == table && !have.has(table, h.chain) && !h.optional {
			p.table(table).hook = append(p.table(table).hook, "-A "+h.chain+" "+h.text)
			p.note(table, "jump from %s to %s was missing", h.chain, target(h.text))
		}
	}
}

// hooksOf puts the wanted jumps into one chain, and takes out what is ours and
// not wanted.
func (p *plan) hooksOf(table, name string, rules []string, wanted []hook, instance string) {
	s := p.table
	found := map[string]bool{}
	rest := slices.Clone(rules)
	remove := func(i int) {
		s(table).hook = append(s(table).hook, "-D "+name+" "+rest[i])
		rest = slices.Delete(rest, i, i+1)
	}
	for i := 0; i < len(rest); {
		text := rest[i]
		if !strings.HasPrefix(target(text), chainPrefix) || !marked(text, instance) {
			i++
			continue
		}
		k := canonical(text)
		if slices.ContainsFunc(wanted, func(h hook) bool { return canonical(h.text) == k }) && !found[k] {
			found[k] = true
			i++
			continue
		}
		p.note(table, "jump from %s to %s was not wanted", name, target(text))
		// -D takes the first of its kind; of two alike it doesn't matter which.
		if found[k] {
			i = slices.IndexFunc(rest, func(r string) bool { return canonical(r) == k })
		}
		remove(i)
	}
	for _, h := range wanted {
		k := canonical(h.text)
		at := slices.IndexFunc(rest, func(r string) bool { return canonical(r) == k })
		if at >= 0 && h.place.right(rest, at) {
			continue
		}
		what := "missing"
		if at >= 0 {
			what = "out of place"
			remove(at)
		}
		p.note(table, "jump from %s to %s was %s", name, target(h.text), what)
		at = h.place.index(rest)
		s(table).hook = append(s(table).hook, fmt.Sprintf("-I %s %d %s", name, at+1, h.text))
		rest = slices.Insert(rest, at, h.text)
	}
}

// leftovers removes chains of ours that nobody wants. A chain with rules of
// another instance is not ours.
func (p *plan) leftovers(have saved, wanted map[chainKey]bool, table, instance string) {
	var empty, drop []string
	for name, rules := range have[table] {
		if !strings.HasPrefix(name, chainPrefix) || wanted[chainKey{table, name}] {
			continue
		}
		if slices.ContainsFunc(rules, func(r string) bool {
			return strings.HasPrefix(comment(r), "fairway:") && !marked(r, instance)
		}) {
			continue
		}
		p.note(table, "chain %s was not wanted", name)
		empty, drop = append(empty, "-F "+name), append(drop, "-X "+name)
	}
	if len(drop) > 0 {
		slices.Sort(empty)
		slices.Sort(drop)
		p.table(table).remove = append(empty, drop...)
	}
}

// marked reports whether a rule carries the instance's comment.
func marked(text, instance string) bool {
	c := comment(text)
	return c == "fairway:"+instance || strings.HasPrefix(c, "fairway:"+instance+":")
}
