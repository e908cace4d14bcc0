package ipam

import (
	"errors"
	"maps"
	"net/netip"
	"sync"
	"testing"

	"fairway/store"
)

var errDisk = errors.New("store: commit: no space left on device")

// A fakeStore keeps records in memory. It can let commits fail, and hold them
// back until the test says what becomes of them.
type fakeStore struct {
	mu      sync.Mutex
	records store.Records
	fail    bool
	hold    bool
	held    []heldCommit
	commits int
}

type heldCommit struct {
	changes []store.Change
	done    chan error
}

func newFakeStore() *fakeStore { return &fakeStore{records: store.NewRecords()} }

func (f *fakeStore) Begin(changes ...store.Change) <-chan error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.commits++
	done := make(chan error, 1)
	switch {
	case f.hold:
		f.held = append(f.held, heldCommit{changes, done})
	case f.fail:
		done <- errDisk
	default:
		f.records.Apply(changes...)
		done <- nil
	}
	return done
}

// settle lets the first n held commits succeed and the others fail, and holds
// no more.
func (f *fakeStore) settle(n int) { f.settleEach(func(i int) bool { return i < n }) }

// settleEach lets each held commit succeed or fail, and holds no more.
func (f *fakeStore) settleEach(succeeds func(i int) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, c := range f.held {
		if succeeds(i) {
			f.records.Apply(c.changes...)
			c.done <- nil
		} else {
			c.done <- errDisk
		}
	}
	f.held, f.hold = nil, false
}

// crash returns a store that holds what is durable, and the first n of the held
// commits: those of whom the crash came between commit and answer.
func (f *fakeStore) crash(n int) *fakeStore {
	f.mu.Lock()
	defer f.mu.Unlock()
	after := newFakeStore()
	maps.Copy(after.records.Networks, f.records.Networks)
	maps.Copy(after.records.Endpoints, f.records.Endpoints)
	maps.Copy(after.records.Pools, f.records.Pools)
	maps.Copy(after.records.Addresses, f.records.Addresses)
	for _, c := range f.held[:min(n, len(f.held))] {
		after.records.Apply(c.changes...)
	}
	return after
}

// A desk is an allocator with what a test needs around it.
type desk struct {
	*Allocator
	store *fakeStore
	t     testing.TB
}

func newDesk(t testing.TB, opts Options) *desk {
	t.Helper()
	d := &desk{store: newFakeStore(), t: t}
	d.start(opts)
	return d
}

func (d *desk) start(opts Options) {
	d.t.Helper()
	opts.Store = d.store
	a, err := New(opts, d.store.crash(0).records)
	if err != nil {
		d.t.Fatal(err)
	}
	d.Allocator = a
}

// pool requests a subnet and must get it.
func (d *desk) pool(subnet string) string {
	d.t.Helper()
	return d.poolOf(PoolSpec{Pool: subnet})
}

// poolOf requests a pool, by default of the local space and of engine "e".
func (d *desk) poolOf(spec PoolSpec) string {
	d.t.Helper()
	if spec.Space == "" {
		spec.Space = SpaceLocal
	}
	if spec.Engine == "" {
		spec.Engine = "e"
	}
	if p, err := netip.ParsePrefix(spec.Pool); err == nil {
		spec.V6 = p.Addr().Is6()
	}
	reply, err := d.RequestPool(d.t.Context(), spec)
	if err != nil {
		d.t.Fatalf("RequestPool(%+v): %v", spec, err)
	}
	return reply.ID
}

// ask requests an address of engine "e", "" for any, and returns it or the error as text.
func (d *desk) ask(pool, ip string) string {
	d.t.Helper()
	spec := AddressSpec{Pool: pool}
	if ip != "" {
		spec.Address = netip.MustParseAddr(ip)
	}
	return d.askFor(spec)
}

func (d *desk) askFor(spec AddressSpec) string {
	d.t.Helper()
	if spec.Engine == "" {
		spec.Engine = "e"
	}
	got, err := d.RequestAddress(d.t.Context(), spec)
	if err != nil {
		return err.Error()
	}
	return got.String()
}

func (d *desk) want(got, want string) {
	d.t.Helper()
	if got != want {
		d.t.Fatalf("got %q, want %q", got, want)
	}
}

func (d *desk) release(pool, ip string) {
	d.t.Helper()
	if err := d.ReleaseAddress(d.t.Context(), pool, netip.MustParseAddr(ip)); err != nil {
		d.t.Fatalf("ReleaseAddress(%s, %s): %v", pool, ip, err)
	}
}

func (d *desk) releasePool(pool string) {
	d.t.Helper()
	if err := d.ReleasePool(d.t.Context(), pool); err != nil {
		d.t.Fatalf("ReleasePool(%s): %v", pool, err)
	}
}
