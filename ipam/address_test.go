package ipam

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fairway/store"
)

func TestRequestAddress(t *testing.T) {
	for _, tt := range []struct {
		name          string
		pool, ipRange string
		ask           []string // addresses asked for in turn; "" any, "gw" any as gateway
		want          []string
	}{
		{"in order", "10.0.0.0/29", "", []string{"gw", "", ""}, []string{"10.0.0.1/29", "10.0.0.2/29", "10.0.0.3/29"}},
		{
			"exhausted", "10.0.0.0/30", "", []string{"", "", "", "10.0.0.2"},
			[]string{"10.0.0.1/30", "10.0.0.2/30", "pool 10.0.0.0/30 exhausted: 2 of 2 in use", "address 10.0.0.2 is already in use"},
		},
		{
			"reserved", "10.0.0.0/24", "", []string{"10.0.0.0", "10.0.0.255", "10.0.1.1", "fd00::1"},
			[]string{
				"address 10.0.0.0 is the network address of the pool 10.0.0.0/24", "address 10.0.0.255 is the broadcast address of the pool 10.0.0.0/24",
				"address 10.0.1.1 isn't in the pool 10.0.0.0/24", "address fd00::1 isn't in the pool 10.0.0.0/24",
			},
		},
		{"/31", "10.0.0.4/31", "", []string{"gw", "", ""}, []string{"10.0.0.4/31", "10.0.0.5/31", "pool 10.0.0.4/31 exhausted: 2 of 2 in use"}},
		{"/32", "10.0.0.4/32", "", []string{"", ""}, []string{"10.0.0.4/32", "pool 10.0.0.4/32 exhausted: 1 of 1 in use"}},
		{"/127", "fd00::/127", "", []string{"gw", "", ""}, []string{"fd00::/127", "fd00::1/127", "pool fd00::/127 exhausted: 2 of 2 in use"}},
		{"/128", "fd00::9/128", "", []string{"fd00::9"}, []string{"fd00::9/128"}},
		{
			"IPv6", "fd00::/64", "", []string{"gw", "", "fd00::", "fd00::ffff:ffff:ffff:ffff", "fd00::3", ""},
			[]string{
				"fd00::1/64", "fd00::2/64", "address fd00:: is the subnet-router anycast address of the pool fd00::/64",
				"fd00::ffff:ffff:ffff:ffff/64", "fd00::3/64", "fd00::4/64",
			},
		},
		{"IPv6 /48", "fd00::/48", "", []string{"", "fd00:0:0:7::1", ""}, []string{"fd00::1/48", "fd00:0:0:7::1/48", "fd00::2/48"}},
		// As Docker's own: the first of the range, be it what looks like a network address.
		{"range", "172.28.0.0/16", "172.28.5.0/24", []string{"gw", "", "172.28.9.9", "172.28.5.2", ""}, []string{"172.28.5.0/16", "172.28.5.1/16", "172.28.9.9/16", "172.28.5.2/16", "172.28.5.3/16"}},
		{
			"range exhausted", "10.0.0.0/24", "10.0.0.252/30", []string{"", "", "", "", "10.0.0.7"},
			[]string{"10.0.0.252/24", "10.0.0.253/24", "10.0.0.254/24", "ip-range 10.0.0.252/30 of pool 10.0.0.0/24 exhausted: 3 of 3 in use", "10.0.0.7/24"},
		},
		{"range at the start", "10.0.0.0/24", "10.0.0.0/31", []string{"", ""}, []string{"10.0.0.1/24", "ip-range 10.0.0.0/31 of pool 10.0.0.0/24 exhausted: 1 of 1 in use"}},
		{"IPv6 range", "fd00::/64", "fd00::1:0:0:0/80", []string{"gw", "", "fd00::1"}, []string{"fd00:0:0:0:1::/64", "fd00::1:0:0:1/64", "fd00::1/64"}},
		{"mapped", "10.0.0.0/24", "", []string{"::ffff:10.0.0.9"}, []string{"10.0.0.9/24"}},
		{"large", "10.0.0.0/8", "10.255.255.248/29", []string{"10.255.255.254", ""}, []string{"10.255.255.254/8", "10.255.255.248/8"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDesk(t, Options{})
			pool := d.poolOf(PoolSpec{Pool: tt.pool, SubPool: tt.ipRange})
			for i, ip := range tt.ask {
				want := tt.want[i]
				if p, err := netip.ParsePrefix(want); err == nil {
					want = p.String()
				}
				if ip == "gw" {
					d.want(d.askFor(AddressSpec{Pool: pool, Gateway: true}), want)
				} else {
					d.want(d.ask(pool, ip), want)
				}
			}
		})
	}
}

