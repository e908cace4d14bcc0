package link

import (
	"context"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Annotate gives the pairs of want their marks, which may have a container's
// name by now, and changes nothing else. A pair that isn't there or isn't what
// it should be is Reconcile's to mend.
func (c *Conn) Annotate(_ context.Context, want Set) error {
	var errs []error
	for _, o := range want {
		v, ok := o.(Veth)
		if !ok || c.queue.isPending(v.Namespace, v.Name) {
			continue
		}
		if err := c.annotate(v); err != nil {
			errs = append(errs, fmt.Errorf("link: annotate %s: %w", v, err))
		}
	}
	return errors.Join(errs...)
}

func (c *Conn) annotate(v Veth) error {
	s, done, err := c.in(v.Namespace)
	if err != nil {
		return err
	}
	defer done()
	l, err := s.fast.link(v.Name)
	if errors.Is(err, unix.ENODEV) {
		return nil
	}
	if err != nil || !c.ours(l) || l.kind != "veth" || !c.isFor(l, v.Alias) || l.alias == alias(v.Alias) {
		return err
	}
	change := linkChange{alias: alias(v.Alias)}
	reqs := []*nl.NetlinkRequest{setLink(l.index, "", change)}
	if !l.elsewhere { // an end in a sandbox is the container's
		reqs = append(reqs, setLink(l.peer, "", change))
	}
	c.opts.Step("link.annotate")
	var errs []error
	for _, r := range s.fast.do(reqs...) {
		if !errors.Is(r.err, unix.ENODEV) {
			errs = append(errs, r.err)
		}
	}
	return errors.Join(errs...)
}
