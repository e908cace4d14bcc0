package guard

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"fairway/nat"
)

// tries bounds how often the table is compared again because somebody else
// changed it between reading and writing.
const tries = 3

// Reconcile makes the table hold these ports and nothing else, whoever changed
// it, and says what was different. It writes nothing if nothing was.
func (g *Guard) Reconcile(ctx context.Context, want []nat.Guarded) ([]nat.Repair, error) {
	for _, p := range want {
		if err := p.Check(); err != nil {
			return nil, err
		}
	}
	if err := g.lock(ctx); err != nil {
		return nil, err
	}
	defer g.unlock()
	d := map[string]*nat.Guarded{}
	for name, p := range g.ports {
		if g.gone[name] { // Sweep's business, and no repair
			d[name] = &p
		}
	}
	for _, p := range want {
		d[p.Port] = &p
		delete(g.gone, p.Port)
	}
	clear(g.ports)
	clear(g.users)
	g.swap(d) // whatever fails: changes that come are to all of this
	return g.equalize()
}

// Repair is Reconcile with all that g was told since the last one.
func (g *Guard) Repair(ctx context.Context) ([]nat.Repair, error) {
	if err := g.lock(ctx); err != nil {
		return nil, err
	}
	defer g.unlock()
	return g.equalize()
}

// equalize compares the kernel with what is wanted and repairs it.
func (g *Guard) equalize() (found []nat.Repair, err error) {
	want := contentOf(g.ports)
	for range tries {
		if found, err = g.compare(want); err == nil {
			g.known = true
			return found, nil
		}
		g.hangUp()
	}
	return nil, err
}

func (g *Guard) compare(want content) ([]nat.Repair, error) {
	conn, err := dial() // one of its own: the kernel echoes rules
	if err != nil {
		return nil, err
	}
	have, there, err := g.read(conn)
	if err != nil {
		return nil, fmt.Errorf("guard: read table bridge %s: %w", tableName, err)
	}
	shape := g.shapeOf(want)
	found := repairs(have, shape, want.elements)
	what := "guard.elements"
	switch {
	case !there:
		found = []nat.Repair{{What: "bridge " + tableName + ": the table was missing"}}
		fallthrough
	case !maps.EqualFunc(have.chains, shape.chains, slices.Equal) || !maps.Equal(have.sets, shape.sets):
		what = "guard.table"
		err = g.whole(conn, want)
	case len(found) == 0:
		return nil, nil
	default:
		err = difference(have.elements, want.elements).send(conn, g.table)
	}
	g.opts.Step(what)
	if err == nil {
		err = conn.Flush()
	}
	if err != nil {
		return nil, fmt.Errorf("guard: set table bridge %s: %w", tableName, err)
	}
	return found, nil
}

// repairs says what in have is not as wanted.
func repairs(have, want shape, elements fill) (out []nat.Repair) {
	note := func(format string, args ...any) {
		out = append(out, nat.Repair{What: "bridge " + tableName + ": " + fmt.Sprintf(format, args...)})
	}
	for name, rules := range want.chains {
		if is, there := have.chains[name]; !there {
			note("chain %s was missing", name)
		} else if !slices.Equal(is, rules) {
			note("chain %s had other rules", name)
		}
	}
	for name := range have.chains {
		if _, ok := want.chains[name]; !ok {
			note("chain %s was not wanted", name)
		}
	}
	for name, kind := range want.sets {
		if is, there := have.sets[name]; !there {
			note("set %s was missing", name)
		} else if is != kind {
			note("set %s was another one", name)
		}
	}
	for name := range have.sets {
		if _, ok := want.sets[name]; !ok {
			note("set %s was not wanted", name)
		}
	}
	d := difference(have.elements, elements)
	missing, extra := map[string]int{}, map[string]int{}
	for e := range d.put {
		missing[e.set]++
	}
	for e := range d.gone {
		extra[e.set]++
	}
	for name := range want.sets {
		if missing[name]+extra[name] > 0 {
			note("set %s lacked %d elements and had %d others", name, missing[name], extra[name])
		}
	}
	slices.SortFunc(out, func(a, b nat.Repair) int { return cmp.Compare(a.What, b.What) })
	return out
}