func TestUnknownPool(t *testing.T) {
	d := newDesk(t, Options{})
	d.want(d.ask("nowhere", ""), `pool "nowhere" isn't known: it was released, or never requested`)
	d.releasePool("nowhere")
	d.release("nowhere", "10.0.0.1")
	pool := d.pool("10.0.0.0/24")
	d.release(pool, "10.0.0.1")
	d.release(pool, "192.0.2.1")
	if d.store.commits != 1 {
		t.Errorf("%d commits, want the pool's alone", d.store.commits)
	}
}

func TestReuseDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, Options{})
		pool := d.pool("10.0.0.0/29")
		for i := range 6 {
			d.want(d.ask(pool, ""), fmt.Sprintf("10.0.0.%d/29", i+1))
		}
		d.release(pool, "10.0.0.2")
		time.Sleep(time.Second)
		d.release(pool, "10.0.0.1")
		time.Sleep(time.Second)
		d.release(pool, "10.0.0.3")

		d.want(d.ask(pool, "10.0.0.3"), "10.0.0.3/29") // asked for: at once
		d.want(d.ask(pool, ""), "10.0.0.2/29")         // nothing else left: the oldest
		d.release(pool, "10.0.0.2")
		time.Sleep(29*time.Second - 1)
		d.want(d.ask(pool, ""), "10.0.0.1/29") // not free yet, but the oldest
		d.release(pool, "10.0.0.3")
		time.Sleep(time.Second + 1)
		d.want(d.ask(pool, ""), "10.0.0.2/29") // its delay is over
		d.want(d.ask(pool, ""), "10.0.0.3/29")
		d.want(d.ask(pool, ""), "pool 10.0.0.0/29 exhausted: 6 of 6 in use")
	})
}

// TestRestartContainer does to a small subnet what docker restart, twenty times
// over, does.
func TestRestartContainer(t *testing.T) {
	d := newDesk(t, Options{})
	pool := d.pool("10.0.0.0/29")
	d.askFor(AddressSpec{Pool: pool, Gateway: true})
	for range 3 {
		d.ask(pool, "")
	}
	for range 20 {
		got := d.ask(pool, "")
		ip, err := netip.ParsePrefix(got)
		if err != nil {
			t.Fatal(got)
		}
		d.release(pool, ip.Addr().String())
	}
}

// TestDelayAfterRestart restarts the daemon between a release and its delay's end.
func TestDelayAfterRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, Options{})
		pool := d.pool("10.0.0.0/29")
		d.ask(pool, "")
		d.ask(pool, "")
		d.release(pool, "10.0.0.1")
		time.Sleep(10 * time.Second)
		d.start(Options{})
		d.want(d.ask(pool, ""), "10.0.0.3/29")
		time.Sleep(20 * time.Second)
		d.want(d.ask(pool, ""), "10.0.0.1/29")

		d.release(pool, "10.0.0.1")
		time.Sleep(time.Hour)
		d.start(Options{})
		d.want(d.ask(pool, ""), "10.0.0.1/29")
	})
}

// TestUselessRecords sees that records of addresses that nobody uses don't pile up.
func TestUselessRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, Options{})
		pool := d.pool("10.0.0.0/16")
		for i := range 100 {
			d.ask(pool, "")
			if i >= 50 {
				d.release(pool, fmt.Sprintf("10.0.0.%d", i+1))
			}
		}
		time.Sleep(time.Minute)
		d.ask(pool, "")
		if n := len(d.store.records.Addresses); n != 100-4 && n != 100-3 {
			t.Errorf("%d records of addresses: a request must take a few of the useless along", n)
		}
		if _, err := d.Reclaim(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := len(d.store.records.Addresses); n != 51 {
			t.Errorf("%d records of addresses, want those 51 in use", n)
		}
		d.release(pool, "10.0.0.1")
		time.Sleep(time.Minute)
		d.start(Options{})
		d.ask(pool, "10.0.0.9")
		d.releasePool(pool)
		if n := len(d.store.records.Addresses); n != 0 {
			t.Errorf("%d records of addresses without a pool", n)
		}
	})
}

func TestSameNameSameAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, Options{})
		pool := d.poolOf(PoolSpec{Pool: "10.0.0.0/24", SubPool: "10.0.0.0/25"})
		web := AddressSpec{Pool: pool, Name: "web"}
		d.want(d.askFor(AddressSpec{Pool: pool, Name: "db"}), "10.0.0.1/24")
		d.want(d.askFor(web), "10.0.0.2/24")
		d.want(d.askFor(AddressSpec{Pool: pool, Name: "web", Engine: "other"}), "10.0.0.3/24")

		d.release(pool, "10.0.0.2")
		d.want(d.askFor(web), "10.0.0.2/24") // within the delay

		d.release(pool, "10.0.0.2")
		d.release(pool, "10.0.0.1")
		time.Sleep(time.Hour)
		d.want(d.askFor(web), "10.0.0.2/24") // long after

		d.release(pool, "10.0.0.2")
		time.Sleep(time.Hour)
		d.start(Options{})
		d.want(d.askFor(web), "10.0.0.2/24") // after a restart

		d.release(pool, "10.0.0.2")
		time.Sleep(time.Hour)
		d.want(d.ask(pool, "10.0.0.2"), "10.0.0.2/24") // another has it meanwhile
		d.want(d.askFor(web), "10.0.0.1/24")
		d.release(pool, "10.0.0.2")
		d.release(pool, "10.0.0.1")
		d.start(Options{})
		d.want(d.askFor(web), "10.0.0.1/24") // the last one counts

		static := AddressSpec{Pool: pool, Name: "static", Address: netip.MustParseAddr("10.0.0.200")}
		d.want(d.askFor(static), "10.0.0.200/24")
		d.release(pool, "10.0.0.200")
		static.Address = netip.Addr{}
		d.want(d.askFor(static), "10.0.0.4/24") // not outside of the range unless asked for
	})
}

// TestNameOfTwoAddresses lets a name have two addresses, and fail to get one.
func TestNameOfTwoAddresses(t *testing.T) {
	d := newDesk(t, Options{})
	pool := d.pool("10.0.0.0/24")
	web := AddressSpec{Pool: pool, Name: "web"}
	second := web
	second.Address = netip.MustParseAddr("10.0.0.7")
	d.want(d.askFor(web), "10.0.0.1/24")
	d.want(d.askFor(second), "10.0.0.7/24")
	d.release(pool, "10.0.0.7")
	d.release(pool, "10.0.0.1")
	d.want(d.askFor(web), "10.0.0.7/24") // the later one
	d.release(pool, "10.0.0.7")
	d.store.fail = true
	second.Address = netip.MustParseAddr("10.0.0.9")
	d.askFor(second)
	d.store.fail = false
	d.want(d.askFor(web), "10.0.0.7/24")
}

