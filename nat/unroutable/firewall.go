package unroutable

import (
	"context"
	"errors"

	"fairway/nat"
)

// A Backend is a firewall that sets the mark.
type Backend interface {
	Apply(ctx context.Context, put nat.State) error
	Remove(ctx context.Context, gone nat.State) error
	Reconcile(ctx context.Context, want nat.State) ([]nat.Repair, error)
	Repair(ctx context.Context) ([]nat.Repair, error)
	Lacking(ctx context.Context, endpoints []nat.Endpoint) ([]nat.Lack, error)
	GuardForward(ctx context.Context, v6 bool) error
	Close() error
}

// A Firewall is a backend together with what closes the subnets where its rules
// are not there. What opens comes first, so that a start after an upgrade stops
// no connection, and stays longest.
type Firewall struct {
	Backend
	subnets *Table
}

// NewFirewall returns b with its subnets closed by t.
func NewFirewall(b Backend, t *Table) *Firewall { return &Firewall{b, t} }

// Apply is the backend's, and closes the subnets of networks that it puts in. If
// that fails, the backend holds of them what it held before.
func (f *Firewall) Apply(ctx context.Context, put nat.State) error {
	if len(put.Networks) == 0 {
		return f.Backend.Apply(ctx, put)
	}
	before, fresh, err := f.subnets.split(ctx, put.Networks)
	if err != nil {
		return err
	}
	if err := f.Backend.Apply(ctx, put); err != nil {
		return err
	}
	if err = f.subnets.Apply(ctx, put.Networks); err == nil {
		return nil
	}
	ctx = context.WithoutCancel(ctx)
	if len(fresh) > 0 { // else a failed create would leave rules
		err = errors.Join(err, f.Backend.Remove(ctx, nat.State{Networks: fresh}))
	}
	if len(before) > 0 { // and a repeated one none
		err = errors.Join(err, f.Backend.Apply(ctx, nat.State{Networks: before}))
	}
	return err
}

// Remove is the backend's, and opens the subnets before.
func (f *Firewall) Remove(ctx context.Context, gone nat.State) error {
	if err := f.subnets.Remove(ctx, gone.Networks); err != nil {
		return err
	}
	return f.Backend.Remove(ctx, gone)
}

// Reconcile closes the subnets even if the backend fails.
func (f *Firewall) Reconcile(ctx context.Context, want nat.State) ([]nat.Repair, error) {
	repairs, err := f.Backend.Reconcile(ctx, want)
	more, failed := f.subnets.Reconcile(ctx, want.Networks)
	return append(repairs, more...), errors.Join(err, failed)
}

// Repair is Reconcile with what both were told last.
func (f *Firewall) Repair(ctx context.Context) ([]nat.Repair, error) {
	repairs, err := f.Backend.Repair(ctx)
	more, failed := f.subnets.Repair(ctx)
	return append(repairs, more...), errors.Join(err, failed)
}
