package ipam

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"fairway/store"
)

// fakeSegments has one segment, of which this host gets blocks one after the other.
type fakeSegments struct {
	a       *Allocator
	subnet  netip.Prefix
	gateway netip.Addr
	blocks  []netip.Prefix
	claims  []netip.Addr
	foreign []netip.Addr
	left    []netip.Prefix // blocks to be had
	down    bool
	gone    bool
}

var errDown = errors.New("etcd can't be reached")

func (f *fakeSegments) Join(_ context.Context, _ string, pool netip.Prefix, _ bool) (netip.Prefix, error) {
	if pool.IsValid() && pool != f.subnet {
		return pool, errors.New("another subnet")
	}
	return f.subnet, nil
}
func (f *fakeSegments) Leave(string) { f.gone = true }

func (f *fakeSegments) Gateway(_ context.Context, _ string, _ netip.Prefix, want netip.Addr) (netip.Addr, error) {
	if want.IsValid() && want != f.gateway {
		return want, errors.New("another gateway")
	}
	return f.gateway, nil
}

func (f *fakeSegments) Share(string, netip.Prefix) (blocks []netip.Prefix, claims, foreign []netip.Addr) {
	return f.blocks, f.claims, f.foreign
}

func (f *fakeSegments) tell() { f.a.SetShare("s", f.subnet, f.blocks, f.claims, f.foreign) }

func (f *fakeSegments) Extend(context.Context, string, netip.Prefix) error {
	switch {
	case f.down:
		return errDown
	case len(f.left) == 0:
		return errors.New("exhausted")
	}
	f.blocks, f.left = append(slices.Clone(f.blocks), f.left[0]), f.left[1:]
	f.tell()
	return nil
}

func (f *fakeSegments) Claim(_ context.Context, _ string, _ netip.Prefix, ip netip.Addr) error {
	if f.down {
		return errDown
	}
	f.claims = append(slices.Clone(f.claims), ip)
	f.tell()
	return nil
}

func newSegmented(t *testing.T, records store.Records) (*Allocator, *fakeSegments, *fakeStore) {
	t.Helper()
	f := &fakeSegments{
		subnet: netip.MustParsePrefix("10.1.0.0/24"), gateway: netip.MustParseAddr("10.1.0.1"),
		left: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/29"), netip.MustParsePrefix("10.1.0.64/30")},
	}
	s := newFakeStore()
	s.records = records
	a, err := New(Options{Store: s, Segments: f}, records)
	if err != nil {
		t.Fatal(err)
	}
	f.a = a
	return a, f, s
}

func segmentPool(t *testing.T, a *Allocator, pool string) string {
	t.Helper()
	p, err := a.RequestPool(t.Context(), PoolSpec{Space: SpaceLocal, Pool: pool, Options: map[string]string{"segment": "s"}})
	if err != nil {
		t.Fatal(err)
	}
	return p.ID
}

func take(t *testing.T, a *Allocator, spec AddressSpec) string {
	t.Helper()
	p, err := a.RequestAddress(t.Context(), spec)
	if err != nil {
		return err.Error()
	}
	return p.Addr().String()
}