// TestLostAddressReply repeats requests, as Docker does when it didn't get the reply.
func TestLostAddressReply(t *testing.T) {
	d := newDesk(t, Options{})
	subnet := netip.MustParsePrefix("10.0.0.0/24")
	pool := d.pool("10.0.0.0/24")
	gw := AddressSpec{Pool: pool, Gateway: true}
	d.want(d.askFor(gw), "10.0.0.1/24")
	d.want(d.askFor(gw), "10.0.0.1/24")
	gw.Address = netip.MustParseAddr("10.0.0.1")
	d.want(d.askFor(gw), "10.0.0.1/24")
	d.want(d.ask(pool, "10.0.0.1"), "address 10.0.0.1 is already in use")
	d.want(d.ask(pool, "10.0.0.9"), "10.0.0.9/24") // an auxiliary address
	// Another driver's network never shows what it uses: no second answer.
	d.want(d.ask(pool, "10.0.0.9"), "address 10.0.0.9 is already in use")

	d.Confirm(SpaceLocal, subnet, gw.Address) // a fairway network was made
	d.want(d.ask(pool, "10.0.0.9"), "address 10.0.0.9 is already in use")
	d.want(d.askFor(gw), "address 10.0.0.1 is already in use")

	d.want(d.ask(pool, "10.0.0.5"), "10.0.0.5/24")
	d.want(d.ask(pool, "10.0.0.5"), "10.0.0.5/24")
	d.want(d.askFor(AddressSpec{Pool: pool, Engine: "other", Address: netip.MustParseAddr("10.0.0.5")}), "address 10.0.0.5 is already in use")
	d.start(Options{}) // the network has no record in this store: what its driver tells is enough
	d.Confirm(SpaceLocal, subnet, gw.Address)
	d.Confirm(SpaceLocal, subnet, netip.MustParseAddr("10.0.0.5"))
	d.want(d.ask(pool, "10.0.0.5"), "address 10.0.0.5 is already in use")

	mac := AddressSpec{Pool: pool, MAC: "02:42:00:00:00:01"}
	d.want(d.askFor(mac), "10.0.0.2/24")
	d.want(d.askFor(mac), "10.0.0.2/24")
	named := AddressSpec{Pool: pool, MAC: "02:42:00:00:00:02", Name: "web"}
	d.want(d.askFor(named), "10.0.0.3/24")
	named.MAC = "02:42:00:00:00:03" // Docker gave up; the user starts the container again
	d.want(d.askFor(named), "10.0.0.3/24")
	d.Confirm(SpaceLocal, subnet, netip.MustParseAddr("10.0.0.3"))
	d.want(d.askFor(named), "10.0.0.4/24")
}

// TestRecordsOfUse restarts after the confirmations got lost.
func TestRecordsOfUse(t *testing.T) {
	d := newDesk(t, Options{})
	pool := d.pool("10.0.0.0/24")
	d.askFor(AddressSpec{Pool: pool, Gateway: true})
	d.ask(pool, "10.0.0.8")
	d.ask(pool, "10.0.0.2")
	subnet := store.Subnet{
		Space: SpaceLocal, Prefix: netip.MustParsePrefix("10.0.0.0/24"), Gateway: netip.MustParseAddr("10.0.0.1"),
		Aux: map[string]netip.Addr{"printer": netip.MustParseAddr("10.0.0.8")},
	}
	d.store.records.Apply(
		store.PutNetwork(store.Network{ID: "n", Subnets: []store.Subnet{subnet}}),
		store.PutEndpoint(store.Endpoint{ID: "e", Network: "n", IPv4: netip.MustParsePrefix("10.0.0.2/24")}),
		store.PutEndpoint(store.Endpoint{ID: "f", Network: "n", IPv4: netip.MustParsePrefix("10.0.0.3/24")}),
	)
	d.start(Options{})
	for _, ip := range []string{"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.8"} {
		d.want(d.ask(pool, ip), "address "+ip+" is already in use")
	}
	d.want(d.ask(pool, ""), "10.0.0.4/24")
	d.release(pool, "10.0.0.3") // has no record of whom it was requested by
	d.want(d.ask(pool, "10.0.0.3"), "10.0.0.3/24")
}

func TestSharedSubnet(t *testing.T) {
	share := map[string]string{"shared": "true"}
	d := newDesk(t, Options{})
	one := d.poolOf(PoolSpec{Pool: "10.0.0.0/24", SubPool: "10.0.0.0/25", Options: share})
	two := d.poolOf(PoolSpec{Pool: "10.0.0.0/24", SubPool: "10.0.0.128/25", Options: share})
	d.want(d.askFor(AddressSpec{Pool: one, Gateway: true}), "10.0.0.1/24")
	d.want(d.askFor(AddressSpec{Pool: two, Gateway: true}), "10.0.0.128/24")
	d.want(d.ask(one, ""), "10.0.0.2/24")
	d.want(d.ask(two, ""), "10.0.0.129/24")
	d.want(d.ask(two, "10.0.0.2"), "address 10.0.0.2 is already in use")
	d.release(two, "10.0.0.2") // isn't two's
	d.want(d.ask(two, "10.0.0.2"), "address 10.0.0.2 is already in use")
	d.releasePool(two)
	d.want(d.ask(one, "10.0.0.2"), "address 10.0.0.2 is already in use")
	d.want(d.ask(one, "10.0.0.129"), "10.0.0.129/24") // went with the pool that had it
	d.releasePool(one)
	if n := len(d.store.records.Addresses) + len(d.store.records.Pools); n != 0 {
		t.Errorf("%d records left", n)
	}
}

