package link

import (
	"context"
	"errors"
	"fmt"
)

// Compare says what of ours in the kernel differs from want, as Reconcile would
// find and repair it. It changes nothing. What is applied or removed at the same
// time may look like a difference.
func (c *Conn) Compare(ctx context.Context, want Set) ([]Repair, error) {
	by, order := ofNamespaces(want)
	var found []Repair
	var errs []error
	for _, ns := range order {
		if err := ctx.Err(); err != nil {
			return found, fmt.Errorf("link: compare: %w", err)
		}
		have, err := c.read(ns, by[ns])
		if err != nil {
			errs = append(errs, fmt.Errorf("link: compare: %w", err))
			continue
		}
		for _, s := range plan(ns, by[ns], have, c.marks) {
			found = append(found, Repair{s.object.String(), s.what})
		}
	}
	return found, errors.Join(errs...)
}

// ofNamespaces returns the objects of each namespace, and the namespaces in order:
// the Conn's own first.
func ofNamespaces(want Set) (by map[string]Set, order []string) {
	by, order = map[string]Set{"": nil}, []string{""}
	for _, o := range want {
		ns := o.Key().Namespace
		if _, ok := by[ns]; !ok {
			order = append(order, ns)
		}
		by[ns] = append(by[ns], o)
	}
	return by, order
}

// On returns the name of the link of the host that an object is on: its bridge
// or its parent; the object's own name for a bridge and a VLAN.
func On(o Object) string {
	switch o := o.(type) {
	case Bridge:
		return o.Name
	case Macvlan:
		return o.Parent
	case VLAN:
		return o.Name
	}
	return on(o)
}
