//go:build kernel

package cluster

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// A claim whose return got no answer isn't handed out, also after a restart, since
// etcd may have given it to another host; once etcd answers, another host gets it.
func TestClaimReturnedWithoutAnswer(t *testing.T) {
	t.Parallel()
	e := startEtcd(t)
	a, b := newSim(t, "a", e.url), newSim(t, "b", e.url)
	a.ready(t)
	b.ready(t)
	poolA, poolB := a.mustPool(t, "s", "10.1.0.0/16"), b.mustPool(t, "s", "")
	ip := a.unowned(t, "s")
	for _, restart := range []bool{false, true} {
		ip = ip.Next()
		a.mustAddress(t, poolA, ip.String())
		has := func() bool {
			_, claims, _ := a.Share("s", netip.MustParsePrefix("10.1.0.0/16"))
			return slices.Contains(claims, ip)
		}
		if err := a.pools.ReleaseAddress(t.Context(), poolA, ip); err != nil || !has() {
			t.Fatalf("released: %v; a has the claim: %t", err, has())
		}
		a.Cluster.mu.Lock()
		a.idle[claimKey("s", a.view.blockOf["s"][ip], ip)] = time.Now().Add(-time.Hour)
		a.Cluster.mu.Unlock()
		pause(t, e, true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		err := a.tidy(ctx)
		cancel()
		if err == nil || has() {
			t.Errorf("tidied without etcd: %v; a hands %s out: %t", err, ip, has())
		}
		if restart {
			time.Sleep(2 * saveEvery)
			a.stop()
			a.run(t)
			if has() {
				t.Errorf("after a restart a hands %s out", ip)
			}
		}
		pause(t, e, false)
		a.ready(t)
		if !restart {
			if err := a.tidy(t.Context()); err != nil {
				t.Fatal(err)
			}
			client := e.client(t)
			r, err := client.Get(t.Context(), "/fairway/test/claims/", clientv3.WithPrefix())
			client.Close()
			if err != nil || len(r.Kvs) != 0 || has() {
				t.Errorf("etcd has %d claims, %v; a has it: %t", len(r.Kvs), err, has())
			}
		}
		b.ready(t)
		b.mustAddress(t, poolB, ip.String())
	}
}
