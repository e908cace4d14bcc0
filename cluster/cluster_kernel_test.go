//go:build kernel

package cluster

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

func wantError(t *testing.T, err error, says string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), says) {
		t.Errorf("error %v, want one that says %q", err, says)
	}
}

func TestHostsAgree(t *testing.T) {
	t.Parallel()
	e := startEtcd(t)
	a, b := newSim(t, "a", e.url), newSim(t, "b", e.url)
	a.ready(t)
	b.ready(t)
	_, _, err := b.pool("backbone", "", "")
	wantError(t, err, "want --subnet")
	poolA, gw, err := a.pool("backbone", "10.40.0.0/16", "")
	if err != nil || gw.String() != "10.40.0.1/16" {
		t.Fatalf("%s, %v", gw, err)
	}
	_, _, err = b.pool("backbone", "10.41.0.0/16", "")
	wantError(t, err, "segment backbone has 10.40.0.0/16")
	_, _, err = b.pool("backbone", "", "10.40.0.9")
	wantError(t, err, "segment backbone has 10.40.0.1 on all hosts")
	poolB, gw, err := b.pool("backbone", "", "")
	if err != nil || gw.String() != "10.40.0.1/16" {
		t.Fatalf("%s, %v", gw, err)
	}
	sa, err := a.Settle(t.Context(), "backbone", Settings{Options: map[string]string{"multicast": "false"}})
	if err != nil || sa.VNI < firstVNI || sa.Port != DefaultPort {
		t.Fatalf("%+v, %v", sa, err)
	}
	eventually(t, "b has settled, too", func() bool {
		sb, err := b.Settle(t.Context(), "backbone", Settings{Options: map[string]string{"multicast": "false"}})
		return err == nil && sb.VNI == sa.VNI
	})
	_, err = b.Settle(t.Context(), "backbone", Settings{VNI: 77})
	wantError(t, err, `option vni="77"`)
	_, err = b.Settle(t.Context(), "backbone", Settings{Options: map[string]string{"multicast": "true"}})
	wantError(t, err, `option multicast="true"`)
	if sb, err := b.Settle(t.Context(), "backbone", Settings{}); err != nil || sb.Options["multicast"] != "false" {
		t.Errorf("without a word: %+v, %v", sb, err)
	}
	_, err = b.Settle(t.Context(), "elsewhere", Settings{})
	wantError(t, err, "--ipam-opt segment=elsewhere")
	if _, _, err = b.pool("other", "10.50.0.0/24", ""); err != nil {
		t.Fatal(err)
	}
	_, err = b.Settle(t.Context(), "other", Settings{VNI: sa.VNI})
	wantError(t, err, "another segment has it")

	// Endpoints are seen by the other, and go.
	a.attach("backbone", "e1", a.mustAddress(t, poolA, ""))
	eventually(t, "b sees a's endpoint", func() bool {
		r := b.plane.ids("backbone")["a/e1"]
		return r.Underlay == netip.MustParseAddr("192.0.2.1")
	})
	a.detach("backbone", "e1")
	eventually(t, "b sees it go", func() bool { return len(b.plane.ids("backbone")) == 0 })

	// The segment goes with its last host, and with it all that it had.
	for s, pool := range map[*sim]string{a: poolA, b: poolB} {
		if err := s.pools.ReleasePool(t.Context(), pool); err != nil {
			t.Fatal(err)
		}
	}
	client := e.client(t)
	defer client.Close()
	eventually(t, "nothing of the segment is left", func() bool {
		r, err := client.Get(t.Context(), "/fairway/test/", clientv3.WithPrefix(), clientv3.WithKeysOnly())
		if err != nil {
			t.Fatal(err)
		}
		for _, kv := range r.Kvs {
			if strings.Contains(string(kv.Key), "backbone") {
				return false
			}
		}
		return true
	})
}