// Networks on one bridge of the host's have that bridge as their gateway.
func TestSharedGateway(t *testing.T) {
	share := map[string]string{"shared": "true"}
	d := newDesk(t, Options{})
	one := d.poolOf(PoolSpec{Pool: "10.0.0.0/24", SubPool: "10.0.0.64/26", Options: share})
	gateway := netip.MustParseAddr("10.0.0.1")
	d.want(d.askFor(AddressSpec{Pool: one, Gateway: true, Address: gateway}), "10.0.0.1/24")
	two := d.poolOf(PoolSpec{Pool: "10.0.0.0/24", SubPool: "10.0.0.128/26", Options: share})
	d.want(d.askFor(AddressSpec{Pool: two, Gateway: true, Address: gateway}), "10.0.0.1/24")
	d.want(d.ask(two, "10.0.0.1"), "address 10.0.0.1 is already in use") // for a container
	d.release(two, "10.0.0.1")
	d.releasePool(two)
	d.want(d.ask(one, "10.0.0.1"), "address 10.0.0.1 is already in use") // still one's gateway
	d.release(one, "10.0.0.1")
	d.releasePool(one)
	if n := len(d.store.records.Addresses) + len(d.store.records.Pools); n != 0 {
		t.Errorf("%d records left", n)
	}
}

