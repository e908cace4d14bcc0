package ipam

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"fairway/store"
)

// An idleStore takes every change and keeps none.
type idleStore struct{}

func (idleStore) Begin(...store.Change) <-chan error {
	done := make(chan error, 1)
	done <- nil
	return done
}

// on returns an allocator with one pool of the subnet.
func on(b *testing.B, s Store, subnet string) (*Allocator, string) {
	b.Helper()
	a, err := New(Options{Store: s, ReuseDelay: -1}, store.NewRecords())
	if err != nil {
		b.Fatal(err)
	}
	p := netip.MustParsePrefix(subnet)
	reply, err := a.RequestPool(b.Context(), PoolSpec{Space: SpaceLocal, Pool: subnet, V6: p.Addr().Is6()})
	if err != nil {
		b.Fatal(err)
	}
	return a, reply.ID
}

func mustRequest(b *testing.B, a *Allocator, pool string) netip.Addr {
	p, err := a.RequestAddress(b.Context(), AddressSpec{Pool: pool})
	if err != nil {
		b.Fatal(err)
	}
	return p.Addr()
}

// BenchmarkInMemory gives out an address and takes it back, at the end of a
// subnet that is empty but for it, or full but for it, without a store: the cost
// must be the same.
func BenchmarkInMemory(b *testing.B) {
	for _, subnet := range []string{"10.0.0.0/24", "10.0.0.0/16", "10.0.0.0/12", "fd00::/64"} {
		size := 32 - netip.MustParsePrefix(subnet).Bits()
		if size < 0 {
			size = 17
		}
		for _, present := range []int{0, 1<<size - 3} {
			b.Run(fmt.Sprintf("%s/present=%d", subnet, present), func(b *testing.B) {
				a, pool := on(b, idleStore{}, subnet)
				for range present {
					mustRequest(b, a, pool)
				}
				for b.Loop() {
					ip := mustRequest(b, a, pool)
					if err := a.ReleaseAddress(b.Context(), pool, ip); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkSet fills a /8 and then frees and takes one address of the full set.
func BenchmarkSet(b *testing.B) {
	var s set
	last := host{0, 1<<24 - 1}
	begin := time.Now()
	for range 1 << 24 {
		h, _ := s.next(host{}, last)
		s.add(h)
	}
	fill := time.Since(begin)
	i := uint64(0)
	for b.Loop() {
		i = (i*1103515245 + 12345) & last.lo
		s.remove(host{0, i})
		h, _ := s.next(host{}, last)
		s.add(h)
	}
	b.ReportMetric(float64(fill.Nanoseconds())/(1<<24), "ns/fill")
}

func openStore(b *testing.B) *store.Store {
	b.Helper()
	s, err := store.Open(b.TempDir(), store.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	return s
}

// BenchmarkRequestAddress asks for addresses durably, by so many callers at
// once, and tells the rate, the median and, measured in the same run, that of a
// bare fdatasync of 4 KiB.
func BenchmarkRequestAddress(b *testing.B) {
	for _, callers := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			a, pool := on(b, openStore(b), "10.0.0.0/8")
			bare := bareSync(b)
			const each = 50
			var took []time.Duration
			var all sync.Mutex
			seen := map[netip.Addr]bool{}
			begin := time.Now()
			for b.Loop() {
				var group sync.WaitGroup
				for range callers {
					group.Go(func() {
						var mine []time.Duration
						var got []netip.Addr
						for range each {
							begin := time.Now()
							got = append(got, mustRequest(b, a, pool))
							mine = append(mine, time.Since(begin))
						}
						all.Lock()
						defer all.Unlock()
						took = append(took, mine...)
						for _, ip := range got {
							if seen[ip] {
								b.Errorf("address %s was given out twice", ip)
							}
							seen[ip] = true
						}
					})
				}
				group.Wait()
			}
			spent := time.Since(begin)
			slices.Sort(took)
			p50 := took[len(took)/2]
			b.ReportMetric(float64(p50.Microseconds()), "p50-us")
			b.ReportMetric(float64(bare.Microseconds()), "fdatasync-us")
			b.ReportMetric(float64(len(took))/spent.Seconds(), "addresses/s")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// bareSync returns the median time of a write of 4 KiB with fdatasync.
func bareSync(b *testing.B) time.Duration {
	f, err := os.Create(b.TempDir() + "/bare")
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	page := make([]byte, 4096)
	var took []time.Duration
	for range 200 {
		begin := time.Now()
		if _, err := f.WriteAt(page, 0); err != nil {
			b.Fatal(err)
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(begin))
	}
	slices.Sort(took)
	return took[len(took)/2]
}

// BenchmarkRequestPool asks for 16,384 pools durably, by 64 callers.
func BenchmarkRequestPool(b *testing.B) {
	for b.Loop() {
		a, err := New(Options{Store: openStore(b), Pools: []DefaultPool{{netip.MustParsePrefix("10.0.0.0/8"), 24}}}, store.NewRecords())
		if err != nil {
			b.Fatal(err)
		}
		var group sync.WaitGroup
		for range 64 {
			group.Go(func() {
				for range 256 {
					if _, err := a.RequestPool(context.Background(), PoolSpec{Space: SpaceLocal}); err != nil {
						b.Error(err)
					}
				}
			})
		}
		group.Wait()
	}
}

// BenchmarkStart reads a million addresses back.
func BenchmarkStart(b *testing.B) {
	records := store.NewRecords()
	subnet := netip.MustParsePrefix("10.0.0.0/8")
	records.Apply(store.PutPool(store.Pool{ID: "p", Space: SpaceLocal, Subnet: subnet}))
	for i := range uint64(1_000_000) {
		l := store.Address{Space: SpaceLocal, Subnet: subnet, IP: host{0, i + 1}.addr(subnet), Pool: "p", Kind: store.KindEndpoint}
		if i%10 == 0 {
			l.Released, l.Name = time.Unix(int64(i), 0), fmt.Sprint("name", i)
		}
		records.Apply(store.PutAddress(l))
	}
	for b.Loop() {
		if _, err := New(Options{Store: idleStore{}}, records); err != nil {
			b.Fatal(err)
		}
	}
}
