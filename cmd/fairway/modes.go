package main

import (
	"context"

	"fairway/bridge"
	"fairway/driver"
	"fairway/macvlan"
	"fairway/store"
	"fairway/transparent"
)

// modes are the ways to build networks, by the value of the option mode.
func modes(instance string, host bridge.Host) map[string]driver.Mode {
	return map[string]driver.Mode{
		"bridge": {
			Settle: func(ctx context.Context, n *store.Network) error { return bridge.Settle(ctx, host, n) },
			View:   func(n store.Network) (driver.View, error) { return bridge.New(instance, n) },
		},
		"macvlan": {
			Settle: func(ctx context.Context, n *store.Network) error { return macvlan.Settle(ctx, host, n) },
			View:   func(n store.Network) (driver.View, error) { return macvlan.New(instance, n) },
		},
		"ipvlan": {
			Settle: func(ctx context.Context, n *store.Network) error { return macvlan.Settle(ctx, host, n) },
			View:   func(n store.Network) (driver.View, error) { return macvlan.New(instance, n) },
			NoMAC:  true,
		},
		"transparent": {
			Settle: func(ctx context.Context, n *store.Network) error { return transparent.Settle(ctx, host, n) },
			View:   func(n store.Network) (driver.View, error) { return transparent.New(instance, n) },
		},
	}
}