// A segment's addresses come from this host's blocks only, but for what is others'.
func TestSegmentBlocks(t *testing.T) {
	a, f, _ := newSegmented(t, store.NewRecords())
	f.foreign = []netip.Addr{netip.MustParseAddr("10.1.0.3")}
	id := segmentPool(t, a, "")
	if g := take(t, a, AddressSpec{Pool: id, Gateway: true}); g != "10.1.0.1" {
		t.Errorf("gateway %s", g)
	}
	var got []string
	for range 9 {
		got = append(got, take(t, a, AddressSpec{Pool: id}))
	}
	want := []string{"10.1.0.2", "10.1.0.4", "10.1.0.5", "10.1.0.6", "10.1.0.7", "10.1.0.64", "10.1.0.65", "10.1.0.66", "10.1.0.67"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if got := take(t, a, AddressSpec{Pool: id}); got != "exhausted" {
		t.Errorf("beyond the last block: %s", got)
	}
	// What was released a moment ago is better than nothing.
	if err := a.ReleaseAddress(t.Context(), id, netip.MustParseAddr("10.1.0.65")); err != nil {
		t.Fatal(err)
	}
	if got := take(t, a, AddressSpec{Pool: id}); got != "10.1.0.65" {
		t.Errorf("the one that was released: %s", got)
	}
	// A block that is taken away isn't handed out from.
	f.blocks = f.blocks[:1]
	f.tell()
	if err := a.ReleaseAddress(t.Context(), id, netip.MustParseAddr("10.1.0.66")); err != nil {
		t.Fatal(err)
	}
	if got := take(t, a, AddressSpec{Pool: id}); got != "exhausted" {
		t.Errorf("out of a block that isn't this host's any more: %s", got)
	}
	if err := a.ReleasePool(t.Context(), id); err != nil || !f.gone {
		t.Errorf("the segment wasn't left: %v", err)
	}
}

func TestSegmentStatic(t *testing.T) {
	a, f, s := newSegmented(t, store.NewRecords())
	id := segmentPool(t, a, "10.1.0.0/24")
	static := func(ip string) string {
		t.Helper()
		return take(t, a, AddressSpec{Pool: id, Address: netip.MustParseAddr(ip)})
	}
	if got := static("10.1.0.99"); got != "10.1.0.99" || len(f.claims) != 1 {
		t.Errorf("of nobody's block: %s, claims %v", got, f.claims)
	}
	if got := static("10.1.0.1"); !strings.Contains(got, "gateway") {
		t.Errorf("the gateway's: %s", got)
	}
	if got := static("10.1.0.99"); !strings.Contains(got, "already in use") {
		t.Errorf("twice: %s", got)
	}
	take(t, a, AddressSpec{Pool: id}) // a block
	f.down = true
	if got := static("10.1.0.6"); got != "10.1.0.6" {
		t.Errorf("of the own block, without etcd: %s", got)
	}
	if got := static("10.1.0.200"); got != errDown.Error() {
		t.Errorf("of another's, without etcd: %s", got)
	}
	only := func(ip string) netip.Prefix { return netip.PrefixFrom(netip.MustParseAddr(ip), 32) }
	for part, used := range map[netip.Prefix]bool{
		only("10.1.0.99"): true, only("10.1.0.98"): false, f.blocks[0]: true, netip.MustParsePrefix("10.1.0.16/29"): false,
	} {
		if a.Used("s", f.subnet, part) != used {
			t.Errorf("Used(%s) is %v", part, !used)
		}
	}
	// After a restart, with what the cluster's records say.
	after, err := New(Options{Store: s, Segments: f}, s.records)
	if err != nil {
		t.Fatal(err)
	}
	if got := take(t, after, AddressSpec{Pool: id, Address: netip.MustParseAddr("10.1.0.6")}); !strings.Contains(got, "already in use") {
		t.Errorf("after a restart: %s", got)
	}
	if got := take(t, after, AddressSpec{Pool: id}); got != "10.1.0.3" {
		t.Errorf("after a restart, without etcd: %s", got)
	}
}

func TestSegmentRefusals(t *testing.T) {
	a, _, _ := newSegmented(t, store.NewRecords())
	for _, c := range []struct {
		spec PoolSpec
		says string
	}{
		{PoolSpec{Options: map[string]string{"segment": "S"}}, `option segment="S": want at most 63`},
		{PoolSpec{Options: map[string]string{"segment": "a/b"}}, `option segment="a/b": want`},
		{PoolSpec{Options: map[string]string{"segment": "s", "shared": "true"}}, "not allowed with shared=true"},
		{PoolSpec{Pool: "10.1.0.0/24", SubPool: "10.1.0.0/25", Options: map[string]string{"segment": "s"}}, "each host gets blocks"},
		{PoolSpec{Pool: "0.0.0.0/24", Options: map[string]string{"segment": "s"}}, "want the segment's subnet"},
		{PoolSpec{Pool: "10.2.0.0/24", Options: map[string]string{"segment": "s"}}, "another subnet"},
	} {
		c.spec.Space = SpaceLocal
		if _, err := a.RequestPool(t.Context(), c.spec); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v, want %q", c.spec, err, c.says)
		}
	}
	segmentPool(t, a, "")
	if _, err := a.RequestPool(t.Context(), PoolSpec{Space: SpaceLocal, Pool: "10.1.0.0/24"}); err == nil {
		t.Error("a segment's subnet was given to a network of this host")
	}
}