func TestFree(t *testing.T) {
	d := newDesk(t, Options{})
	pool := d.pool("10.0.0.0/24")
	d.ask(pool, "10.0.0.2")
	subnet := netip.MustParsePrefix("10.0.0.0/24")
	ips := []netip.Addr{{}, netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.3")}
	for range 2 {
		if err := d.Free(t.Context(), SpaceLocal, subnet, time.Now(), ips...); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Free(t.Context(), "LocalDefault", subnet, time.Now(), ips...); err != nil {
		t.Fatal(err)
	}
	d.want(d.ask(pool, "10.0.0.2"), "10.0.0.2/24")

	before := time.Now() // of an older endpoint that had the address
	d.release(pool, "10.0.0.2")
	d.want(d.ask(pool, "10.0.0.2"), "10.0.0.2/24")
	if err := d.Free(t.Context(), SpaceLocal, subnet, before, ips...); err != nil {
		t.Fatal(err)
	}
	d.want(d.ask(pool, "10.0.0.2"), "address 10.0.0.2 is already in use")
	d.Confirm(SpaceLocal, subnet, ips[2]) // of an endpoint that was made without a request
	d.want(d.ask(pool, "10.0.0.3"), "address 10.0.0.3 is already in use")
	if err := d.Free(t.Context(), SpaceLocal, subnet, before, ips...); err != nil {
		t.Fatal(err)
	}
	d.want(d.ask(pool, "10.0.0.3"), "10.0.0.3/24")
}

// TestStaleEndpoint asks for the address of an endpoint that went without
// giving it back.
func TestStaleEndpoint(t *testing.T) {
	stale := false
	d := newDesk(t, Options{Stale: func(_ context.Context, space string, subnet netip.Prefix, ip netip.Addr) bool {
		if space != SpaceLocal || subnet.String() != "10.0.0.0/24" || ip.String() != "10.0.0.2" {
			t.Errorf("asked for %s in %s of %s", ip, subnet, space)
		}
		return stale
	}})
	pool := d.pool("10.0.0.0/24")
	ip := netip.MustParseAddr("10.0.0.2")
	d.want(d.ask(pool, "10.0.0.2"), "10.0.0.2/24")
	d.Confirm(SpaceLocal, netip.MustParsePrefix("10.0.0.0/24"), ip)
	d.want(d.ask(pool, "10.0.0.2"), "address 10.0.0.2 is already in use")
	stale = true
	d.want(d.askFor(AddressSpec{Pool: pool, Engine: "other", Address: ip}), "address 10.0.0.2 is already in use")
	d.want(d.ask(pool, "10.0.0.2"), "10.0.0.2/24")
}

// TestReleaseComesLate releases an address that an endpoint has.
func TestReleaseComesLate(t *testing.T) {
	alive := true
	d := newDesk(t, Options{Alive: func(_ context.Context, space string, subnet netip.Prefix, ip netip.Addr) bool {
		if space != SpaceLocal || subnet.String() != "10.0.0.0/24" || ip.String() != "10.0.0.2" {
			t.Errorf("asked for %s in %s of %s", ip, subnet, space)
		}
		return alive
	}})
	pool := d.pool("10.0.0.0/24")
	d.want(d.ask(pool, "10.0.0.2"), "10.0.0.2/24")
	d.Confirm(SpaceLocal, netip.MustParsePrefix("10.0.0.0/24"), netip.MustParseAddr("10.0.0.2"))
	d.release(pool, "10.0.0.2")
	d.want(d.ask(pool, "10.0.0.2"), "address 10.0.0.2 is already in use")
	alive = false
	d.release(pool, "10.0.0.2")
	d.want(d.ask(pool, "10.0.0.2"), "10.0.0.2/24")
}

// TestFailedCommits sees that what wasn't made durable isn't there.
func TestFailedCommits(t *testing.T) {
	d := newDesk(t, Options{})
	failing := func(act func() string) {
		t.Helper()
		d.store.fail = true
		before := fmt.Sprint(d.store.records)
		if got := act(); !strings.HasPrefix(got, "ipam: ") || !strings.HasSuffix(got, "no space left on device") {
			t.Fatalf("got %q, want the store's error", got)
		}
		if after := fmt.Sprint(d.store.records); after != before {
			t.Fatalf("the fake store changed")
		}
		d.store.fail = false
	}
	failing(func() string {
		_, err := d.RequestPool(t.Context(), PoolSpec{Space: SpaceLocal, Pool: "10.0.0.0/24"})
		return fmt.Sprint(err)
	})
	if len(d.handles) != 0 || len(d.spaces[SpaceLocal].sorted) != 0 {
		t.Fatal("a pool without a record")
	}
	pool := d.pool("10.0.0.0/24")
	failing(func() string { return d.ask(pool, "") })
	d.want(d.ask(pool, ""), "10.0.0.1/24")
	failing(func() string {
		return fmt.Sprint(d.ReleaseAddress(t.Context(), pool, netip.MustParseAddr("10.0.0.1")))
	})
	d.want(d.ask(pool, "10.0.0.1"), "address 10.0.0.1 is already in use")
	failing(func() string { return fmt.Sprint(d.ReleasePool(t.Context(), pool)) })
	d.want(d.ask(pool, "10.0.0.1"), "address 10.0.0.1 is already in use")
	d.want(d.ask(pool, ""), "10.0.0.2/24")
	if !d.store.records.Pools[pool].Confirmed {
		t.Error("the pool isn't confirmed, though addresses were requested of it")
	}
}

// TestReleaseUnderWay asks for a pool's subnet, and for an address of it, while
// its release isn't durable yet: what will become of it decides.
func TestReleaseUnderWay(t *testing.T) {
	const used = "pool 10.0.0.0/16 overlaps 10.0.0.0/24, which is in use"
	for commits, want := range []struct{ release, again, pool, address string }{
		{"ipam: release pool 10.0.0.0/24: " + errDisk.Error(), "<nil>", used, "address 10.0.0.7 is already in use"},
		{"<nil>", "<nil>", "<nil>", "isn't known: it was released, or never requested"},
	} {
		synctest.Test(t, func(t *testing.T) {
			d := newDesk(t, Options{})
			old := d.pool("10.0.0.0/24")
			d.ask(old, "10.0.0.7")
			d.store.hold = true
			var released, pool, address, again string
			go func() { released = fmt.Sprint(d.ReleasePool(t.Context(), old)) }()
			synctest.Wait()
			go func() {
				_, err := d.RequestPool(t.Context(), PoolSpec{Space: SpaceLocal, Pool: "10.0.0.0/16"})
				pool = fmt.Sprint(err)
			}()
			go func() { address = d.ask(old, "10.0.0.7") }()
			synctest.Wait()
			if pool != "" || address != "" {
				t.Error("answered without knowing")
			}
			d.store.settle(commits)
			synctest.Wait()
			again = fmt.Sprint(d.ReleasePool(t.Context(), old)) // Docker tries twice
			d.want(released, want.release)
			d.want(pool, want.pool)
			d.want(again, want.again)
			if !strings.HasSuffix(address, want.address) {
				t.Errorf("got %q, want %q", address, want.address)
			}
		})
	}
}

// TestImpatientCaller ends a caller's context before the commit.
func TestImpatientCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, Options{})
		pool := d.pool("10.0.0.0/24")
		for _, commits := range []int{0, 1} {
			d.store.hold = true
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, err := d.RequestAddress(ctx, AddressSpec{Pool: pool, Engine: "e", Address: netip.MustParseAddr("10.0.0.4")})
			cancel()
			if err == nil || !strings.Contains(err.Error(), context.DeadlineExceeded.Error()) {
				t.Fatalf("got %v, want the deadline", err)
			}
			d.store.settle(commits)
			synctest.Wait()
			if got := len(d.store.records.Addresses); got != commits || len(d.handles[pool].subnet.entries) != commits {
				t.Errorf("%d of %d addresses known", got, commits)
			}
		}
	})
}

