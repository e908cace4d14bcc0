package nftables

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"

	"fairway/nat"
)

// perMessage is how many elements go in one message: the length of an attribute
// has 16 bits, and an element with its comment takes up to 120 bytes.
const perMessage = 400

// verdictMap reports whether a map of ours holds verdicts.
func verdictMap(name string) bool {
	switch name {
	case mapWithin, mapFrom, mapTo, mapInto, mapLeaving + "4", mapLeaving + "6",
		mapEndpointClients + "4", mapEndpointClients + "6", mapNetworkClients + "4", mapNetworkClients + "6":
		return true
	}
	return false
}

// A change is what is written to the elements.
type change struct{ gone, put map[element]value }

func (c change) empty() bool { return len(c.gone)+len(c.put) == 0 }

// difference returns what takes have to want.
func difference(have, want map[element]value) change {
	c := change{gone: make(map[element]value, len(have)), put: make(map[element]value, len(want))}
	for e, v := range have {
		if w, ok := want[e]; !ok || w != v {
			c.gone[e] = v
		}
	}
	for e, v := range want {
		if w, ok := have[e]; !ok || w != v {
			c.put[e] = v
		}
	}
	return c
}

// elements sends a change, without a transaction's end.
func sendElements(conn *nftables.Conn, table *nftables.Table, c change) error {
	for _, part := range []struct {
		of   map[element]value
		send func(*nftables.Set, []nftables.SetElement) error
	}{{c.gone, conn.SetDeleteElements}, {c.put, conn.SetAddElements}} {
		bySet := map[string][]element{}
		for e := range part.of {
			bySet[e.set] = append(bySet[e.set], e)
		}
		for _, name := range slices.Sorted(maps.Keys(bySet)) {
			list := bySet[name]
			slices.SortFunc(list, func(a, b element) int {
				if a.key == b.key { // an interval ends before the next begins
					return cmp.Compare(order(a), order(b))
				}
				return cmp.Compare(a.key, b.key)
			})
			set := &nftables.Set{Table: table, Name: name}
			for chunk := range slices.Chunk(list, perMessage) {
				out := make([]nftables.SetElement, 0, len(chunk))
				for _, e := range chunk {
					out = append(out, elementOf(e, part.of[e]))
				}
				if err := part.send(set, out); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func order(e element) int {
	if e.end {
		return 0
	}
	return 1
}

func elementOf(e element, v value) nftables.SetElement {
	out := nftables.SetElement{Key: []byte(e.key), IntervalEnd: e.end, Comment: v.comment}
	if v.verdict != "" {
		out.VerdictData = parseVerdict(v.verdict)
	} else if v.data != "" {
		out.Val = []byte(v.data)
	}
	return out
}

// setsOf returns the sets that there always are, and those of chains.
func setsOf(all []chain) []*nftables.Set {
	out := sets()
	for _, c := range all {
		out = append(out, c.sets...)
	}
	return out
}

// sendTable sends all that an empty table is to hold. Sets come before the
// rules that use them, chains before the elements that go to them.
func sendTable(conn *nftables.Conn, table *nftables.Table, all []chain, elements map[element]value, instance string) error {
	return sendAll(conn, table, setsOf(all), all, elements, instance)
}

// sendAll is sendTable, of a table with just those sets.
func sendAll(conn *nftables.Conn, table *nftables.Table, sets []*nftables.Set, all []chain, elements map[element]value, instance string) error {
	for _, s := range sets {
		s.Table = table
		if err := conn.AddSet(s, nil); err != nil {
			return fmt.Errorf("set %s: %w", s.Name, err)
		}
	}
	made := map[string]*nftables.Chain{}
	for _, c := range all {
		ch := &nftables.Chain{Name: c.name, Table: table}
		if c.hook != nil {
			ch.Type, ch.Hooknum, ch.Priority = c.kind, c.hook, nftables.ChainPriorityRef(nftables.ChainPriority(c.priority))
		}
		made[c.name] = conn.AddChain(ch)
	}
	for _, c := range all {
		for _, r := range c.rules {
			conn.AddRule(&nftables.Rule{
				Table: table, Chain: made[c.name], Exprs: slices.Clone[[]expr.Any](r.exprs),
				UserData: userdata.AppendString(nil, userdata.TypeComment, ruleComment(instance, r.comment)),
			})
		}
	}
	return sendElements(conn, table, change{put: elements})
}

// repairs says what in have is not as in want.
func repairs(have, want content) (out []nat.Repair) {
	note := func(format string, args ...any) {
		out = append(out, nat.Repair{What: "inet " + tableName + ": " + fmt.Sprintf(format, args...)})
	}
	for name, hook := range want.chains {
		is, there := have.chains[name]
		switch {
		case !there:
			note("chain %s was missing", name)
		case is != hook:
			note("chain %s was hooked in as %q", name, is)
		case !slices.Equal(have.rules[name], want.rules[name]):
			note("chain %s had other rules (%d, want %d)", name, len(have.rules[name]), len(want.rules[name]))
		}
	}
	for name := range have.chains {
		if _, ok := want.chains[name]; !ok {
			note("chain %s was not wanted", name)
		}
	}
	for name, types := range want.sets {
		if is, there := have.sets[name]; !there {
			note("set %s was missing", name)
		} else if is != types {
			note("set %s was another one", name)
		}
	}
	for name := range have.sets {
		if _, ok := want.sets[name]; !ok {
			note("set %s was not wanted", name)
		}
	}
	missing, changed, extra := map[string]int{}, map[string]int{}, map[string]int{}
	for e, v := range want.elements {
		if w, ok := have.elements[e]; !ok {
			missing[e.set]++
		} else if w != v {
			changed[e.set]++
		}
	}
	for e := range have.elements {
		if _, ok := want.elements[e]; !ok {
			extra[e.set]++
		}
	}
	for name := range want.sets {
		if m, c, x := missing[name], changed[name], extra[name]; m+c+x > 0 {
			note("set %s lacked %d elements, had %d others and %d with another value", name, m, x, c)
		}
	}
	slices.SortFunc(out, func(a, b nat.Repair) int { return cmp.Compare(a.What, b.What) })
	return out
}

// sameShape reports whether chains, rules and sets are as wanted, so that
// elements are all there is to write.
func sameShape(have, want content) bool {
	if !maps.Equal(have.chains, want.chains) || !maps.Equal(have.sets, want.sets) {
		return false
	}
	for name := range want.chains {
		if !slices.Equal(have.rules[name], want.rules[name]) {
			return false
		}
	}
	return true
}

// sameChains reports whether two lists of chains say the same.
func sameChains(a, b []chain, instance string) bool {
	one, other := wanted(a, newFill(), instance), wanted(b, newFill(), instance)
	return reflect.DeepEqual(one, other)
}
