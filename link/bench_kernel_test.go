//go:build kernel

package link

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink/nl"
)

// The claim is that an endpoint costs what the kernel makes it cost, which
// grows with the ports of the bridge (KERNEL.md 2.1).

var sizes = []int{0, 100, 1000} // a bridge holds 1023 ports

func filled(b *testing.B, present int) *Conn {
	c := newConn(b)
	must(b, c.Apply(b.Context(), network(c)))
	for i := range present {
		must(b, c.Apply(b.Context(), endpoint(c, i)))
	}
	return c
}

// report adds the median to a benchmark whose mean a busy machine spoils.
func report(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*95/100].Microseconds()), "p95-µs")
}

func BenchmarkApply(b *testing.B) {
	for _, present := range sizes {
		b.Run(fmt.Sprintf("present=%d", present), func(b *testing.B) {
			c := filled(b, present)
			want := endpoint(c, 2000)
			var took []time.Duration
			for b.Loop() {
				start := time.Now()
				must(b, c.Apply(b.Context(), want))
				took = append(took, time.Since(start))
				b.StopTimer()
				must(b, c.Remove(b.Context(), want))
				must(b, c.Quiesce(b.Context()))
				b.StartTimer()
			}
			report(b, took)
		})
	}
}

// BenchmarkBare is the limit: the one message that makes a pair.
func BenchmarkBare(b *testing.B) {
	for _, present := range sizes {
		b.Run(fmt.Sprintf("present=%d", present), func(b *testing.B) {
			c := filled(b, present)
			master, err := c.own.index("fwb1")
			must(b, err)
			v := testVeth(c, 2000)
			var took []time.Duration
			for b.Loop() {
				start := time.Now()
				_, err := c.own.fast.one(newVeth(v, master, c.group, v.Peer, -1))
				took = append(took, time.Since(start))
				must(b, err)
				b.StopTimer()
				must(b, c.Remove(b.Context(), Set{v}))
				must(b, c.Quiesce(b.Context()))
				b.StartTimer()
			}
			report(b, took)
		})
	}
}

func BenchmarkRemove(b *testing.B) {
	for _, present := range sizes {
		b.Run(fmt.Sprintf("present=%d", present), func(b *testing.B) {
			c := filled(b, present)
			want := endpoint(c, 2000)
			var took []time.Duration
			for b.Loop() {
				b.StopTimer()
				must(b, c.Apply(b.Context(), want))
				b.StartTimer()
				start := time.Now()
				must(b, c.Remove(b.Context(), want))
				took = append(took, time.Since(start))
				b.StopTimer()
				must(b, c.Quiesce(b.Context()))
				b.StartTimer()
			}
			report(b, took)
		})
	}
}

// BenchmarkDrain is the removal of 64 endpoints until the kernel has done it.
func BenchmarkDrain(b *testing.B) {
	c := filled(b, 0)
	for b.Loop() {
		b.StopTimer()
		var all Set
		for i := range 64 {
			all = append(all, endpoint(c, i)...)
		}
		must(b, c.Apply(b.Context(), all))
		b.StartTimer()
		must(b, c.Remove(b.Context(), all))
		must(b, c.Quiesce(b.Context()))
	}
}

// BenchmarkReconcile is a look at everything when nothing has drifted.
func BenchmarkReconcile(b *testing.B) {
	for _, present := range sizes {
		b.Run(fmt.Sprintf("present=%d", present), func(b *testing.B) {
			c := filled(b, present)
			want := network(c)
			for i := range present {
				want = append(want, endpoint(c, i)...)
			}
			for b.Loop() {
				repairs, err := c.Reconcile(b.Context(), want)
				must(b, err)
				if len(repairs) > 0 {
					b.Fatalf("repaired %v", repairs[0])
				}
			}
		})
	}
}

func BenchmarkMessage(b *testing.B) {
	v := Veth{Name: "fwv1", Peer: "fwi1", Master: "fwb1", MTU: 1400, PeerMAC: RandomMAC(), Alias: "fairway:x:y"}
	for b.Loop() {
		var reqs []*nl.NetlinkRequest
		reqs = append(reqs, newVeth(v, 1, 2, v.Peer, -1), setPort(3, v.Alias, v.portFlags()))
		for _, r := range reqs {
			r.Serialize()
		}
	}
}

// BenchmarkParallel is 512 attaches by 64 callers; the kernel's one lock for
// links allows some 4,700 a second (KERNEL.md 2.2).
func BenchmarkParallel(b *testing.B) {
	c := filled(b, 0)
	const callers, each = 64, 8
	var mu sync.Mutex
	var took []time.Duration
	var rate float64
	for b.Loop() {
		var wg sync.WaitGroup
		start := time.Now()
		for i := range callers {
			wg.Go(func() {
				for j := range each {
					start := time.Now()
					if err := c.Apply(b.Context(), endpoint(c, i*each+j)); err != nil {
						b.Error(err)
					}
					mu.Lock()
					took = append(took, time.Since(start))
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		rate = max(rate, callers*each/time.Since(start).Seconds())
		b.StopTimer()
		for i := range callers * each {
			must(b, c.Remove(b.Context(), endpoint(c, i)))
		}
		must(b, c.Quiesce(b.Context()))
		b.StartTimer()
	}
	report(b, took)
	b.ReportMetric(rate, "best-attaches/s")
}
