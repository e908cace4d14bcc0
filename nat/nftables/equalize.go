package nftables

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

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
	all, own := render(s, a, f.opts.Marks)
	networks := newFill()
	networks.shared(s, a, f.opts.Marks)
	empty := all.empty()
	for range tries {
		if err = ctx.Err(); err != nil {
			return nil, fmt.Errorf("nftables: %w", err)
		}
		if found, err = f.compare(all, own, empty); err == nil {
			f.kept = kept{known: true, there: !empty, all: all, networks: networks, own: own}
			return found, nil
		}
		f.settle()
	}
	return nil, err
}

func (f *Firewall) compare(all *fill, own []chain, empty bool) ([]nat.Repair, error) {
	conn, err := f.lasting()
	if err != nil {
		return nil, err
	}
	have, there, err := read(conn.Conn, f.table)
	if err != nil {
		return nil, fmt.Errorf("nftables: read table inet %s: %w", tableName, err)
	}
	every := slices.Concat(own, chains(f.opts.Marks))
	want := wanted(every, all, f.opts.Instance)
	if there && (have.persists || !f.owned) {
		if err := f.adopt(conn); err != nil {
			return nil, err
		}
	}
	switch {
	case empty && !there:
		return nil, nil
	case empty:
		return []nat.Repair{{What: "inet " + tableName + ": the table was not wanted"}}, f.remove(conn)
	case !there:
		return []nat.Repair{{What: "inet " + tableName + ": the table was missing"}}, f.whole(conn, every, all.elements, nil)
	case f.owned && !have.persists:
		found := append(repairs(have, want), nat.Repair{What: "inet " + tableName + ": others could change the table"})
		return found, f.whole(conn, every, all.elements, &have)
	case !sameShape(have, want):
		return repairs(have, want), f.whole(conn, every, all.elements, &have)
	}
	return repairs(have, want), f.write(difference(have.elements, all.elements))
}

// whole puts all that the table is to hold into the place of what it has; nil
// if there is none.
func (f *Firewall) whole(conn *socket, every []chain, elements map[element]value, have *content) (err error) {
	f.opts.Step("nftables.table")
	switch {
	case !f.owned:
		conn.AddTable(f.table)
		conn.DelTable(f.table)
		conn.AddTable(f.table)
	case have != nil && have.persists:
		sendEmptied(conn, f.table, *have)
	default: // first, since the library can't tell the flags: while it is empty nothing passes that didn't
		if err := f.make(conn, have != nil); err != nil {
			return err
		}
		defer func() {
			if err != nil { // the kernel holds what it held before
				err = errors.Join(err, f.remove(conn))
			}
		}()
	}
	if err := sendTable(conn.Conn, f.table, every, elements, f.opts.Instance); err != nil {
		f.hangUp() // a part of it waits to be sent
		return fmt.Errorf("nftables: %w", err)
	}
	err = conn.Flush()
	_ = conn.drain() // the kernel echoes rules
	if err != nil {
		return fmt.Errorf("nftables: set table inet %s: %w", tableName, err)
	}
	return nil
}

// remove deletes the table.
func (f *Firewall) remove(conn *socket) error {
	f.opts.Step("nftables.table")
	if err := conn.transact(delTable(f.table)); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("nftables: remove table inet %s: %w", tableName, err)
	}
	conn.owns = false
	return nil
}