// 16 hosts attach at once, 10,000 times, and give back a third of it meanwhile.
func TestNoAddressTwice(t *testing.T) {
	t.Parallel()
	e := startEtcd(t)
	const hosts, each = 16, 625
	var sims []*sim
	for i := range hosts {
		sims = append(sims, newSim(t, fmt.Sprintf("h%02d", i), e.url))
	}
	for _, s := range sims {
		s.ready(t)
	}
	var mu sync.Mutex
	has := map[netip.Addr]string{}
	var wg sync.WaitGroup
	for _, s := range sims {
		wg.Go(func() {
			pool, _, err := s.pool("big", "10.64.0.0/16", "")
			if err != nil {
				t.Errorf("%s: %v", s.name, err)
				return
			}
			for i := range each {
				ip, err := s.address(pool, "")
				if err != nil {
					t.Errorf("%s: attach %d: %v", s.name, i, err)
					return
				}
				mu.Lock()
				if other := has[ip]; other != "" {
					t.Errorf("%s has %s, and so has %s", other, ip, s.name)
				}
				has[ip] = s.name
				if i%3 == 0 {
					delete(has, ip)
				}
				mu.Unlock()
				if i%3 == 0 {
					if err := s.pools.ReleaseAddress(context.Background(), pool, ip); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	if want := hosts * (each - (each+2)/3); len(has) != want {
		t.Errorf("%d addresses, want %d", len(has), want)
	}
}

// A static address is had from wherever it is, by one host.
func TestStaticAddresses(t *testing.T) {
	t.Parallel()
	e := startEtcd(t)
	a, b, c := newSim(t, "a", e.url), newSim(t, "b", e.url), newSim(t, "c", e.url)
	pools := map[*sim]string{}
	for _, s := range []*sim{a, b, c} {
		s.ready(t)
		pools[s] = s.mustPool(t, "s", "10.1.1.0/24")
	}
	free := a.mustAddress(t, pools[a], "") // a has a block from here on
	inBlock := free.Next().Next()
	b.mustAddress(t, pools[b], inBlock.String()) // of a's block
	_, err := a.address(pools[a], inBlock.String())
	wantError(t, err, "is already in use on host b")
	_, err = b.address(pools[b], free.String())
	wantError(t, err, "is already in use on host a")
	seen := map[netip.Addr]bool{free: true}
	for range 13 { // the rest of a's block of 16, or more: b's is left out
		ip := a.mustAddress(t, pools[a], "")
		if ip == inBlock || seen[ip] {
			t.Errorf("a hands out %s", ip)
		}
		seen[ip] = true
	}
	_, err = c.address(pools[c], "10.1.1.1")
	wantError(t, err, "already in use")
	_, err = c.address(pools[c], "10.1.1.255")
	wantError(t, err, "broadcast")

	// Released, it stays b's claim, but not for a host that asks.
	if err := b.pools.ReleaseAddress(t.Context(), pools[b], inBlock); err != nil {
		t.Fatal(err)
	}
	b.mustAddress(t, pools[b], inBlock.String())
	if err := b.pools.ReleaseAddress(t.Context(), pools[b], inBlock); err != nil {
		t.Fatal(err)
	}
	c.mustAddress(t, pools[c], inBlock.String())
	_, err = b.address(pools[b], inBlock.String())
	wantError(t, err, "is already in use on host c")

	// In a block that nobody has, of many who ask one gets it.
	var wg sync.WaitGroup
	var mu sync.Mutex
	got := 0
	far := a.unowned(t, "s")
	for _, s := range []*sim{a, b, c} {
		wg.Go(func() {
			if _, err := s.address(pools[s], far.String()); err == nil {
				mu.Lock()
				got++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if got != 1 {
		t.Errorf("%d hosts have %s", got, far)
	}
}

// unowned returns an address of a block that no host has.
func (s *sim) unowned(t *testing.T, segment string) netip.Addr {
	t.Helper()
	s.Cluster.mu.Lock()
	defer s.Cluster.mu.Unlock()
	b, ok, err := s.freeBlock(segment, s.view.segments[segment].Subnets[0].Prefix, 5)
	if !ok || err != nil {
		t.Fatal("no free block", err)
	}
	return b.Addr().Next().Next()
}

// Without etcd a host goes on with what it has, also after a restart; what it did
// meanwhile is sent once etcd is back.
func TestWithoutEtcd(t *testing.T) {
	t.Parallel()
	e := startEtcd(t)
	a, b := newSim(t, "a", e.url), newSim(t, "b", e.url)
	a.ready(t)
	b.ready(t)
	pool := a.mustPool(t, "s", "10.1.0.0/16")
	b.mustPool(t, "s", "")
	first := a.mustAddress(t, pool, "")
	given := first.Next()
	b.attach("s", "of-b", b.mustAddress(t, b.poolID(t), given.String())) // out of a's block
	a.attach("s", "one", first)
	eventually(t, "both see each other", func() bool { return len(a.plane.ids("s")) == 1 && len(b.plane.ids("s")) == 1 })
	time.Sleep(2 * saveEvery)

	e.kill()
	a.attach("s", "two", a.mustAddress(t, pool, ""))
	a.detach("s", "one")
	a.stop()
	a.run(t)
	eventually(t, "after a restart without etcd, a knows of b", func() bool { return len(a.plane.ids("s")) == 1 })
	for range 20 {
		if ip := a.mustAddress(t, pool, ""); ip == given || ip == first {
			t.Errorf("a hands out %s, which is in use", ip)
		}
	}
	if _, _, err := a.pool("new", "10.2.0.0/24", ""); err == nil {
		t.Error("a segment was made without etcd")
	}

	e.start(t)
	a.ready(t)
	eventually(t, "b sees what a did meanwhile", func() bool {
		ids := b.plane.ids("s")
		_, two := ids["a/two"]
		return len(ids) == 1 && two
	})
}

func (s *sim) poolID(t *testing.T) string {
	t.Helper()
	s.disk.mu.Lock()
	defer s.disk.mu.Unlock()
	for id := range s.disk.records.Pools {
		return id
	}
	t.Fatal("no pool")
	return ""
}

// A host that was cut off while etcd was changed and compacted is up to date again.
func TestCompaction(t *testing.T) {
	t.Parallel()
	e := startEtcd(t)
	w := newWire(t, e)
	a, b := newSim(t, "a", e.url), newSim(t, "b", "http://"+w.listener.Addr().String())
	a.ready(t)
	b.ready(t)
	pool := a.mustPool(t, "s", "10.1.0.0/16")
	a.attach("s", "stays", a.mustAddress(t, pool, ""))
	a.attach("s", "goes", a.mustAddress(t, pool, ""))
	eventually(t, "b sees both", func() bool { return len(b.plane.ids("s")) == 2 })
	w.setCut(true)
	a.detach("s", "goes")
	a.attach("s", "comes", a.mustAddress(t, pool, ""))
	client := e.client(t)
	defer client.Close()
	eventually(t, "a has said so, and etcd has no history", func() bool {
		r, err := client.Get(t.Context(), "/fairway/test/endpoints/", clientv3.WithPrefix())
		if err != nil || len(r.Kvs) != 2 || strings.Contains(fmt.Sprint(r.Kvs), "goes") {
			return false
		}
		_, err = client.Compact(t.Context(), r.Header.Revision)
		return err == nil
	})
	w.setCut(false)
	eventually(t, "b sees what is there now", func() bool {
		ids := b.plane.ids("s")
		_, stays := ids["a/stays"]
		_, comes := ids["a/comes"]
		return len(ids) == 2 && stays && comes
	})
}

// An etcd that comes back empty, or older than it was, gets back what hosts have.
func TestRestoredEtcd(t *testing.T) {
	t.Parallel()
	e := startEtcd(t)
	a, b := newSim(t, "a", e.url), newSim(t, "b", e.url)
	a.ready(t)
	b.ready(t)
	poolA, poolB := a.mustPool(t, "s", "10.1.0.0/16"), b.mustPool(t, "s", "")
	a.attach("s", "one", a.mustAddress(t, poolA, ""))
	before, err := a.Settle(t.Context(), "s", Settings{})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "b knows", func() bool { s, _ := b.Segment("s"); return s.VNI == before.VNI && len(b.plane.ids("s")) == 1 })
	e.kill()
	if err := os.RemoveAll(e.dir); err != nil {
		t.Fatal(err)
	}
	e.start(t)
	client := e.client(t)
	defer client.Close()
	eventually(t, "etcd knows the segment, its block and the endpoint again", func() bool {
		for _, key := range []string{segmentKey("s"), vniKey(before.VNI), memberKey("s", "a"), memberKey("s", "b"), hostKey("a"), "endpoints/s/a/one"} {
			if r, err := client.Get(t.Context(), "/fairway/test/"+key); err != nil || len(r.Kvs) != 1 {
				return false
			}
		}
		r, err := client.Get(t.Context(), "/fairway/test/blocks/s/", clientv3.WithPrefix())
		return err == nil && len(r.Kvs) >= 1
	})
	a.ready(t)
	b.ready(t)
	if after, err := b.Settle(t.Context(), "s", Settings{}); err != nil || after.VNI != before.VNI {
		t.Errorf("%+v, %v; before %+v", after, err, before)
	}
	seen := map[netip.Addr]bool{}
	for range 50 {
		for s, pool := range map[*sim]string{a: poolA, b: poolB} {
			ip := s.mustAddress(t, pool, "")
			if seen[ip] {
				t.Fatalf("%s twice", ip)
			}
			seen[ip] = true
		}
	}
}

// Of two endpoints with one address the younger is taken off the segment.
func TestConflict(t *testing.T) {
	t.Parallel()
	e := startEtcd(t)
	a, b := newSim(t, "a", e.url), newSim(t, "b", e.url)
	a.ready(t)
	b.ready(t)
	a.mustPool(t, "s", "10.1.0.0/16")
	b.mustPool(t, "s", "")
	ip := netip.MustParseAddr("10.1.9.9")
	a.attach("s", "older", ip)
	eventually(t, "b sees it", func() bool { return len(b.plane.ids("s")) == 1 })
	b.attach("s", "younger", ip)
	eventually(t, "b raises an alarm", func() bool { return len(b.Alarms()) == 1 })
	if len(a.plane.ids("s")) != 0 {
		t.Error("the younger endpoint is in the segment")
	}
	a.detach("s", "older")
	eventually(t, "then the younger one has it", func() bool { return len(a.plane.ids("s")) == 1 && len(b.Alarms()) == 0 })
}

func TestHostsComeAndGo(t *testing.T) {
	t.Parallel()
	e := startEtcd(t)
	a, b := newSim(t, "a", e.url), newSim(t, "b", e.url)
	a.ready(t)
	b.ready(t)
	pool := b.mustPool(t, "s", "10.1.1.0/24")
	a.mustPool(t, "s", "")
	b.attach("s", "one", b.mustAddress(t, pool, ""))
	eventually(t, "a sees b's endpoint", func() bool { return len(a.plane.ids("s")) == 1 })
	wantError(t, a.Forget(t.Context(), "b"), "is alive")
	wantError(t, a.Forget(t.Context(), "nobody"), "not of this cluster")

	// A daemon that comes back is the same host at once, by another address, too.
	b.stop()
	b.underlay = "192.0.2.50"
	b.run(t)
	b.ready(t)
	eventually(t, "a sends to b's new address", func() bool {
		return a.plane.ids("s")["b/one"].Underlay == netip.MustParseAddr("192.0.2.50")
	})

	// A clone of the machine isn't let in while the original lives.
	clone := &sim{name: "b", url: e.url, boot: "another boot", disk: b.disk.copy(), local: map[string][]Endpoint{}}
	clone.run(t)
	eventually(t, "the clone is refused", func() bool {
		_, trouble := clone.Hosts()
		return strings.Contains(trouble, "another machine")
	})
	clone.stop()
	b.ready(t)

	// Another host of the same name neither.
	other := &sim{name: "b", url: e.url, boot: "x", disk: &memory{records: emptyRecords()}, local: map[string][]Endpoint{}}
	other.instance = "other"
	other.run(t)
	eventually(t, "another host of that name is refused", func() bool {
		_, trouble := other.Hosts()
		return strings.Contains(trouble, "is that of another host")
	})
	other.stop()

	// A host that is gone keeps what it has, until it is forgotten.
	b.stop()
	eventually(t, "b isn't alive", func() bool {
		hosts, _ := a.Hosts()
		return len(hosts) == 2 && !hosts[1].Alive
	})
	if len(a.plane.ids("s")) != 1 {
		t.Error("the endpoint of a host that isn't alive went: it may only be cut off from etcd")
	}
	if err := a.Forget(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "nothing is left of b", func() bool {
		hosts, _ := a.Hosts()
		return len(hosts) == 1 && len(a.plane.ids("s")) == 0
	})
	a.Cluster.mu.Lock()
	defer a.Cluster.mu.Unlock()
	for block, host := range a.view.blocks["s"] {
		if host == "b" {
			t.Errorf("block %s is left", block)
		}
	}
}

// A host that has segments keeps its name; without any it may have another, and the
// old one can be forgotten.
func TestRenamed(t *testing.T) {
	t.Parallel()
	e := startEtcd(t)
	a, b := newSim(t, "a", e.url), newSim(t, "b", e.url)
	a.ready(t)
	b.ready(t)
	pool := b.mustPool(t, "s", "10.1.1.0/24")
	b.stop()
	if err := b.saveNow(); err != nil {
		t.Fatal(err)
	}
	_, err := New(Options{Self: Host{Name: "c", Instance: "instance-b"}, Store: b.disk}, b.disk.copy().records)
	wantError(t, err, "host name c: this host has segment s under the name b")
	b.run(t)
	b.ready(t)
	if err := b.pools.ReleasePool(t.Context(), pool); err != nil {
		t.Fatal(err)
	}
	eventually(t, "b has left", func() bool {
		_, there := b.Segment("s")
		return !there
	})
	b.stop()
	c := &sim{name: "c", instance: "instance-b", url: e.url, boot: "boot", disk: b.disk, local: map[string][]Endpoint{}}
	c.run(t)
	c.ready(t)
	c.mustPool(t, "s", "10.1.2.0/24")
	eventually(t, "b is forgotten", func() bool { return a.Forget(t.Context(), "b") == nil })
	eventually(t, "a and c are left", func() bool {
		hosts, _ := a.Hosts()
		return len(hosts) == 2 && hosts[0].Name == "a" && hosts[1].Name == "c" && hosts[1].Alive
	})
}

// Blocks that are empty are given back, but for one.
func TestBlocksReturn(t *testing.T) {
	t.Parallel()
	e := startEtcd(t)
	a := newSim(t, "a", e.url)
	a.ready(t)
	pool := a.mustPool(t, "s", "10.1.1.0/24")
	var got []netip.Addr
	for range 40 {
		got = append(got, a.mustAddress(t, pool, ""))
	}
	for _, ip := range got {
		if err := a.pools.ReleaseAddress(t.Context(), pool, ip); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.tidy(t.Context()); err != nil {
		t.Fatal(err)
	}
	client := e.client(t)
	defer client.Close()
	r, err := client.Get(t.Context(), "/fairway/test/blocks/", clientv3.WithPrefix())
	if err != nil || len(r.Kvs) != 1 {
		t.Errorf("%d blocks, %v; want 1", len(r.Kvs), err)
	}
	for range 40 {
		a.mustAddress(t, pool, "")
	}
}

// When etcd hangs, calls fail in time, and what is there goes on.
func TestHangingEtcd(t *testing.T) {
	t.Parallel()
	e := startEtcd(t)
	a := newSim(t, "a", e.url)
	a.ready(t)
	pool := a.mustPool(t, "s", "10.1.0.0/16")
	a.mustAddress(t, pool, "")
	pause(t, e, true)
	defer pause(t, e, false)
	began := time.Now()
	for range 30 {
		a.mustAddress(t, pool, "")
	}
	_, err := a.address(pool, "10.1.255.9")
	wantError(t, err, "etcd can't be reached")
	if took := time.Since(began); took > patience {
		t.Errorf("took %v", took)
	}
}
