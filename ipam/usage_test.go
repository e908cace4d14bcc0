package ipam

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestUsages(t *testing.T) {
	now := time.Now()
	d := newDesk(t, Options{Now: func() time.Time { return now }})
	for _, subnet := range []string{"10.1.0.0/24", "10.0.0.0/31", "fd00::/48"} {
		if _, err := d.RequestPool(t.Context(), PoolSpec{Space: SpaceLocal, Pool: subnet, V6: subnet[0] == 'f'}); err != nil {
			t.Fatal(err)
		}
	}
	reply, err := d.RequestPool(t.Context(), PoolSpec{Space: SpaceGlobal, Pool: "10.9.0.0/24"})
	if err != nil {
		t.Fatal(err)
	}
	var first netip.Prefix
	for i := range 3 {
		ip, err := d.RequestAddress(t.Context(), AddressSpec{Pool: reply.ID, Gateway: i == 0})
		if err != nil {
			t.Fatal(err)
		}
		first = ip
	}
	if err := d.ReleaseAddress(t.Context(), reply.ID, first.Addr()); err != nil {
		t.Fatal(err)
	}
	want := []Usage{
		{Space: SpaceGlobal, Subnet: netip.MustParsePrefix("10.9.0.0/24"), Used: 2, Delayed: 1, Size: 254},
		{Space: SpaceLocal, Subnet: netip.MustParsePrefix("10.0.0.0/31"), Size: 2},
		{Space: SpaceLocal, Subnet: netip.MustParsePrefix("10.1.0.0/24"), Size: 254},
		{Space: SpaceLocal, Subnet: netip.MustParsePrefix("fd00::/48"), Size: 1 << 64},
	}
	same := cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })
	if d := cmp.Diff(want, d.Usages(), same); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	now = now.Add(31 * time.Second)
	if u := d.Usages()[0]; u.Used != 2 || u.Delayed != 0 {
		t.Errorf("after the delay: %+v", u)
	}
}

// Other default pools count from the next pool on, and none is taken back.
func TestSetDefaultPools(t *testing.T) {
	d := newDesk(t, Options{})
	request := func() netip.Prefix {
		t.Helper()
		reply, err := d.RequestPool(t.Context(), PoolSpec{Space: SpaceLocal})
		if err != nil {
			t.Fatal(err)
		}
		return reply.Prefix
	}
	first := request()
	if err := d.SetDefaultPools([]DefaultPool{{netip.MustParsePrefix("10.0.0.0/8"), 24}}); err != nil {
		t.Fatal(err)
	}
	if p := request(); p != netip.MustParsePrefix("10.0.0.0/24") {
		t.Errorf("pool %s, want it from the new default", p)
	}
	if err := d.SetDefaultPools([]DefaultPool{{netip.MustParsePrefix("10.0.0.0/8"), 4}}); err == nil {
		t.Error("a size shorter than its base: accepted")
	}
	if p := request(); p != netip.MustParsePrefix("10.0.1.0/24") {
		t.Errorf("pool %s after a refusal, want the default as before", p)
	}
	if err := d.SetDefaultPools(nil); err != nil {
		t.Fatal(err)
	}
	if p := request(); p == first || !netip.MustParsePrefix("172.16.0.0/12").Overlaps(p) {
		t.Errorf("pool %s, want another of the first default than %s", p, first)
	}
}
