package firewalld

import (
	"context"

	"fairway/nat"
)

// A Backend is a firewall whose networks firewalld must let pass.
type Backend interface {
	Apply(ctx context.Context, put nat.State) error
	Remove(ctx context.Context, gone nat.State) error
	Reconcile(ctx context.Context, want nat.State) ([]nat.Repair, error)
	Repair(ctx context.Context) ([]nat.Repair, error)
	Lacking(ctx context.Context, endpoints []nat.Endpoint) ([]nat.Lack, error)
	GuardForward(ctx context.Context, v6 bool) error
	Close() error
}

// A Firewall is a backend together with firewalld's zone. The zone only opens,
// so it comes after the backend's rules and goes before them; nothing fails for
// its sake.
type Firewall struct {
	Backend
	zone *Zone
}

// NewFirewall returns b with its bridges in z.
func NewFirewall(b Backend, z *Zone) *Firewall { return &Firewall{b, z} }

// Apply is the backend's, and puts networks' bridges into the zone.
func (f *Firewall) Apply(ctx context.Context, put nat.State) error {
	err := f.Backend.Apply(ctx, put)
	if err == nil {
		f.zone.Apply(ctx, put.Networks)
	}
	return err
}

// Remove takes networks' bridges out of the zone first.
func (f *Firewall) Remove(ctx context.Context, gone nat.State) error {
	f.zone.Remove(ctx, gone.Networks)
	return f.Backend.Remove(ctx, gone)
}

// Reconcile makes both right.
func (f *Firewall) Reconcile(ctx context.Context, want nat.State) ([]nat.Repair, error) {
	repairs, err := f.Backend.Reconcile(ctx, want)
	return append(repairs, f.zone.Reconcile(ctx, want.Networks)...), err
}

// Close ends the use of both.
func (f *Firewall) Close() error {
	zone := f.zone.Close()
	if err := f.Backend.Close(); err != nil {
		return err
	}
	return zone
}
