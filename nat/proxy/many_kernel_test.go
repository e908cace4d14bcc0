//go:build kernel

package proxy

import (
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"fairway/nat"
)

// TestManyPorts holds 10,000 ports of both families, those of IPv6 served, in a
// namespace where all of them are free: they need no goroutines, and little else.
func TestManyPorts(t *testing.T) {
	runtime.LockOSThread() // never unlocked: the thread ends with the test
	if _, err := netns.New(); err != nil {
		t.Fatalf("network namespace: %v (the kernel tests need root)", err)
	}
	const n, first = 10000, 20000
	both := []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
	var requests []nat.Request
	for i := range uint16(n) {
		to := netip.AddrPortFrom(netip.MustParseAddr("172.20.0.2"), i+1)
		requests = append(requests, nat.Request{
			Proto: unix.IPPROTO_TCP, HostIPs: both, Targets: []netip.AddrPort{{}, to}, First: first + i,
		})
	}
	p := newProxy(t, Options{})
	ports := nat.NewPorts(nil, p)
	defer ports.Close()
	goroutines, heap := runtime.NumGoroutine(), heapBytes()
	start := time.Now()
	if _, err := ports.Reserve(t.Context(), "one", requests); err != nil {
		t.Fatal(err)
	}
	t.Logf("reserve %d ports, all served: %v, %d KiB without the kernel's", n, time.Since(start), (heapBytes()-heap)/1024)
	if more := runtime.NumGoroutine() - goroutines; more > 1 {
		t.Errorf("%d goroutines for %d ports that nobody uses", more, n)
	}
	held := ports.Held()
	if len(held) != 2*n {
		t.Errorf("%d are held, want %d in each family", len(held), n)
	}
	ports.Close()
	start = time.Now()
	if err := ports.Restore("one", held); err != nil {
		t.Fatal(err)
	}
	t.Logf("restore: %v", time.Since(start))
	start = time.Now()
	ports.Release("one")
	t.Logf("release: %v", time.Since(start))
	p.poll.mu.Lock()
	defer p.poll.mu.Unlock()
	if left := len(p.poll.ready); left != 0 {
		t.Errorf("%d sockets are served after Release", left)
	}
}

func heapBytes() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
