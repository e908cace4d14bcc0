//go:build kernel

package firewall

import (
	"context"
	"testing"

	"fairway/nat"
	"fairway/nat/iptables"
	"fairway/nat/nftables"
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
	return iptables.New(ctx, iptables.Options{Instance: instance, Step: step})
}}

var viaNftables = backend{"nftables", func(ctx context.Context, instance string, step func(string)) (firewall, error) {
	return nftables.New(ctx, nftables.Options{Instance: instance, Step: step})
}}

// eachBackend runs a test on both.
func eachBackend(t *testing.T, test func(*testing.T, backend)) {
	t.Helper()
	for _, kind := range []backend{viaIptables, viaNftables} {
		t.Run(kind.name, func(t *testing.T) { test(t, kind) })
	}
}
