package ipam

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"fairway/store"
)

// lanOf is an allocator with a pool of a network, on whose LAN others have
// addresses.
func lanOf(t *testing.T, pool string, others ...string) (a *Allocator, id string, asked *[]netip.Addr) {
	t.Helper()
	asked = &[]netip.Addr{}
	a, err := New(Options{Store: newFakeStore(), Taken: func(_ context.Context, space string, subnet netip.Prefix, ip netip.Addr, _ net.HardwareAddr) string {
		*asked = append(*asked, ip)
		if space != SpaceLocal || subnet != netip.MustParsePrefix(pool) {
			t.Errorf("asked for pool %s %s", space, subnet)
		}
		if slices.Contains(others, ip.String()) || slices.Contains(others, "all") {
			return "02:aa:00:00:00:50"
		}
		return ""
	}}, store.NewRecords())
	if err != nil {
		t.Fatal(err)
	}
	r, err := a.RequestPool(t.Context(), PoolSpec{Space: SpaceLocal, Pool: pool, Engine: "/e"})
	if err != nil {
		t.Fatal(err)
	}
	a.Confirm(SpaceLocal, r.Prefix)
	return a, r.ID, asked
}

// TestTakenSkipped: what somebody else of the LAN has isn't given out unasked,
// and isn't in use afterwards.
func TestTakenSkipped(t *testing.T) {
	a, pool, asked := lanOf(t, "192.0.2.0/24", "192.0.2.1", "192.0.2.2")
	for _, want := range []string{"192.0.2.3/24", "192.0.2.4/24"} {
		p, err := a.RequestAddress(t.Context(), AddressSpec{Engine: "/e", Pool: pool, Name: "web" + want, MAC: "02:00:00:00:00:01"})
		if err != nil || p.String() != want {
			t.Errorf("got %v, %v; want %s", p, err, want)
		}
	}
	if len(*asked) != 4 {
		t.Errorf("asked for %v, want those skipped once and what was given out", *asked)
	}
	// Who names an address, or wants a gateway, gets it: it is for others to refuse.
	*asked = nil
	for _, spec := range []AddressSpec{
		{Engine: "/e", Pool: pool, Address: netip.MustParseAddr("192.0.2.1")}, {Engine: "/e", Pool: pool, Gateway: true},
	} {
		if _, err := a.RequestAddress(t.Context(), spec); err != nil {
			t.Errorf("%+v: %v", spec, err)
		}
	}
	if len(*asked) != 0 {
		t.Errorf("asked for %v", *asked)
	}
}

// TestTakenNotRemembered: a container's name doesn't come back to an address
// that was somebody else's.
func TestTakenNotRemembered(t *testing.T) {
	a, pool, _ := lanOf(t, "192.0.2.0/24", "192.0.2.1")
	spec := AddressSpec{Engine: "/e", Pool: pool, Name: "web", MAC: "02:00:00:00:00:01"}
	for range 2 {
		p, err := a.RequestAddress(t.Context(), spec)
		if err != nil || p.Addr().String() != "192.0.2.2" {
			t.Fatalf("got %v, %v; want 192.0.2.2", p, err)
		}
		if err := a.ReleaseAddress(t.Context(), pool, p.Addr()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAllTaken: a LAN whose addresses are all others' ends the search.
func TestAllTaken(t *testing.T) {
	a, pool, asked := lanOf(t, "192.0.2.0/24", "all")
	_, err := a.RequestAddress(t.Context(), AddressSpec{Engine: "/e", Pool: pool})
	if err == nil || !strings.Contains(err.Error(), "pool 192.0.2.0/24: the first 64 free addresses are others' on the LAN (02:aa:00:00:00:50 has 192.0.2.64): see --ip-range") {
		t.Errorf("got %v", err)
	}
	if len(*asked) != mostTaken {
		t.Errorf("asked %d times", len(*asked))
	}
}
