package driver_test

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"fairway/driver"
	"fairway/nat"
	"fairway/store"
)

// seen is what an engine says of endpoints "a" of container "c-a", and so on, on
// the network of the tests.
func seen(endpoints ...string) driver.Known {
	k := driver.Known{Engine: network.Engine, Containers: map[string]bool{}, Networks: map[string]driver.KnownNetwork{
		network.ID: {Name: "net", Containers: map[string]driver.Container{}},
	}}
	for _, e := range endpoints {
		id := "c-" + e[:1] // a and a2 are of one container
		k.Networks[network.ID].Containers[e] = driver.Container{ID: id, Name: "name-" + e[:1]}
		k.Containers[id] = true
	}
	return k
}

// two returns a driver with the running containers c-a, which publishes 8080, and
// c-b.
func two(t *testing.T, w *world) *driver.Driver {
	t.Helper()
	d := w.start(t, store.Records{})
	must(t, d.CreateNetwork(t.Context(), network))
	w.sandboxes["/run/netns/a"], w.sandboxes["/run/netns/b"] = true, true
	attach(t, d, endpoint("a", "10.1.0.2/24"), "/run/netns/a")
	attach(t, d, endpoint("b", "10.1.0.3/24"), "/run/netns/b")
	must(t, d.Publish(t.Context(), network.ID, "a", driver.PublishSpec{Ports: []store.PortBinding{{Proto: 6, HostPort: 8080, Port: 80}}}))
	d.Observe(t.Context(), seen("a", "b"))
	return d
}

// hostPorts lists what an endpoint publishes, on IPv4.
func hostPorts(d *driver.Driver, endpoint string) (out []uint16) {
	for _, e := range d.Endpoints() {
		if e.ID == endpoint {
			for _, p := range e.Published {
				if p.HostIP.Is4() {
					out = append(out, p.HostPort)
				}
			}
		}
	}
	slices.Sort(out)
	return out
}

func tcp(hostPort, port uint16) store.PortBinding {
	return store.PortBinding{Proto: 6, HostPort: hostPort, Port: port}
}

func TestAddAndRemovePorts(t *testing.T) {
	w := newWorld()
	d := two(t, w)
	ctx := t.Context()
	on := func(want ...uint16) {
		t.Helper()
		if got := hostPorts(d, "a"); !slices.Equal(got, want) {
			t.Errorf("published %v, want %v", got, want)
		}
	}
	id, got, err := d.AddPorts(ctx, "name-a", "", []store.PortBinding{tcp(9090, 80), tcp(9091, 81)})
	if err != nil || id != "a" || len(got) != 4 || got[0].IP != netip.MustParseAddr("10.1.0.2") {
		t.Fatalf("add: %s, %v, %v", id, got, err)
	}
	on(8080, 9090, 9091)
	for _, name := range []string{"c-a", "c-", "name-b"} { // again, ambiguous, another's
		_, _, err = d.AddPorts(ctx, name, "", []store.PortBinding{tcp(9090, 80)})
		if (err == nil) != (name == "c-a") {
			t.Errorf("add to %s: %v", name, err)
		}
	}
	// Docker's word leaves them, whatever it is.
	must(t, d.Publish(ctx, network.ID, "a", driver.PublishSpec{Ports: []store.PortBinding{tcp(8081, 80)}}))
	on(8081, 9090, 9091)

	for _, bad := range []store.PortBinding{tcp(9099, 0), tcp(9090, 81), {Proto: 17, HostPort: 9090}} {
		if err := d.RemovePorts(ctx, "name-a", "", []store.PortBinding{bad}); err == nil || !strings.Contains(err.Error(), "is not published; want one of 8081/tcp, 9090/tcp, 9091/tcp") {
			t.Errorf("remove %v: %v", bad, err)
		}
	}
	must(t, d.RemovePorts(ctx, "name-a", "", []store.PortBinding{tcp(9090, 0), tcp(8081, 0)}))
	on(9091)
	// Docker's port stays away when it asks again, and comes back by hand.
	must(t, d.Publish(ctx, network.ID, "a", driver.PublishSpec{Ports: []store.PortBinding{tcp(8081, 80)}}))
	on(9091)
	_, _, err = d.AddPorts(ctx, "c-a", "net", []store.PortBinding{tcp(8081, 80)})
	must(t, err)
	on(8081, 9091)
	must(t, d.Quiesce(ctx))
	if len(w.severed) != 1 || len(w.severed[0].Ports) != 2 {
		t.Errorf("connections cut: %+v, want once those of 9090 and 8081", w.severed)
	}
}

