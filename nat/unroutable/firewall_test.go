package unroutable

import (
	"context"
	"errors"
	"slices"
	"testing"

	"fairway/nat"
)

// A told is a backend that remembers the networks' bridges, by ID.
type told struct {
	Backend
	links map[string]string
}

func (b told) Apply(_ context.Context, put nat.State) error {
	for _, n := range put.Networks {
		b.links[n.ID] = n.Link
	}
	return nil
}

func (b told) Remove(_ context.Context, gone nat.State) error {
	for _, n := range gone.Networks {
		delete(b.links, n.ID)
	}
	return nil
}

// TestApplyFails: where subnets can't be closed, the backend has what it had.
func TestApplyFails(t *testing.T) {
	table, err := New(Options{Options: nat.Options{Instance: "test1"}})
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	table.around = func(map[string]bool) (nat.Around, error) { return nat.Around{}, broken }
	table.networks["old"] = nat.Network{ID: "old", Link: "fwb1"}
	b := told{links: map[string]string{"old": "fwb1"}}
	f := NewFirewall(b, table)
	for range 2 {
		err := f.Apply(t.Context(), nat.State{Networks: []nat.Network{{ID: "old", Link: "fwb2"}, {ID: "new", Link: "fwb3"}}})
		if !errors.Is(err, broken) {
			t.Fatalf("Apply: %v, want %v", err, broken)
		}
		if len(b.links) != 1 || b.links["old"] != "fwb1" {
			t.Errorf("the backend has %v, want the old network as it was", b.links)
		}
	}
	if _, fresh, _ := table.split(t.Context(), []nat.Network{{ID: "old"}, {ID: "new"}}); !slices.ContainsFunc(fresh, func(n nat.Network) bool { return n.ID == "new" }) {
		t.Error("the new network is remembered")
	}
}
