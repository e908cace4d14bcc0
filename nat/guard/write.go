package guard

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/userdata"
)

// perMessage is how many elements go in one message: the length of an attribute
// has 16 bits.
const perMessage = 400

// A change is what is written to the elements.
type change struct{ gone, put fill }

// difference returns what takes have to want.
func difference(have, want fill) change {
	c := change{gone: fill{}, put: fill{}}
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

// send adds a change to what conn sends next.
func (c change) send(conn *nftables.Conn, table *nftables.Table) error {
	for _, part := range []struct {
		of   fill
		send func(*nftables.Set, []nftables.SetElement) error
	}{{c.gone, conn.SetDeleteElements}, {c.put, conn.SetAddElements}} {
		bySet := map[string][]element{}
		for e := range part.of {
			bySet[e.set] = append(bySet[e.set], e)
		}
		for _, name := range slices.Sorted(maps.Keys(bySet)) {
			list := bySet[name]
			slices.SortFunc(list, func(a, b element) int {
				return cmp.Or(cmp.Compare(a.key, b.key), ends(b)-ends(a)) // an interval ends before the next begins
			})
			for chunk := range slices.Chunk(list, perMessage) {
				out := make([]nftables.SetElement, 0, len(chunk))
				for _, e := range chunk {
					out = append(out, e.message(part.of[e]))
				}
				if err := part.send(&nftables.Set{Table: table, Name: name}, out); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func ends(e element) int {
	if e.end {
		return 1
	}
	return 0
}

// whole adds the table to what conn sends next, in place of what there is.
func (g *Guard) whole(conn *nftables.Conn, c content) error {
	conn.AddTable(g.table)
	conn.DelTable(g.table)
	conn.AddTable(g.table)
	if err := g.addSets(conn, c.sets()); err != nil {
		return err
	}
	g.addChains(conn, c.chains())
	return change{put: c.elements}.send(conn, g.table)
}

func (g *Guard) addSets(conn *nftables.Conn, sets []*nftables.Set) error {
	for _, s := range sets {
		s.Table = g.table
		if err := conn.AddSet(s, nil); err != nil {
			return fmt.Errorf("set %s: %w", s.Name, err)
		}
	}
	return nil
}

func (g *Guard) addChains(conn *nftables.Conn, chains []chain) {
	made := map[string]*nftables.Chain{}
	for _, c := range chains {
		ch := &nftables.Chain{Name: c.name, Table: g.table}
		if c.base {
			ch.Type, ch.Hooknum, ch.Priority = nftables.ChainTypeFilter, nftables.ChainHookPrerouting, nftables.ChainPriorityRef(priority)
		}
		made[c.name] = conn.AddChain(ch)
	}
	for _, c := range chains {
		for _, r := range c.rules {
			conn.AddRule(&nftables.Rule{
				Table: g.table, Chain: made[c.name], Exprs: r.exprs,
				UserData: userdata.AppendString(nil, userdata.TypeComment, g.comment(r)),
			})
		}
	}
}

// comment marks a rule as the instance's and says what it is for.
func (g *Guard) comment(r rule) string {
	if r.comment == "" {
		return "fairway:" + g.opts.Instance
	}
	return "fairway:" + g.opts.Instance + " " + r.comment
}

// step adds to what conn sends next what takes from to to. The lists are those
// that come with to, and those that go with from, whose elements go with them.
func (g *Guard) step(conn *nftables.Conn, from, to content) error {
	for _, l := range sorted(to.lists) {
		if err := g.addSets(conn, l.sets()); err != nil {
			return err
		}
		g.addChains(conn, l.chains())
	}
	if err := difference(from.elements, to.elements).send(conn, g.table); err != nil {
		return err
	}
	for _, l := range sorted(from.lists) {
		for _, ch := range l.chains() {
			conn.DelChain(&nftables.Chain{Name: ch.name, Table: g.table})
		}
		for _, s := range l.sets() {
			s.Table = g.table
			conn.DelSet(s)
		}
	}
	return nil
}

func sorted(lists map[string]list) (out []list) {
	for _, key := range slices.Sorted(maps.Keys(lists)) {
		out = append(out, lists[key])
	}
	return out
}
