package ipam

import (
	"net/netip"
	"testing"

	"fairway/store"
)

// TestDurable goes through the real store and a restart.
func TestDurable(t *testing.T) {
	dir := t.TempDir()
	var pool, pool6 string
	run := func(act func(d *desk)) {
		s, err := store.Open(dir, store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		records, err := s.Records()
		if err != nil {
			t.Fatal(err)
		}
		a, err := New(Options{Store: s}, records)
		if err != nil {
			t.Fatal(err)
		}
		act(&desk{Allocator: a, t: t})
	}
	run(func(d *desk) {
		pool = d.poolOf(PoolSpec{Pool: "10.0.0.0/24", SubPool: "10.0.0.128/25", Options: map[string]string{"source": "local"}})
		pool6 = d.pool("fd00::/64")
		d.want(d.askFor(AddressSpec{Pool: pool, Gateway: true}), "10.0.0.128/24")
		d.want(d.askFor(AddressSpec{Pool: pool, Name: "web", MAC: "02:42:00:00:00:01"}), "10.0.0.129/24")
		d.want(d.ask(pool6, ""), "fd00::1/64")
		d.release(pool, "10.0.0.129")
	})
	run(func(d *desk) {
		d.want(d.ask(pool, "10.0.0.128"), "address 10.0.0.128 is already in use")
		d.want(d.ask(pool, ""), "10.0.0.130/24")
		d.want(d.askFor(AddressSpec{Pool: pool, Name: "web"}), "10.0.0.129/24")
		d.want(d.ask(pool6, ""), "fd00::2/64")
		_, err := d.RequestPool(t.Context(), PoolSpec{Space: SpaceLocal, Pool: "10.0.0.0/25"})
		d.want(err.Error(), "pool 10.0.0.0/25 overlaps 10.0.0.0/24, which is in use")
		d.releasePool(pool)
	})
	run(func(d *desk) {
		d.want(d.ask(pool, ""), "pool \""+pool+"\" isn't known: it was released, or never requested")
		if n := len(d.spaces[SpaceLocal].by[netip.MustParsePrefix("fd00::/64")].entries); n != 2 || len(d.handles) != 1 {
			t.Errorf("%d addresses in %d pools after the start", n, len(d.handles))
		}
	})
}
