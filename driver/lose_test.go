package driver_test

import (
	"net/netip"
	"slices"
	"testing"

	"fairway/driver"
	"fairway/link"
	"fairway/store"
)

// Docker has given a living endpoint's IPv6 address to another one: it is the
// other's, with all that the kernel holds for it, and the first keeps its rest.
// Its IPv4 address isn't Docker's to give.
func TestLoseIPv6(t *testing.T) {
	w := newWorld()
	w.sandboxes["/run/netns/a"] = true
	d := w.start(t, store.Records{})
	n := driver.NetworkSpec{
		ID: "n1", Engine: "/e", IPv4: true, IPv6: true,
		Subnets: []store.Subnet{subnet("10.1.0.1/24"), subnet("fd00:1::1/64")},
	}
	must(t, d.CreateNetwork(t.Context(), n))
	a, b := endpoint("a", "10.1.0.2/24"), endpoint("b", "10.1.0.3/24")
	a.IPv6 = netip.MustParsePrefix("fd00:1::2/64")
	b.IPv6 = a.IPv6
	attach(t, d, a, "/run/netns/a")
	must(t, d.Publish(t.Context(), "n1", "a", driver.PublishSpec{Ports: web}))

	var removed []link.Key
	w.remove = func(s link.Set) {
		for _, o := range s {
			removed = append(removed, o.Key())
		}
	}
	attach(t, d, b, "/run/netns/b")
	var neighbour link.Key
	for _, o := range removed {
		if neighbour = o; o.Kind != "neighbour" {
			t.Errorf("removed for the address: %v", o)
		}
	}
	if len(removed) != 1 {
		t.Errorf("removed for the address: %v, want one neighbour entry", removed)
	}
	removed = nil
	if got, want := published(d), "a 4:8080 6>4:8080"; got != want {
		t.Errorf("published: %s, want %s", got, want)
	}
	must(t, d.Publish(t.Context(), "n1", "a", driver.PublishSpec{Ports: web}))
	for _, e := range d.Endpoints() {
		switch e.ID {
		case "a":
			if e.IPv4 != a.IPv4 || e.IPv6.IsValid() || published(d) != "a 4:8080 6>4:8080" {
				t.Errorf("a: %+v, want it with IPv4 only", e)
			}
		case "b":
			if e.IPv6 != b.IPv6 {
				t.Errorf("b: %+v, want it with the address", e)
			}
		}
	}
	must(t, d.DeleteEndpoint(t.Context(), "n1", "a"))
	if slices.Contains(removed, neighbour) {
		t.Error("the first endpoint's end takes the address from the second")
	}
	c := endpoint("c", "10.1.0.3/24")
	w.sandboxes["/run/netns/b"] = true
	if _, err := d.CreateEndpoint(t.Context(), c); err == nil {
		t.Error("the IPv4 address of a living endpoint: no error")
	}
}
