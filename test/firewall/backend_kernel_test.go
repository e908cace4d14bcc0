//go:build kernel

package firewall

import (
	"context"
	"errors"
	"testing"

	"fairway/nat"
	"fairway/nat/iptables"
	"fairway/nat/nftables"
	"fairway/nat/unroutable"
)

// A firewall is what both backends are.
type firewall interface {
	Apply(context.Context, nat.State) error
	Remove(context.Context, nat.State) error
	Reconcile(context.Context, nat.State) ([]nat.Repair, error)
	Lacking(context.Context, []nat.Endpoint) ([]nat.Lack, error)
	GuardForward(ctx context.Context, v6 bool) error
	Close() error
}

// A backend makes firewalls.
type backend struct {
	name string
	make func(ctx context.Context, instance string, step func(string)) (firewall, error)
}

var viaIptables = backend{"iptables", func(ctx context.Context, instance string, step func(string)) (firewall, error) {
	f, err := iptables.New(ctx, iptables.Options{Instance: instance, Step: step})
	return &closed{f, unroutable.New(unroutable.Options{Instance: instance})}, err
}}

var viaNftables = backend{"nftables", func(ctx context.Context, instance string, step func(string)) (firewall, error) {
	f, err := nftables.New(ctx, nftables.Options{Instance: instance, Step: step})
	return &closed{f, unroutable.New(unroutable.Options{Instance: instance})}, err
}}

// closed is a backend with what makes its subnets unroutable, as the daemon has
// them.
type closed struct {
	firewall
	subnets *unroutable.Table
}

func (f *closed) Apply(ctx context.Context, put nat.State) error {
	if err := f.firewall.Apply(ctx, put); err != nil {
		return err
	}
	return f.subnets.Apply(ctx, put.Networks)
}

func (f *closed) Remove(ctx context.Context, gone nat.State) error {
	return errors.Join(f.subnets.Remove(ctx, gone.Networks), f.firewall.Remove(ctx, gone))
}

func (f *closed) Reconcile(ctx context.Context, want nat.State) ([]nat.Repair, error) {
	repairs, err := f.firewall.Reconcile(ctx, want)
	more, failed := f.subnets.Reconcile(ctx, want.Networks)
	return append(repairs, more...), errors.Join(err, failed)
}

// eachBackend runs a test on both.
func eachBackend(t *testing.T, test func(*testing.T, backend)) {
	t.Helper()
	for _, kind := range []backend{viaIptables, viaNftables} {
		t.Run(kind.name, func(t *testing.T) { test(t, kind) })
	}
}
