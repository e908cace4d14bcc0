package driver_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"fairway/driver"
	"fairway/event"
	"fairway/store"
)

// TestEventsOfALife: each step of a container's life is told of once, whether or
// not Docker repeats its calls.
func TestEventsOfALife(t *testing.T) {
	w := newWorld()
	d := w.start(t, store.Records{})
	must(t, d.CreateNetwork(t.Context(), network))
	must(t, d.CreateNetwork(t.Context(), network))
	attach(t, d, endpoint("a", "10.1.0.2/24"), "/run/netns/a")
	ports := driver.PublishSpec{Ports: []store.PortBinding{{Proto: 6, HostPort: 80, Port: 8080}}}
	must(t, d.Publish(t.Context(), network.ID, "a", ports))
	must(t, d.Publish(t.Context(), network.ID, "a", ports))
	must(t, d.Unpublish(t.Context(), network.ID, "a"))
	for range 2 {
		must(t, d.Leave(t.Context(), network.ID, "a"))
		must(t, d.DeleteEndpoint(t.Context(), network.ID, "a"))
	}
	must(t, d.DeleteNetwork(t.Context(), network.ID))
	must(t, d.DeleteNetwork(t.Context(), network.ID))
	var got []string
	for _, e := range w.log.AllEntries() {
		if kind, ok := e.Data[event.Field]; ok {
			got = append(got, fmt.Sprint(kind))
			if e.Data["network"] == nil || strings.HasPrefix(fmt.Sprint(kind), "network-") != (e.Data["endpoint"] == nil) {
				t.Errorf("%s: %v", kind, e.Data)
			}
		}
	}
	want := []string{event.NetworkCreate, event.Attach, event.Publish, event.Unpublish, event.Detach, event.NetworkRemove}
	if !slices.Equal(got, want) {
		t.Errorf("told of %v, want %v", got, want)
	}
}
