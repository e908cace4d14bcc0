package store

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// BenchmarkCommit commits one endpoint a call. Beside it, in turns with it, are
// taken a bare write of 4 KiB with fdatasync into a file that is there already
// (a bbolt commit needs two), and a bare put of the same value by bbolt.
func BenchmarkCommit(b *testing.B) {
	for _, callers := range []int{1, 16, 64} {
		for _, present := range []int{0, 1000} {
			b.Run("callers="+strconv.Itoa(callers)+"/present="+strconv.Itoa(present), func(b *testing.B) {
				benchmarkCommit(b, callers, present)
			})
		}
	}
}

func benchmarkCommit(b *testing.B, callers, present int) {
	dir := b.TempDir()
	s := open(b, dir, Options{})
	for n := range present {
		s.Begin(sample(n)...)
	}
	if err := s.Commit(b.Context()); err != nil {
		b.Fatal(err)
	}
	const turn = 32 // commits a caller between two looks at the bare cost
	bare := newBareSync(b, filepath.Join(dir, "bare"))
	var mu sync.Mutex
	boltDB := newBareBolt(b, filepath.Join(dir, "bolt"), present)
	var took, floor, boltTook []time.Duration
	var spent time.Duration
	n := 0
	for b.Loop() {
		start := time.Now()
		var wg sync.WaitGroup
		for range callers {
			n++
			first := n * turn
			wg.Go(func() {
				var mine []time.Duration
				for i := range turn {
					change := sample(100_000 + first + i)[1]
					start := time.Now()
					if err := s.Commit(b.Context(), change); err != nil {
						b.Error(err)
					}
					mine = append(mine, time.Since(start))
				}
				mu.Lock()
				defer mu.Unlock()
				took = append(took, mine...)
			})
		}
		wg.Wait()
		spent += time.Since(start)
		for range turn {
			floor = append(floor, bare.sync())
			boltTook = append(boltTook, boltDB.put())
		}
	}
	slices.Sort(took)
	slices.Sort(floor)
	slices.Sort(boltTook)
	p := func(d []time.Duration, q float64) float64 {
		return float64(d[int(q*float64(len(d)-1))]) / float64(time.Millisecond)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(p(took, .5), "ms-p50")
	b.ReportMetric(p(took, .95), "ms-p95")
	b.ReportMetric(p(floor, .5), "ms-bare-p50")
	b.ReportMetric(p(boltTook, .5), "ms-bbolt-p50")
	b.ReportMetric(p(took, .5)/p(floor, .5), "ratio-to-bare")
	b.ReportMetric(p(took, .5)/p(boltTook, .5), "ratio-to-bbolt")
	b.ReportMetric(float64(len(took))/spent.Seconds(), "commits/s")
}

type bareSync struct {
	b *testing.B
	f *os.File
	n int64
}

func newBareSync(b *testing.B, path string) *bareSync {
	f, err := os.Create(path)
	if err == nil {
		_, err = f.Write(make([]byte, 1<<20))
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { f.Close() })
	return &bareSync{b: b, f: f}
}

func (s *bareSync) sync() time.Duration {
	s.n++
	page := slices.Repeat([]byte{byte(s.n)}, 4096)
	start := time.Now()
	_, err := s.f.WriteAt(page, s.n%256*4096)
	if err == nil {
		err = unix.Fdatasync(int(s.f.Fd()))
	}
	if err != nil {
		s.b.Fatal(err)
	}
	return time.Since(start)
}

type bareBolt struct {
	b  *testing.B
	db *bolt.DB
	n  int
}

func newBareBolt(b *testing.B, path string, present int) *bareBolt {
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	bare := &bareBolt{b: b, db: db}
	err = db.Update(func(tx *bolt.Tx) error {
		for range present {
			if err := bare.putIn(tx); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return bare
}

func (p *bareBolt) put() time.Duration {
	start := time.Now()
	if err := p.db.Update(p.putIn); err != nil {
		p.b.Fatal(err)
	}
	return time.Since(start)
}

func (p *bareBolt) putIn(tx *bolt.Tx) error {
	p.n++
	bucket, err := tx.CreateBucketIfNotExists([]byte("x"))
	if err != nil {
		return err
	}
	return bucket.Put(fmt.Appendf(nil, "%062d", p.n), make([]byte, 900))
}

// BenchmarkOpen is the start of a daemon: checks, and Records.
func BenchmarkOpen(b *testing.B) {
	for _, present := range []int{0, 1000, 10000} {
		b.Run("present="+strconv.Itoa(present), func(b *testing.B) {
			dir := b.TempDir()
			s := open(b, dir, Options{})
			for n := range present {
				s.Begin(sample(n)[1:]...)
			}
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				s, err := Open(dir, Options{})
				if err != nil {
					b.Fatal(err)
				}
				if _, err := s.Records(); err != nil {
					b.Fatal(err)
				}
				if err := s.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
