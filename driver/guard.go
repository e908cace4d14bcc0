package driver

import (
	"context"

	"fairway/nat"
	"fairway/store"
)

// guard says what the port of e may send from. Docker gets the link only after
// Join, which sees to it that this was done.
func (d *Driver) guard(ctx context.Context, n network, e store.Endpoint) error {
	if g, ok := n.view.Guarded(e); ok {
		return d.opts.Guard.Apply(ctx, g)
	}
	return nil
}

// guards is what the work of guardLater is about, beside the addresses.
func guards() claim { return claim{network: "guard"} }

// guardLater does it behind the reply to CreateEndpoint. If it fails, Join tries
// again and says so.
func (d *Driver) guardLater(n network, e store.Endpoint) {
	if _, ok := n.view.Guarded(e); !ok {
		return
	}
	d.work.later(func(ctx context.Context) {
		err := d.guard(ctx, n, e)
		if _, known := d.endpoint(e.ID); !known { // removed meanwhile
			err = d.unguard(ctx, n, e)
		}
		if err != nil {
			d.log.WithField("endpoint", e.ID).Warn(err)
		}
	}, append(claimsOf(e), guards())...)
}

// unguard takes that back. The port sends nothing from then on.
func (d *Driver) unguard(ctx context.Context, n network, e store.Endpoint) error {
	if g, ok := n.view.Guarded(e); ok {
		return d.opts.Guard.Remove(ctx, g)
	}
	return nil
}

// noGuard lets all ports send what they like.
type noGuard struct{}

func (noGuard) Apply(context.Context, ...nat.Guarded) error                              { return nil }
func (noGuard) Remove(context.Context, ...nat.Guarded) error                             { return nil }
func (noGuard) Reconcile(context.Context, []nat.Guarded) (found []nat.Repair, err error) { return }
func (noGuard) Repair(context.Context) (found []nat.Repair, err error)                   { return }