// TestLivePortsOfNextEndpoint: a container that starts again gets its ports, a
// daemon that starts again has them, and they go with the container.
func TestLivePortsOfNextEndpoint(t *testing.T) {
	w := newWorld()
	d := two(t, w)
	ctx := t.Context()
	_, _, err := d.AddPorts(ctx, "name-a", "", []store.PortBinding{tcp(9090, 80)})
	must(t, err)
	must(t, d.RemovePorts(ctx, "name-a", "", []store.PortBinding{tcp(8080, 0)}))
	must(t, d.Leave(ctx, network.ID, "a"))
	must(t, d.DeleteEndpoint(ctx, network.ID, "a"))
	attach(t, d, endpoint("a2", "10.1.0.4/24"), "/run/netns/a")
	must(t, d.Publish(ctx, network.ID, "a2", driver.PublishSpec{Ports: []store.PortBinding{tcp(8080, 80)}}))
	d.Observe(ctx, seen("a2", "b"))
	if got := hostPorts(d, "a2"); !slices.Equal(got, []uint16{9090}) {
		t.Errorf("published after the container's start: %v, want 9090", got)
	}

	r := recordsOf(d)
	r.LivePorts = map[string]store.LivePorts{}
	for _, l := range d.LivePorts() {
		r.LivePorts[l.Network+" "+l.ContainerID] = l
	}
	d = w.start(t, r)
	if !slices.Equal(d.LiveContainers(), []string{"c-a"}) {
		t.Errorf("after the daemon's start there are live ports of %q", d.LiveContainers())
	}
	if got := hostPorts(d, "a2"); !slices.Equal(got, []uint16{9090}) {
		t.Errorf("published after the daemon's start: %v, want 9090", got)
	}
	must(t, d.Leave(ctx, network.ID, "a2"))
	must(t, d.DeleteEndpoint(ctx, network.ID, "a2"))
	k := seen("b")
	d.Observe(ctx, k) // of c-a nothing is said
	if len(d.LivePorts()) != 1 {
		t.Error("live ports are gone, but nobody said that the container is")
	}
	must(t, d.RemovePorts(ctx, "name-a", "", []store.PortBinding{tcp(9090, 0)})) // while it is stopped
	k.Containers["c-a"] = false
	other := k
	other.Engine = "/other"
	d.Observe(ctx, other)
	if len(d.LivePorts()) != 1 {
		t.Error("live ports are gone by another engine's word")
	}
	d.Observe(ctx, k)
	if len(d.LivePorts()) != 0 {
		t.Errorf("live ports of a container that is gone: %+v", d.LivePorts())
	}
}

// TestLivePortWaits: a port that somebody else has when the container starts is
// published when it is free, and the others meanwhile.
func TestLivePortWaits(t *testing.T) {
	w := newWorld()
	d := two(t, w)
	ctx := t.Context()
	_, _, err := d.AddPorts(ctx, "name-a", "", []store.PortBinding{tcp(9090, 80), tcp(9091, 80)})
	must(t, err)
	must(t, d.Leave(ctx, network.ID, "a"))
	must(t, d.DeleteEndpoint(ctx, network.ID, "a"))
	_, _, err = d.AddPorts(ctx, "name-b", "", []store.PortBinding{tcp(9090, 80)})
	must(t, err)
	attach(t, d, endpoint("a2", "10.1.0.4/24"), "/run/netns/a")
	d.Observe(ctx, seen("a2", "b"))
	if got := hostPorts(d, "a2"); !slices.Equal(got, []uint16{9091}) {
		t.Errorf("published: %v, want 9091", got)
	}
	if got := d.WaitingPorts(); len(got) != 1 || got[0].HostPort != 9090 || got[0].Container != "name-a" {
		t.Errorf("waiting: %+v, want 9090", got)
	}
	must(t, d.RemovePorts(ctx, "name-b", "", []store.PortBinding{tcp(9090, 0)}))
	d.Observe(ctx, seen("a2", "b"))
	if got := hostPorts(d, "a2"); !slices.Equal(got, []uint16{9090, 9091}) || len(d.WaitingPorts()) != 0 {
		t.Errorf("published: %v, waiting %v; want 9090 and 9091", got, d.WaitingPorts())
	}
	must(t, d.DeleteNetwork(ctx, network.ID))
	if len(d.LivePorts()) != 0 {
		t.Errorf("live ports without their network: %+v", d.LivePorts())
	}
}

