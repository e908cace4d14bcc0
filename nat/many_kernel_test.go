//go:build kernel

package nat

import (
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestManyPorts holds 10,000 ports, in a namespace where all of them are free,
// over a restart and until they are given back.
func TestManyPorts(t *testing.T) {
	enter(t)
	const n, first = 10000, 20000
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Cur < n+100 {
		t.Fatalf("this test may open %d files, want %d: raise the hard limit (ulimit -n)", limit.Cur, n+100)
	}
	var requests []Request
	for i := range uint16(n) {
		requests = append(requests, tcp("0.0.0.0", first+i, 0))
	}
	files, heap := openFiles(t), heapBytes()
	p := newTestPorts(t)
	start := time.Now()
	reserve(t, p, "one", requests...)
	t.Logf("reserve %d ports: %v", n, time.Since(start))
	t.Logf("memory: %d KiB, without the kernel's", (heapBytes()-heap)/1024)
	if got := openFiles(t) - files; got != n {
		t.Errorf("%d files for %d ports", got, n)
	}
	held := p.Held()
	p.Close()

	p = newTestPorts(t)
	start = time.Now()
	if err := p.Restore("one", held); err != nil {
		t.Fatal(err)
	}
	t.Logf("restore: %v", time.Since(start))
	if listens(first + n - 1) {
		t.Error("the last port is free after Restore")
	}
	start = time.Now()
	p.Release("one")
	t.Logf("release: %v", time.Since(start))
	if got := openFiles(t) - files; got != 0 {
		t.Errorf("%d files are open after Release", got)
	}
	if !listens(first) {
		t.Error("the first port is taken after Release")
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

func heapBytes() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
