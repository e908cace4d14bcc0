package main

import (
	"context"

	"fairway/admin"
	"fairway/store"
)

// recorded is what the store says where no daemon answers.
type recorded struct{ all store.Records }

func (r recorded) Networks() (out []store.Network) {
	for _, n := range r.all.Networks {
		out = append(out, n)
	}
	return out
}

func (r recorded) Endpoints() (out []store.Endpoint) {
	for _, e := range r.all.Endpoints {
		out = append(out, e)
	}
	return out
}

func (recorded) Denied(context.Context) map[string]uint64                { return nil }
func (recorded) Taken(string, store.PortBinding) (by string, taken bool) { return "", false }
func (recorded) PortStates(context.Context, bool) admin.States           { return admin.States{} }

// Leases returns what servers gave; how the leases are is not recorded.
func (r recorded) Leases() (all []admin.LeaseState, lost uint64) {
	for _, l := range r.all.Leases {
		all = append(all, admin.LeaseState{Lease: l, State: "unknown"})
	}
	return all, 0
}
