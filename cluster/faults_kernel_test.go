//go:build kernel

package cluster

import (
	"context"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
)

// While hosts claim and release addresses, etcd is stopped and hangs, a daemon is
// killed, a host is cut off, and etcd's history goes: no address has two holders,
// and in the end all know what all have.
func TestClaimsUnderFaults(t *testing.T) {
	t.Parallel()
	e := startEtcd(t)
	w := newWire(t, e)
	c := newCrowd(t, e.url, e.url, "http://"+w.listener.Addr().String())
	c.join(t, "10.1.0.0/20")
	c.begin()
	c.progress(t, "at first", true)

	e.kill()
	c.progress(t, "with etcd stopped", false)
	c.hosts[0].crash(t)
	c.progress(t, "after a restart of one without etcd", false)
	e.start(t)
	c.progress(t, "with etcd back", true)

	w.setCut(true)
	e.compact(t)
	c.progress(t, "with one host cut off", false)
	c.hosts[1].crash(t)
	e.compact(t)
	w.setCut(false)
	c.progress(t, "with that host back", true)

	pause(t, e, true)
	c.progress(t, "with etcd hanging", false)
	pause(t, e, false)
	for range 5 {
		e.compact(t)
		c.progress(t, "with its history gone", false)
	}
	c.progress(t, "at last", true)
	c.end(t)
	c.history.check(t)
	c.agree(t, e)
	c.quiet(t)
}

// Hosts that want more than there is take the last blocks at the same time: each
// gets one or none.
func TestLastBlocks(t *testing.T) {
	t.Parallel()
	e := startEtcd(t)
	c := newCrowd(t, e.url, e.url, e.url, e.url, e.url, e.url)
	c.join(t, "10.1.1.0/24") // 16 blocks of 16
	for _, b := range c.hosts {
		c.work.Go(func() {
			for {
				if err := b.claim(netip.Addr{}); err != nil {
					wantError(t, err, "exhausted")
					return
				}
			}
		})
	}
	c.work.Wait()
	c.history.check(t)
	c.agree(t, e)
	c.quiet(t)
	n := 0
	for _, b := range c.hosts {
		n += len(b.has)
	}
	// All but a block of each host, which may come after it has given up, and the
	// network's, the gateway's and the broadcast address.
	if want := 256 - 6*16 - 3; n < want {
		t.Errorf("%d addresses were claimed, want %d", n, want)
	}
}

// compact takes all history away, up to now.
func (e *etcd) compact(t testing.TB) {
	t.Helper()
	client := e.client(t)
	defer client.Close()
	eventually(t, "etcd is compacted", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		r, err := client.Get(ctx, "x")
		if err == nil {
			_, err = client.Compact(ctx, r.Header.Revision)
		}
		return err == nil
	})
}

