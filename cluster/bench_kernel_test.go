//go:build kernel

package cluster

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sys/unix"
)

// BenchmarkBigCluster is one host in a cluster of 100 with 10,000 endpoints: how
// long it takes to know them all, how long until a change in etcd has reached the
// data plane, and what it needs.
func BenchmarkBigCluster(b *testing.B) {
	const hosts, each = 100, 100
	e := startEtcd(b)
	client := e.client(b)
	defer client.Close()
	endpoint := func(h, i int, mac byte) (string, string) {
		ip := netip.AddrFrom4([4]byte{10, 1, byte(h), byte(i + 1)})
		host, id := fmt.Sprintf("h%03d", h), fmt.Sprintf("e%03d", i)
		v := Endpoint{ID: id, MAC: fmt.Sprintf("02:%02x:00:00:%02x:%02x", mac, h, i), IPv4: ip}
		return "/fairway/test/" + endpointKey("s", host, id), string(encode(v))
	}
	for h := range hosts {
		name := fmt.Sprintf("h%03d", h)
		ops := []clientv3.Op{clientv3.OpPut("/fairway/test/"+hostKey(name), string(encode(Host{Name: name, Advertise: netip.AddrFrom4([4]byte{192, 0, 2, byte(h + 1)})})))}
		for i := range each {
			key, value := endpoint(h, i, 0)
			ops = append(ops, clientv3.OpPut(key, value))
		}
		if _, err := client.Txn(b.Context()).Then(ops...).Commit(); err != nil {
			b.Fatal(err)
		}
	}
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began := time.Now()
	s := newSim(b, "self", e.url)
	eventually(b, "all is known", func() bool { return len(s.plane.ids("s")) == hosts*each })
	known := time.Since(began)
	runtime.GC()
	runtime.ReadMemStats(&after)

	s.ready(b)
	s.attach("s", "own", s.mustAddress(b, s.mustPool(b, "s", "10.1.0.0/16"), ""))
	time.Sleep(3 * time.Second)
	spent := processor()
	time.Sleep(10 * time.Second)
	quiet := processor() - spent

	var took []time.Duration
	mac := byte(0)
	for b.Loop() {
		mac++
		key, value := endpoint(len(took)%hosts, 7, mac)
		id := fmt.Sprintf("h%03d/e007", len(took)%hosts)
		want := fmt.Sprintf("02:%02x:", mac)
		began := time.Now()
		if _, err := client.Put(context.Background(), key, value); err != nil {
			b.Fatal(err)
		}
		for end := began.Add(patience); s.plane.mac("s", id)[:len(want)] != want; time.Sleep(100 * time.Microsecond) {
			if time.Now().After(end) {
				b.Fatal("the change didn't come")
			}
		}
		took = append(took, time.Since(began))
	}
	b.ReportMetric(100*quiet.Seconds()/10, "%-cpu-quiet")
	b.ReportMetric(float64(known.Milliseconds()), "ms-to-know-all")
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "MiB")
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "µs-p50")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "µs-p99")
}

// processor is the time of processors that this process has had.
func processor() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func (p *planeLog) mac(segment, id string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.has[segment][id].MAC
}
