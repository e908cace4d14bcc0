package ipam

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// TestTakeHost: an address for the host is of the pool's range, nobody else's,
// and stays though no engine knows it, until its pool goes.
func TestTakeHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, Options{})
		subnet := netip.MustParsePrefix("10.0.0.0/24")
		pool := d.pool("10.0.0.0/24")
		d.Confirm(SpaceLocal, subnet)
		take := func(prefix netip.Prefix, want string) netip.Addr {
			t.Helper()
			ip, err := d.TakeHost(t.Context(), SpaceLocal, prefix)
			if err != nil || ip.String() != want {
				t.Fatalf("TakeHost = %s, %v; want %s", ip, err, want)
			}
			return ip
		}
		take(netip.MustParsePrefix("10.9.0.0/24"), "invalid IP") // not from here
		ip := take(subnet, "10.0.0.1")
		take(subnet, "10.0.0.2")
		d.want(d.ask(pool, "10.0.0.1"), "address 10.0.0.1 is already in use")
		for range 2 {
			time.Sleep(time.Hour)
			if n, err := d.Reclaim(t.Context()); n != 0 || err != nil {
				t.Errorf("Reclaim = %d, %v", n, err)
			}
			if n := d.collect(known("10.0.0.0/24")); n != 0 {
				t.Errorf("Collect = %d", n)
			}
		}
		if err := d.Free(t.Context(), SpaceLocal, subnet, time.Now(), ip); err != nil {
			t.Fatal(err)
		}
		d.want(d.ask(pool, "10.0.0.1"), "10.0.0.1/24")
		if err := d.ReleasePool(t.Context(), pool); err != nil {
			t.Fatal(err)
		}
		take(subnet, "invalid IP")
	})
}
