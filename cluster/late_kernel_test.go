//go:build kernel

package cluster

import (
	"net/netip"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// The reply to a host's own transaction, or a reading of all there is, may come
// after the events that followed it: what was deleted since stays so.
func TestLateReply(t *testing.T) {
	t.Parallel()
	e := startEtcd(t)
	a := newSim(t, "a", e.url)
	a.ready(t)
	client := e.client(t)
	defer client.Close()
	const key = "endpoints/s/b/1"
	value := encode(Endpoint{ID: "1", MAC: "02:00:00:00:00:01", IPv4: netip.MustParseAddr("10.0.0.1")})
	has := func() bool {
		a.Cluster.mu.Lock()
		defer a.Cluster.mu.Unlock()
		_, ok := a.view.endpoints["s"]["b/1"]
		return ok
	}
	put, err := client.Put(t.Context(), a.key(key), string(value))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "a has it", has)
	if _, err = client.Delete(t.Context(), a.key(key)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a has it no more", func() bool { return !has() })
	a.Cluster.mu.Lock()
	a.take(a.entry([]byte(a.key(key)), value, put.Header.Revision, put.Header.Revision))
	a.Cluster.mu.Unlock()
	if has() {
		t.Error("a late reply brought back what was deleted")
	}
	if _, err = client.Txn(t.Context()).Then(clientv3.OpPut(a.key(key), string(value))).Commit(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a has it again", has)
}
