package link

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"
)

// present returns the link of ours that is there in the place of o and serves for
// it. One of ours that doesn't is removed: then, as where there is none, o can be
// made. One of somebody else's is unix.EEXIST.
func (a *attempt) present(ctx context.Context, s *space, o Object, serves func(linkState) bool) (have linkState, there bool, err error) {
	at := o.Key()
	if err := a.Conn.queue.settle(ctx, at.Namespace, at.Name); err != nil {
		return have, false, err
	}
	have, err = s.fast.link(at.Name)
	switch {
	case errors.Is(err, unix.ENODEV):
		return have, false, nil
	case err != nil:
		return have, false, err
	case !a.ours(have):
		return have, false, taken(have)
	case !serves(have):
		return have, false, a.vacate(ctx, at.Namespace, at.Name, have)
	}
	return have, true, nil
}

// vacate removes a link of ours, and waits until its name is free.
func (a *attempt) vacate(ctx context.Context, namespace, name string, l linkState) error {
	a.enqueue(namespace, name, l.alias)
	return a.Conn.queue.settle(ctx, namespace, name)
}

// own is what of a network's own link is missing or not as it should be.
func (p *planner) own(o Object, mark string, diff func(linkState) string) {
	l, ok := p.byName[o.Key().Name]
	switch {
	case !ok:
		p.make(o, "was missing")
	case !p.ours(l):
		p.make(o, "was somebody else's")
	case !p.isFor(l, mark):
		p.make(o, "was another network's")
	default:
		p.make(o, diff(l))
	}
}
