package driver

import (
	"slices"

	"fairway/store"
)

// debts are changes of records that are to be committed with the next call or by
// Run: their loss in a crash does no harm, or a commit of them has just failed.
type debts struct {
	changes []store.Change
	taken   int            // commits under way that took changes along
	since   []store.Change // all that was begun while there were any
	landed  chan struct{}  // closed when there are none any more
}

// take returns what is owed, for a commit of it together with changes, and a
// function that takes the outcome. What a newer commit has replaced meanwhile is
// not owed again: a record must not go back to what it was. The caller holds the
// driver's lock at both times.
func (o *debts) take(changes []store.Change) (all []store.Change, outcome func(error)) {
	owed := o.changes
	o.changes = nil
	all = slices.Concat(owed, changes)
	if o.taken > 0 {
		o.since = append(o.since, all...)
	}
	if len(owed) == 0 {
		return all, nil
	}
	if o.taken == 0 {
		o.landed = make(chan struct{})
	}
	o.taken++
	begun := len(o.since)
	return all, func(err error) {
		if err != nil {
			newer := o.since[begun:]
			owed = slices.DeleteFunc(owed, func(c store.Change) bool { return slices.ContainsFunc(newer, c.Replaces) })
			o.changes = append(owed, o.changes...) // before those that came to be owed since
		}
		if o.taken--; o.taken == 0 {
			o.since = nil
			close(o.landed)
		}
	}
}

// commit makes changes durable, together with what is owed from before.
func (d *Driver) commit(changes ...store.Change) <-chan error {
	d.mu.Lock()
	defer d.mu.Unlock()
	all, outcome := d.owed.take(changes)
	done := d.opts.Store.Begin(all...)
	if outcome == nil {
		return done
	}
	out := make(chan error, 1)
	go func() {
		err := <-done
		d.mu.Lock()
		outcome(err)
		d.mu.Unlock()
		out <- err
	}()
	return out
}

// owe leaves changes to the next commit.
func (d *Driver) owe(changes ...store.Change) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.owed.changes = append(d.owed.changes, changes...)
}

// settleOwed commits what is owed, and waits for what a commit under way has
// taken along: if that fails it is owed again.
func (d *Driver) settleOwed() error {
	for {
		d.mu.Lock()
		none, flying, landed := len(d.owed.changes) == 0, d.owed.taken > 0, d.owed.landed
		d.mu.Unlock()
		switch {
		case flying:
			<-landed
		case none:
			return nil
		default:
			return <-d.commit()
		}
	}
}