// TestUnknownContainer: one line, and nothing is done.
func TestUnknownContainer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		d := two(t, w)
		for _, c := range []struct{ container, network, want string }{
			{"nosuch", "", `container "nosuch": is not running on a network of fairway's`},
			{"c-", "", `container "c-": is ambiguous: `},
			{"name-a", "other", `container "name-a": is not on network "other"; it is on "net"`},
		} {
			_, _, err := d.AddPorts(t.Context(), c.container, c.network, []store.PortBinding{tcp(9090, 80)})
			if err == nil || !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("add to %q on %q: %v, want %s", c.container, c.network, err, c.want)
			}
		}
		// One that has just started has no name yet: it is waited for.
		w.sandboxes["/run/netns/d"] = true
		attach(t, d, endpoint("d", "10.1.0.5/24"), "/run/netns/d")
		w.look = func(ctx context.Context) { d.Observe(ctx, seen("a", "b", "d")) }
		if _, _, err := d.AddPorts(t.Context(), "name-d", "", []store.PortBinding{tcp(9090, 80)}); err != nil {
			t.Error(err)
		}
	})
}

// TestReach: who reaches a port is by what the kernel says.
func TestReach(t *testing.T) {
	w := newWorld()
	d := two(t, w)
	ctx := t.Context()
	at := func(ip string, port uint16) store.PortBinding {
		return store.PortBinding{Proto: 6, HostIP: netip.MustParseAddr(ip), HostPort: port, Port: 80}
	}
	_, _, err := d.AddPorts(ctx, "name-a", "", []store.PortBinding{at("127.0.0.1", 1), at("192.0.2.10", 2), at("192.0.2.11", 3)})
	must(t, err)
	check := func(want map[uint16]driver.From) {
		t.Helper()
		for p, r := range d.Reach(ctx) {
			if want[p.HostPort] != r.From {
				t.Errorf("port %d: %s (%s), want %s", p.HostPort, r.From, r.Why, want[p.HostPort])
			}
		}
	}
	nobody := map[uint16]driver.From{8080: driver.FromNobody, 1: driver.FromNobody, 2: driver.FromNobody, 3: driver.FromNobody}
	check(nobody) // the bridge isn't there
	w.links[d.Networks()[0].Link] = true
	check(map[uint16]driver.From{8080: driver.FromAll, 1: driver.FromHost, 2: driver.FromAll, 3: driver.FromNobody})
	w.lacks = []nat.Lack{{Endpoint: "a", Port: nat.Port{
		Proto: 6, HostIP: netip.MustParseAddr("127.0.0.1"), HostPort: 1, Target: netip.MustParseAddr("10.1.0.2"), TargetPort: 80,
	}, Why: "gone"}}
	check(map[uint16]driver.From{8080: driver.FromAll, 1: driver.FromNobody, 2: driver.FromAll, 3: driver.FromNobody})
	w.lackErr = errors.New("no word")
	w.lacks = nil
	check(map[uint16]driver.From{8080: driver.FromUnknown, 1: driver.FromUnknown, 2: driver.FromUnknown, 3: driver.FromUnknown})
	w.lackErr = nil
	clear(w.sandboxes)
	clear(w.links)
	check(nobody)
}
