package main

import (
	"context"
	"net/netip"

	"fairway/bridge"
	"fairway/driver"
	"fairway/macvlan"
	"fairway/overlay"
	"fairway/store"
	"fairway/transparent"
)

// modes are the ways to build networks, by the value of the option mode.
func modes(instance string, host bridge.Host, span overlayMode) map[string]driver.Mode {
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
		"overlay": {
			Settle: span.settle,
			View:   func(n store.Network) (driver.View, error) { return overlay.New(span.host, n) },
		},
		"transparent": {
			Settle: func(ctx context.Context, n *store.Network) error { return transparent.Settle(ctx, host, n) },
			View:   func(n store.Network) (driver.View, error) { return transparent.New(instance, n) },
		},
	}
}

// An overlayMode is what mode overlay needs besides.
type overlayMode struct {
	host   overlay.Host
	settle func(context.Context, *store.Network) error
}

// overlayHost is what the overlay networks of this host have in common; local is
// its address on the underlay, invalid where it is in no cluster.
func overlayHost(instance string, local netip.Addr) overlay.Host {
	return overlay.Host{
		Instance: instance, Local: local,
		Bridge: func(n store.Network) (overlay.Bridge, error) { return bridge.New(instance, n) },
	}
}
