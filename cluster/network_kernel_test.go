//go:build kernel

package cluster

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// stateOf returns a network as a host knows it.
func (s *sim) stateOf(name string) (NetworkState, bool) {
	all, _ := s.Networks()
	i := slices.IndexFunc(all, func(n NetworkState) bool { return n.Name == name })
	if i < 0 {
		return NetworkState{}, false
	}
	return all[i], true
}

// What one host wants all hear of, also those that were away; the record of what
// was removed stays until nobody has it.
func TestWantedNetworks(t *testing.T) {
	t.Parallel()
	e := startEtcd(t)
	a, b, c := newSim(t, "a", e.url), newSim(t, "b", e.url), newSim(t, "c", e.url)
	for _, s := range []*sim{a, b, c} {
		s.ready(t)
	}
	eventually(t, "a knows all", func() bool { hosts, _ := a.Hosts(); return len(hosts) == 3 })
	n := aNetwork()
	n.Hosts = []string{"a", "nobody"}
	wantError(t, a.WantNetwork(t.Context(), n), "host nobody: not of this cluster, which has a, b, c")
	n.Hosts = nil
	if err := a.WantNetwork(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	other := aNetwork()
	other.Name = "other"
	wantError(t, a.WantNetwork(t.Context(), other), "segment bone: is network backbone already")
	wantError(t, a.UnwantNetwork(t.Context(), "other"), "network other: is none of the cluster's")

	eventually(t, "b is told", func() bool { s, _ := b.stateOf("backbone"); return s.Revision() == n.Revision() && s.For("b") })
	select {
	case <-b.NetworkNews():
	default:
		t.Error("b has no news")
	}
	first, _ := b.stateOf("backbone")
	for _, s := range []*sim{b, c} {
		if err := s.Report(t.Context(), "backbone", first.Seen, NetworkReport{Revision: n.Revision(), State: NetworkMade}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "a hears of it", func() bool { s, _ := a.stateOf("backbone"); return len(s.On) == 2 && s.On["b"].State == NetworkMade })
	if err := a.WantNetwork(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	if again, _ := a.stateOf("backbone"); again.Seen != first.Seen {
		t.Errorf("the same again made revision %d of %d", again.Seen, first.Seen)
	}

	// c is away while it changes and goes; b acts on what was before.
	c.stop()
	n.Internal = true
	if err := b.WantNetwork(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	wantError(t, a.Report(t.Context(), "backbone", first.Seen, NetworkReport{State: NetworkWorking}), "has changed")
	if err := a.UnwantNetwork(t.Context(), "backbone"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "b is told that it goes", func() bool { s, _ := b.stateOf("backbone"); return s.Removed && s.Internal && !s.For("b") })
	if err := b.Unreport(t.Context(), "backbone"); err != nil {
		t.Fatal(err)
	}
	if err := b.Retire(t.Context(), "backbone"); err != nil {
		t.Fatal(err)
	}
	client := e.client(t)
	defer client.Close()
	left := func() (out string) {
		r, err := client.Get(t.Context(), "/fairway/test/networks", clientv3.WithPrefix(), clientv3.WithKeysOnly())
		if err != nil {
			t.Fatal(err)
		}
		for _, kv := range r.Kvs {
			out += strings.TrimPrefix(string(kv.Key), "/fairway/test/") + " "
		}
		return out
	}
	if got := left(); got != "networks/backbone networks-on/backbone/c " && got != "networks-on/backbone/c networks/backbone " {
		t.Errorf("in etcd: %s", got)
	}
	c.run(t)
	c.ready(t)
	if s, _ := c.stateOf("backbone"); !s.Removed || s.On["c"].State != NetworkMade {
		t.Errorf("c is back, and knows %+v", s)
	}
	select {
	case <-c.NetworkNews():
	default:
		t.Error("c is back, and has no news")
	}
	if err := c.Unreport(t.Context(), "backbone"); err != nil {
		t.Fatal(err)
	}
	if err := c.Retire(t.Context(), "backbone"); err != nil {
		t.Fatal(err)
	}
	if got := left(); got != "" {
		t.Errorf("in etcd: %s", got)
	}
	eventually(t, "all have forgotten it", func() bool {
		_, onA := a.stateOf("backbone")
		_, onB := b.stateOf("backbone")
		return !onA && !onB
	})

	// What a host says of a network that etcd has no record of is heard, too, and one
	// that is forgotten says nothing any more.
	if err := c.Report(t.Context(), "lost", 0, NetworkReport{State: NetworkLeft}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a hears of it", func() bool { s, ok := a.stateOf("lost"); return ok && s.Seen == 0 })
	c.stop()
	eventually(t, "c is forgotten", func() bool { return a.Forget(t.Context(), "c") == nil })
	if _, ok := a.stateOf("lost"); ok {
		t.Error("c speaks of it still")
	}
}

// A host that asks in vain for another subnet of a segment leaves it nevertheless:
// else a network whose subnet changes would never change.
func TestSubnetChanges(t *testing.T) {
	t.Parallel()
	e := startEtcd(t)
	a := newSim(t, "a", e.url)
	a.ready(t)
	pool := a.mustPool(t, "bone", "10.40.0.0/16")
	if err := a.pools.ReleasePool(t.Context(), pool); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a has the other subnet", func() bool {
		_, gw, err := a.pool("bone", "10.41.0.0/16", "")
		return err == nil && gw == netip.MustParsePrefix("10.41.0.1/16")
	})
}