// Etcd is restored from an old backup while a host is cut off, and goes past the
// revision that this one knew: the hosts write down again what they have. Where an
// address was given away meanwhile, the older record keeps it, and the other is cut
// off: nobody else is.
func TestOldBackup(t *testing.T) {
	t.Parallel()
	e := startEtcd(t)
	w := newWire(t, e)
	c := newCrowd(t, "http://"+w.listener.Addr().String(), e.url)
	a, b := c.hosts[0], c.hosts[1]
	c.join(t, "10.1.1.0/24") // 16 blocks of 16
	c.take(t, a, 10)
	c.take(t, b, 10)
	c.agree(t, e)
	early := len(a.has)
	backup := t.TempDir()
	e.kill()
	copyDir(t, e.dir, backup)
	e.start(t)

	// What etcd won't know: two blocks, an address in nobody's, a release, a restart.
	c.take(t, a, 30)
	single := a.free()
	if err := a.claim(single); err != nil {
		t.Fatal(err)
	}
	b.release(0)
	a.crash(t)
	a.ready(t)
	c.agree(t, e)
	c.history.check(t)
	c.quiet(t)

	w.setCut(true)
	e.kill()
	if err := os.RemoveAll(e.dir); err != nil {
		t.Fatal(err)
	}
	copyDir(t, backup, e.dir)
	restored := c.history.now()
	e.start(t)
	a.Cluster.mu.Lock()
	known := a.at
	a.Cluster.mu.Unlock()
	e.write(t, known+100)
	b.ready(t)
	c.take(t, b, 150) // of blocks that are a's, among others
	w.setCut(false)
	a.ready(t)
	c.settled(t, e)
	lost := c.cutOff(a)
	if len(lost) == 0 || len(c.cutOff(b)) != 0 {
		t.Errorf("of a %d endpoints are cut off, of b %d; want some, and none", len(lost), len(c.cutOff(b)))
	}
	for i, h := range a.has {
		if lost[h.id] && i < early {
			t.Errorf("endpoint %s of %s is cut off: it was in the backup", h.id, h.ip)
		}
	}
	t.Logf("%d of %d endpoints of a are cut off", len(lost), len(a.has))

	// Who was cut off has lost its address since.
	for _, h := range slices.Clone(a.has) {
		if lost[h.id] {
			c.history.add(a.number, step{a.name, h.ip, true}, restored, true)
			a.drop(t, h)
		}
	}
	c.history.check(t)

	// All goes on.
	for len(b.has) > 20 {
		b.release(0)
	}
	c.agree(t, e)
	c.begin()
	c.progress(t, "after it", false)
	c.end(t)
	c.history.check(t)
	c.agree(t, e)
	if n := len(c.cutOff(a)) + len(c.cutOff(b)); n > 0 {
		t.Errorf("%d endpoints are cut off", n)
	}
}

// take has a host claim so many addresses.
func (c *crowd) take(t testing.TB, b *busy, n int) {
	t.Helper()
	for range n {
		eventually(t, b.name+" claims an address", func() bool { return b.claim(netip.Addr{}) == nil })
	}
}

// cutOff returns the endpoints of a host that are cut off.
func (c *crowd) cutOff(b *busy) map[string]bool {
	b.Cluster.mu.Lock()
	defer b.Cluster.mu.Unlock()
	out := map[string]bool{}
	for key := range maps.Keys(b.Cluster.alarms) {
		out[strings.TrimPrefix(key, "s/")] = true
	}
	return out
}

// settled waits until each endpoint is in etcd or cut off, and no address there
// twice.
func (c *crowd) settled(t testing.TB, e *etcd) {
	t.Helper()
	eventually(t, "etcd has each endpoint that isn't cut off, and each address once", func() bool {
		have := e.entries(t, kindEndpoint)
		seen := map[netip.Addr]bool{}
		for _, value := range have {
			v, err := parse[Endpoint]([]byte(value))
			if err != nil || seen[v.IPv4] {
				return false
			}
			seen[v.IPv4] = true
		}
		for _, b := range c.hosts {
			lost := c.cutOff(b)
			for _, h := range b.has {
				if _, ok := have["endpoints/s/"+b.name+"/"+h.id]; ok == lost[h.id] {
					return false
				}
			}
		}
		return true
	})
}

// drop removes an endpoint that has lost its address.
func (b *busy) drop(t testing.TB, h held) {
	t.Helper()
	b.detach("s", h.id)
	if err := b.pools.ReleaseAddress(t.Context(), b.pool, h.ip); err != nil {
		t.Error(err)
	}
	b.has = slices.DeleteFunc(b.has, func(x held) bool { return x == h })
}

// write writes until etcd is at a revision.
func (e *etcd) write(t testing.TB, revision int64) {
	t.Helper()
	client := e.client(t)
	defer client.Close()
	for {
		r, err := client.Put(t.Context(), "x", "")
		if err != nil {
			t.Fatal(err)
		}
		if r.Header.Revision >= revision {
			return
		}
	}
}

func copyDir(t testing.TB, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}
