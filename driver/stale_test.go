package driver_test

import (
	"testing"
	"testing/synctest"
	"time"

	"fairway/driver"
	"fairway/link"
	"fairway/store"
)

// nothing is what an engine says that has none of fairway's networks.
var nothing = driver.Known{Engine: "/e"} //nolint:gochecknoglobals // a constant

// What an engine that couldn't be told has made goes by another one's word only
// if it isn't in use.
func TestUnknownEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		d := w.start(t, store.Records{})
		n, e := network, endpoint("a", "10.1.0.2/24")
		n.Engine, e.Engine = "", ""
		must(t, d.CreateNetwork(t.Context(), n))
		w.sandboxes["/run/netns/a"] = true
		attach(t, d, e, "/run/netns/a")
		observe := func() (networks, endpoints int) {
			for range 3 {
				d.Observe(t.Context(), nothing)
				time.Sleep(time.Minute)
			}
			return len(d.Networks()), len(d.Endpoints())
		}
		if networks, endpoints := observe(); networks != 1 || endpoints != 1 {
			t.Fatalf("in use: %d networks and %d endpoints left, want both", networks, endpoints)
		}
		clear(w.sandboxes)
		clear(w.links)
		if networks, endpoints := observe(); networks != 0 || endpoints != 0 {
			t.Errorf("not in use: %d networks and %d endpoints left, want none", networks, endpoints)
		}
	})
}

// Another engine's word about an endpoint or a network counts for nothing, even
// if nothing of it lives.
func TestOtherEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		d := w.start(t, store.Records{})
		n, e := network, endpoint("a", "10.1.0.2/24")
		n.Engine, e.Engine = "/other", "/other"
		must(t, d.CreateNetwork(t.Context(), n))
		attach(t, d, e, "/run/netns/a")
		for range 3 {
			d.Observe(t.Context(), nothing)
			time.Sleep(time.Minute)
		}
		if len(d.Networks()) != 1 || len(d.Endpoints()) != 1 {
			t.Errorf("%d networks and %d endpoints left, want both", len(d.Networks()), len(d.Endpoints()))
		}
	})
}

// A container's name is a change of its link's mark, no more: an attachment is
// not made again for it, nor twice.
func TestAnnotate(t *testing.T) {
	w := newWorld()
	d := w.start(t, store.Records{})
	must(t, d.CreateNetwork(t.Context(), network))
	attach(t, d, endpoint("a", "10.1.0.2/24"), "/run/netns/a")
	w.apply = func(s link.Set) { t.Errorf("applied %v", s) }
	known := driver.Known{Engine: "/e", Networks: map[string]driver.KnownNetwork{
		network.ID: {Name: "net", Containers: map[string]driver.Container{"a": {ID: "c1", Name: "web"}}},
	}}
	d.Observe(t.Context(), known)
	d.Observe(t.Context(), known)
	var marks []string
	for _, o := range w.annotated {
		if v, ok := o.(link.Veth); ok {
			marks = append(marks, v.Alias)
		}
	}
	if len(marks) != 1 || marks[0] != "fairway:test:a:web" {
		t.Errorf("marks %q, want the container's name once", marks)
	}
}

// Connections to the endpoints of a network go with it.
func TestDeleteNetworkForgets(t *testing.T) {
	w := newWorld()
	d := w.start(t, store.Records{})
	must(t, d.CreateNetwork(t.Context(), network))
	attach(t, d, endpoint("a", "10.1.0.2/24"), "/run/netns/a")
	must(t, d.DeleteNetwork(t.Context(), network.ID))
	must(t, d.Quiesce(t.Context()))
	if len(w.forgotten) != 1 {
		t.Errorf("forgotten: %v, want the endpoint", w.forgotten)
	}
}
