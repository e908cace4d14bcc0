package ipam

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"fairway/store"
)

func (d *desk) collect(pools ...KnownPool) int {
	d.t.Helper()
	n, err := d.Collect(d.t.Context(), Known{Engine: "e", Pools: pools})
	if err != nil {
		d.t.Fatal(err)
	}
	return n
}

func known(subnet string, ips ...string) KnownPool {
	k := KnownPool{Subnet: netip.MustParsePrefix(subnet)}
	for _, ip := range ips {
		k.Addresses = append(k.Addresses, netip.MustParseAddr(ip))
	}
	return k
}

func TestReclaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, Options{})
		subnet := netip.MustParsePrefix("10.0.0.0/24")
		ours, foreign := d.pool("10.0.0.0/24"), d.pool("10.0.1.0/24")
		d.askFor(AddressSpec{Pool: ours, Gateway: true})
		d.Confirm(SpaceLocal, subnet, netip.MustParseAddr("10.0.0.1"))
		d.ask(ours, "10.0.0.2")
		d.Confirm(SpaceLocal, subnet, netip.MustParseAddr("10.0.0.2"))
		d.ask(ours, "10.0.0.3")    // the reply got lost
		d.ask(foreign, "10.0.1.2") // never confirmed, but in use
		reclaim := func(want int) {
			t.Helper()
			if n, err := d.Reclaim(t.Context()); n != want || err != nil {
				t.Fatalf("Reclaim = %d, %v; want %d", n, err, want)
			}
		}
		time.Sleep(2*time.Minute - 1)
		reclaim(0)
		time.Sleep(1)
		reclaim(1)
		reclaim(0)
		d.want(d.ask(ours, "10.0.0.1"), "address 10.0.0.1 is already in use")
		d.want(d.ask(ours, "10.0.0.2"), "address 10.0.0.2 is already in use")
		d.want(d.ask(foreign, "10.0.1.2"), "address 10.0.1.2 is already in use")
		d.want(d.ask(ours, "10.0.0.3"), "10.0.0.3/24")
	})
}

func TestCollect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, Options{})
		gone, lost, kept := d.pool("10.0.0.0/24"), d.pool("10.0.1.0/24"), d.pool("10.0.2.0/24")
		other := d.poolOf(PoolSpec{Pool: "10.0.3.0/24", Engine: "other"})
		nameless := d.poolOf(PoolSpec{Pool: "10.0.4.0/24", Engine: " "})
		d.ask(gone, "")
		d.askFor(AddressSpec{Pool: kept, Gateway: true})
		d.ask(kept, "10.0.2.2")
		d.ask(kept, "10.0.2.3")
		knows := []KnownPool{known("10.0.2.0/24", "10.0.2.2")}

		if n := d.collect(knows...); n != 0 {
			t.Fatalf("collected %d at first sight", n)
		}
		time.Sleep(2*time.Minute - 1)
		// The engine does know it after all: it was asked at a bad moment.
		if n := d.collect(append(knows, known("10.0.1.0/24"))...); n != 0 {
			t.Fatalf("collected %d within the grace period", n)
		}
		time.Sleep(1)
		if n := d.collect(knows...); n != 2 {
			t.Fatalf("collected %d, want a pool and an address", n)
		}
		if d.handles[gone] != nil || d.handles[lost] == nil || d.handles[kept] == nil || d.handles[other] == nil || d.handles[nameless] == nil {
			t.Error("collected the wrong pools")
		}
		d.want(d.ask(kept, "10.0.2.1"), "address 10.0.2.1 is already in use")
		d.want(d.ask(kept, "10.0.2.2"), "address 10.0.2.2 is already in use")
		d.want(d.ask(kept, "10.0.2.3"), "10.0.2.3/24")
		time.Sleep(2 * time.Minute)
		if n := d.collect(known("10.0.2.0/24", "10.0.2.2", "10.0.2.3")); n != 1 || d.handles[lost] != nil {
			t.Errorf("collected %d, want the pool that was requested but never used", n)
		}
		if n, err := d.Collect(t.Context(), Known{}); n != 0 || err != nil {
			t.Errorf("knowing nothing of nobody: %d, %v", n, err)
		}
	})
}

