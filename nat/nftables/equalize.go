package nftables

import (
	"context"
	"fmt"
	"slices"

	"fairway/nat"
)

// tries bounds how often the table is compared again because somebody else
// changed it between reading and writing.
const tries = 3

// equalize compares the kernel with what is wanted and repairs it.
func (f *Firewall) equalize(ctx context.Context) (found []nat.Repair, err error) {
	f.kept = kept{}
	a, err := f.around(f.want.Links())
	if err != nil {
		return nil, err
	}
	s := f.want.State()
	all, own := render(s, a)
	networks := newFill()
	networks.shared(s, a)
	empty := all.empty()
	for range tries {
		if err = ctx.Err(); err != nil {
			return nil, fmt.Errorf("nftables: %w", err)
		}
		if found, err = f.compare(all, own, empty); err == nil {
			f.kept = kept{known: true, there: !empty, all: all, networks: networks, own: own}
			return found, nil
		}
		f.hangUp()
	}
	return nil, err
}

func (f *Firewall) compare(all *fill, own []chain, empty bool) ([]nat.Repair, error) {
	conn, err := f.lasting()
	if err != nil {
		return nil, err
	}
	have, there, err := read(conn, f.table)
	if err != nil {
		return nil, fmt.Errorf("nftables: read table inet %s: %w", tableName, err)
	}
	every := slices.Concat(own, chains(f.opts.Marks))
	want := wanted(every, all, f.opts.Instance)
	switch {
	case empty && !there:
		return nil, nil
	case empty:
		return []nat.Repair{{What: "inet " + tableName + ": the table was not wanted"}}, f.whole(nil, nil)
	case !there:
		return []nat.Repair{{What: "inet " + tableName + ": the table was missing"}}, f.whole(every, all.elements)
	case !sameShape(have, want):
		return repairs(have, want), f.whole(every, all.elements)
	}
	return repairs(have, want), f.write(difference(have.elements, all.elements))
}

// whole puts the table into the place of what is there; without chains, none.
// Its socket is not the lasting one: the kernel echoes rules.
func (f *Firewall) whole(every []chain, elements map[element]value) error {
	conn, err := dial()
	if err != nil {
		return err
	}
	f.opts.Step("nftables.table")
	if every == nil {
		conn.AddTable(f.table)
		conn.DelTable(f.table)
	} else if err := sendTable(conn, f.table, every, elements, f.opts.Instance); err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("nftables: set table inet %s: %w", tableName, err)
	}
	return nil
}