// TestReleaseTwice answers neither caller before the release is durable.
func TestReleaseTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, Options{})
		pool := d.pool("10.0.0.0/24")
		d.ask(pool, "10.0.0.2")
		d.store.hold = true
		answers := make(chan error, 2)
		for range 2 {
			go func() { answers <- d.ReleaseAddress(t.Context(), pool, netip.MustParseAddr("10.0.0.2")) }()
		}
		synctest.Wait()
		if len(answers) != 0 {
			t.Error("answered before the commit")
		}
		d.store.settle(2)
		synctest.Wait()
		if len(answers) != 2 || <-answers != nil || <-answers != nil {
			t.Error("not answered, or with an error, after the commit")
		}
	})
}

// TestDelayEndsDuringCommit fails a request for a delayed address whose delay is
// over by then, with a younger one behind it.
func TestDelayEndsDuringCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, Options{})
		pool := d.pool("10.0.0.0/29")
		for range 4 {
			d.ask(pool, "")
		}
		d.release(pool, "10.0.0.1")
		time.Sleep(20 * time.Second)
		d.release(pool, "10.0.0.2")
		d.store.hold = true
		go d.ask(pool, "10.0.0.1")
		synctest.Wait()
		time.Sleep(11 * time.Second)
		d.store.mu.Lock()
		d.store.hold = false // for this one only
		d.store.mu.Unlock()
		d.want(d.ask(pool, ""), "10.0.0.5/29")
		d.store.settle(0)
		synctest.Wait()
		d.want(d.ask(pool, ""), "10.0.0.1/29")
	})
}

// A gateway that nobody named is told apart from one that was.
func TestChoseGateway(t *testing.T) {
	d := newDesk(t, Options{})
	for _, tt := range []struct {
		ask  string
		want bool
	}{{"", true}, {"10.0.0.1", false}, {"10.0.0.9", false}} {
		pool := d.poolOf(PoolSpec{Pool: "10.0.0.0/24"})
		spec := AddressSpec{Pool: pool, Gateway: true}
		if tt.ask != "" {
			spec.Address = netip.MustParseAddr(tt.ask)
		}
		got, err := d.RequestAddress(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		if is := d.ChoseGateway(SpaceLocal, netip.MustParsePrefix("10.0.0.0/24"), got.Addr()); is != tt.want {
			t.Errorf("asked for %q, got %s: chosen %t", tt.ask, got, is)
		}
		if err := d.ReleasePool(t.Context(), pool); err != nil {
			t.Fatal(err)
		}
	}
}