// TestCollectHandles gives one subnet several handles of which Docker knows some.
func TestCollectHandles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, Options{})
		share := map[string]string{"shared": "true"}
		lost := d.pool("10.0.0.0/24")
		time.Sleep(1)
		one := d.poolOf(PoolSpec{Pool: "10.0.0.0/24", SubPool: "10.0.0.0/25", Options: share})
		d.Confirm(SpaceLocal, netip.MustParsePrefix("10.0.0.0/24")) // a network without a gateway
		for range 3 {
			time.Sleep(time.Hour)
			if n := d.collect(known("10.0.0.0/24"), known("10.0.0.0/24")); n != 0 {
				t.Fatalf("collected %d of as many handles as networks", n)
			}
		}
		d.collect(known("10.0.0.0/24"))
		time.Sleep(time.Hour)
		if n := d.collect(known("10.0.0.0/24")); n != 1 || d.handles[lost] != nil || d.handles[one] == nil {
			t.Errorf("collected %d: want just the handle that wasn't used", n)
		}
		d.collect()
		time.Sleep(time.Hour)
		if n := d.collect(); n != 1 || len(d.handles) != 0 || len(d.store.records.Pools) != 0 {
			t.Errorf("collected %d, %d handles left", n, len(d.handles))
		}
	})
}

// TestConfirmOthers tells of what isn't ours to know.
func TestConfirmOthers(t *testing.T) {
	d := newDesk(t, Options{})
	pool := d.pool("10.0.0.0/24")
	d.Confirm("LocalDefault", netip.MustParsePrefix("10.0.0.0/24"), netip.MustParseAddr("10.0.0.2"))
	d.Confirm(SpaceLocal, netip.MustParsePrefix("10.0.0.0/25"), netip.MustParseAddr("10.0.0.2"))
	d.Confirm(SpaceLocal, netip.MustParsePrefix("10.0.0.0/24"), netip.Addr{}, netip.MustParseAddr("10.9.0.2"))
	if n := len(d.store.records.Addresses); n != 0 {
		t.Errorf("%d addresses recorded", n)
	}
	if !d.store.records.Pools[pool].Confirmed {
		t.Error("the pool isn't confirmed by its network")
	}
}

func TestDamagedRecords(t *testing.T) {
	good := store.Pool{ID: "a", Space: SpaceLocal, Subnet: netip.MustParsePrefix("10.0.0.0/24")}
	for name, change := range map[string]func(*store.Pool){
		"space":     func(p *store.Pool) { p.Space = "x" },
		"no subnet": func(p *store.Pool) { p.Subnet = netip.Prefix{} },
		"host bits": func(p *store.Pool) { p.Subnet = netip.MustParsePrefix("10.0.0.1/24") },
	} {
		p := good
		change(&p)
		records := store.NewRecords()
		records.Apply(store.PutPool(p))
		if _, err := New(Options{Store: newFakeStore()}, records); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	// Addresses that no pool has are forgotten; a clock that was set back ends no delay late.
	synctest.Test(t, func(t *testing.T) {
		f := newFakeStore()
		f.records.Apply(
			store.PutPool(good),
			store.PutAddress(store.Address{Space: SpaceLocal, Subnet: netip.MustParsePrefix("10.9.0.0/24"), IP: netip.MustParseAddr("10.9.0.1")}),
			store.PutAddress(store.Address{
				Space: SpaceLocal, Subnet: good.Subnet, IP: netip.MustParseAddr("10.0.0.1"), Released: time.Now().Add(time.Hour),
			}),
		)
		d := &desk{store: f, t: t}
		d.start(Options{})
		d.want(d.ask("a", ""), "10.0.0.2/24")
		time.Sleep(30 * time.Second)
		d.want(d.ask("a", ""), "10.0.0.1/24")
		if len(f.records.Addresses) != 2 {
			t.Errorf("records of addresses: %v", f.records.Addresses)
		}
	})
}

// Docker gives the pools of a network back before it has the network removed.
func TestReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, Options{})
		subnet := netip.MustParsePrefix("10.0.0.0/24")
		released := func(before time.Time, want bool) {
			t.Helper()
			if got := d.Released(SpaceLocal, subnet, before); got != want {
				t.Errorf("released %t, want %t", got, want)
			}
		}
		pool := d.pool("10.0.0.0/24")
		made := time.Now() // the network, with its call under way
		released(made, false)
		time.Sleep(time.Second)
		again := d.pool("10.0.0.0/24") // perhaps the first request once more
		released(made, false)
		d.Confirm(SpaceLocal, subnet, netip.MustParseAddr("10.0.0.1"))
		for _, p := range []string{pool, again} {
			released(made, false)
			if err := d.ReleasePool(t.Context(), p); err != nil {
				t.Fatal(err)
			}
		}
		released(made, true)
		d.pool("10.0.0.0/24") // for another network
		released(made, true)

		if d.Released("LocalDefault", netip.MustParsePrefix("10.9.0.0/24"), made) {
			t.Error("a pool of Docker's own: released")
		}
		if !d.Released(SpaceLocal, netip.MustParsePrefix("10.9.0.0/24"), made) {
			t.Error("a pool that nobody has: not released")
		}
	})
}
