//go:build kernel

package cluster

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"fairway/ipam"
)

// A crowd is hosts that claim and release addresses of the segment s, and take down
// what they did.
type crowd struct {
	hosts   []*busy
	history *history
	stop    chan struct{}
	work    sync.WaitGroup

	mu     sync.Mutex
	errors []string // of the hosts' logs
}

// A busy host is one of a crowd. Its containers come and go as Docker has them do:
// an address is requested, then there is an endpoint, and this goes first.
type busy struct {
	*sim
	crowd  *crowd
	number int
	pool   string
	rng    *rand.Rand
	chosen atomic.Int64  // claims of addresses that it was free to choose
	asked  atomic.Uint64 // calls of free

	life sync.RWMutex // held while the host is called, and while it starts anew
	mu   sync.Mutex
	has  []held
	next int
}

// held is an address that a host has, and its endpoint.
type held struct {
	id string
	ip netip.Addr
}

// newCrowd makes a host for each of the URLs, by which it reaches etcd.
func newCrowd(t testing.TB, urls ...string) *crowd {
	t.Helper()
	c := &crowd{history: newHistory()}
	for i, url := range urls {
		s := &sim{
			name: string(rune('a' + i)), url: url, boot: "boot", patience: time.Second, heard: c.hear,
			disk: &memory{records: emptyRecords()}, local: map[string][]Endpoint{},
		}
		s.run(t)
		c.hosts = append(c.hosts, &busy{sim: s, crowd: c, number: i, rng: rand.New(rand.NewPCG(6, uint64(i)))})
	}
	for _, b := range c.hosts {
		b.ready(t)
	}
	return c
}

// hear notes what a host's log has for errors: addresses that two endpoints have,
// blocks that two hosts have.
func (c *crowd) hear(e *logrus.Entry) {
	if e.Level > logrus.ErrorLevel {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.errors = append(c.errors, e.Message)
}

// quiet fails the test if there were errors.
func (c *crowd) quiet(t testing.TB) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.errors {
		t.Errorf("logged: %s", e)
	}
}

// join has all hosts join the segment.
func (c *crowd) join(t testing.TB, subnet string) {
	t.Helper()
	for _, b := range c.hosts {
		b.pool = b.mustPool(t, "s", subnet)
	}
}

// begin sets the hosts to work until end.
func (c *crowd) begin() {
	c.stop = make(chan struct{})
	for _, b := range c.hosts {
		c.work.Go(b.toil)
	}
}

func (c *crowd) end(t testing.TB) {
	t.Helper()
	close(c.stop)
	c.work.Wait()
	t.Logf("%d steps", len(c.history.all))
}

// toil claims and releases: mostly what the host may choose itself, sometimes one
// of a few addresses that all hosts want.
func (b *busy) toil() {
	for {
		select {
		case <-b.crowd.stop:
			return
		case <-time.After(time.Duration(2+b.rng.IntN(8)) * time.Millisecond):
		}
		b.mu.Lock()
		n := len(b.has)
		b.mu.Unlock()
		switch what := b.rng.IntN(20); {
		case what == 0:
			_ = b.claim(netip.AddrFrom4([4]byte{10, 1, 0, byte(16*b.rng.IntN(16) + 7)}))
		case n < 4 || what < 10 && n < 30:
			if b.claim(netip.Addr{}) == nil {
				b.chosen.Add(1)
			}
		default:
			b.release(b.rng.IntN(n))
		}
	}
}

// claim requests an address, this one if it is valid, and makes an endpoint of it.
func (b *busy) claim(want netip.Addr) error {
	b.life.RLock()
	defer b.life.RUnlock()
	called := b.crowd.history.now()
	p, err := b.pools.RequestAddress(context.Background(), ipam.AddressSpec{Engine: b.name, Pool: b.pool, Address: want})
	if ip := p.Addr(); err == nil {
		want = ip
	}
	if want.IsValid() {
		b.crowd.history.add(b.number, step{host: b.name, ip: want}, called, err == nil)
	}
	if err != nil {
		return err
	}
	b.mu.Lock()
	b.next++
	h := held{fmt.Sprintf("%s%d", b.name, b.next), want}
	b.has = append(b.has, h)
	b.mu.Unlock()
	b.attach("s", h.id, h.ip)
	return nil
}

// release gives the i-th address back.
func (b *busy) release(i int) {
	b.life.RLock()
	defer b.life.RUnlock()
	b.mu.Lock()
	h := b.has[i]
	b.mu.Unlock()
	b.detach("s", h.id)
	called := b.crowd.history.now()
	err := b.pools.ReleaseAddress(context.Background(), b.pool, h.ip)
	b.crowd.history.add(b.number, step{b.name, h.ip, true}, called, err == nil)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.has = slices.DeleteFunc(b.has, func(x held) bool { return x == h && err == nil })
	if err != nil { // it is still there, and so is its container
		b.attach("s", h.id, h.ip)
	}
}

// crash kills the host's daemon and starts it again, with what was on the disk.
func (b *busy) crash(t testing.TB) {
	t.Helper()
	b.disk.close(true)
	b.life.Lock()
	defer b.life.Unlock()
	b.stop()
	b.disk.close(false)
	b.run(t)
}

// progress waits until each host has got what it needs no etcd for, and if decided
// an address, too, that only etcd can give.
func (c *crowd) progress(t testing.TB, when string, decided bool) {
	t.Helper()
	got := make([]int64, len(c.hosts))
	for i, b := range c.hosts {
		got[i] = b.chosen.Load() + 5
	}
	for i, b := range c.hosts {
		eventually(t, b.name+" claims addresses "+when, func() bool { return b.chosen.Load() > got[i] })
		if decided {
			eventually(t, b.name+" gets a single address "+when, func() bool { return b.claim(b.free()) == nil })
		}
	}
}

// free returns an address of a block that nobody has, as far as this host knows.
func (b *busy) free() netip.Addr {
	b.Cluster.mu.Lock()
	defer b.Cluster.mu.Unlock()
	block, _, err := b.freeBlock("s", b.view.segments["s"].Subnets[0].Prefix, uint64(16*b.number)+b.asked.Add(1))
	if err != nil {
		return netip.Addr{}
	}
	return block.Addr().Next().Next()
}

// agree waits until etcd has all endpoints of all hosts, and each host those of the
// others.
func (c *crowd) agree(t testing.TB, e *etcd) {
	t.Helper()
	want := map[string]netip.Addr{}
	for _, b := range c.hosts {
		for _, h := range b.has {
			want["endpoints/s/"+b.name+"/"+h.id] = h.ip
		}
	}
	eventually(t, "etcd has what the hosts have, and no more", func() bool {
		have := e.entries(t, kindEndpoint)
		for key, value := range have {
			if v, err := parse[Endpoint]([]byte(value)); err != nil || v.IPv4 != want[key] {
				return false
			}
		}
		return len(have) == len(want)
	})
	for _, b := range c.hosts {
		eventually(t, b.name+" knows what the others have", func() bool {
			have := b.plane.ids("s")
			for id, r := range have {
				if r.IPv4 != want["endpoints/s/"+id] || strings.HasPrefix(id, b.name+"/") {
					return false
				}
			}
			return len(have) == len(want)-len(b.has)
		})
	}
}
