//go:build kernel

package firewall

import (
	"context"
	"testing"

	"fairway/nat"
	"fairway/nat/iptables"
	"fairway/nat/nftables"
	"fairway/nat/unroutable"
)

type firewall = unroutable.Backend

// A backend makes firewalls as the daemon has them.
type backend struct {
	name string
	make func(ctx context.Context, instance string, step func(string)) (firewall, error)
}

var viaIptables = backend{"iptables", func(ctx context.Context, instance string, step func(string)) (firewall, error) {
	f, err := iptables.New(ctx, nat.Options{Instance: instance, Step: step})
	return closed(f, err, instance)
}}

var viaNftables = backend{"nftables", func(ctx context.Context, instance string, step func(string)) (firewall, error) {
	f, err := nftables.New(ctx, nftables.Options{Options: nat.Options{Instance: instance, Step: step}})
	return closed(f, err, instance)
}}

// viaOpen makes what there is before Linux 6.9: others may change the table.
var viaOpen = backend{"nftables", func(ctx context.Context, instance string, step func(string)) (firewall, error) {
	f, err := nftables.New(ctx, nftables.Options{Options: nat.Options{Instance: instance, Step: step}, Open: true})
	return closed(f, err, instance)
}}

func closed(f firewall, err error, instance string) (firewall, error) {
	if err != nil {
		return nil, err
	}
	t, err := unroutable.New(unroutable.Options{Options: nat.Options{Instance: instance}})
	return unroutable.NewFirewall(f, t), err
}

// eachBackend runs a test on both.
func eachBackend(t *testing.T, test func(*testing.T, backend)) {
	t.Helper()
	each(t, test, viaIptables, viaNftables)
}

// eachOpen runs a test on both that changes rules behind the firewall's back.
func eachOpen(t *testing.T, test func(*testing.T, backend)) {
	t.Helper()
	each(t, test, viaIptables, viaOpen)
}

func each(t *testing.T, test func(*testing.T, backend), kinds ...backend) {
	t.Helper()
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) { test(t, kind) })
	}
}
