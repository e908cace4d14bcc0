package driver_test

import (
	"testing"

	"fairway/nat"
	"fairway/store"
)

// An endpoint that comes to an address right after another one must not lose
// its connections to the cleaning up after that one.
func TestJoinComesAfterForgetting(t *testing.T) {
	w := newWorld()
	d := w.start(t, store.Records{})
	must(t, d.CreateNetwork(t.Context(), network))
	attach(t, d, endpoint("old", "10.1.0.2/24"), "/run/netns/old")
	must(t, d.Leave(t.Context(), network.ID, "old"))
	must(t, d.DeleteEndpoint(t.Context(), network.ID, "old"))
	attach(t, d, endpoint("new", "10.1.0.2/24"), "/run/netns/new")
	if len(w.forgotten) != 1 || w.forgotten[0].ID != "old" {
		t.Fatalf("forgotten when the next one has the address: %v, want the old endpoint", w.forgotten)
	}
	must(t, d.Quiesce(t.Context()))
	if len(w.forgotten) != 1 {
		t.Errorf("forgotten afterwards: %v", w.forgotten[1:])
	}
}

// Whoever else's connections are being forgotten is not waited for.
func TestJoinDoesNotWaitForOthers(t *testing.T) {
	w := newWorld()
	w.forget = func(e nat.Endpoint) { t.Errorf("%s was forgotten during another's call", e.ID) }
	d := w.start(t, store.Records{})
	must(t, d.CreateNetwork(t.Context(), network))
	attach(t, d, endpoint("old", "10.1.0.2/24"), "/run/netns/old")
	must(t, d.DeleteEndpoint(t.Context(), network.ID, "old"))
	attach(t, d, endpoint("new", "10.1.0.3/24"), "/run/netns/new")
}

// A container that died with its dockerd a moment ago starts again at once,
// with its address: the pair of links has gone with the sandbox.
func TestDiedJustNow(t *testing.T) {
	w := newWorld()
	d := w.start(t, store.Records{})
	must(t, d.CreateNetwork(t.Context(), network))
	w.sandboxes["/run/netns/old"] = true
	attach(t, d, endpoint("old", "10.1.0.2/24"), "/run/netns/old")
	clear(w.sandboxes)
	clear(w.links)
	attach(t, d, endpoint("new", "10.1.0.2/24"), "/run/netns/new")
	if _, err := d.CreateEndpoint(t.Context(), endpoint("third", "10.1.0.2/24")); err == nil {
		t.Error("the address of an endpoint that is on its way into its sandbox was given to another")
	}
}
