package ipam

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"fairway/store"
)

// A server gives addresses by client, as DHCP servers do.
type server struct {
	next   netip.Addr
	held   map[netip.Addr]store.Lease
	bits   int
	fail   error
	asked  []store.Lease
	log    []string // what was given back, and how
	before func()   // it answers
}

func newServer(first string) *server {
	return &server{next: netip.MustParseAddr(first), held: map[netip.Addr]store.Lease{}, bits: 24}
}

func (s *server) Acquire(_ context.Context, want store.Lease, must bool) (store.Lease, error) {
	s.asked = append(s.asked, want)
	if s.before != nil {
		s.before()
	}
	if s.fail != nil {
		return store.Lease{}, s.fail
	}
	for _, l := range s.held {
		if l.MAC == want.MAC {
			return l, nil
		}
	}
	if _, taken := s.held[want.IP]; taken && must {
		return store.Lease{}, errors.New("somebody has it")
	} else if taken || !want.IP.IsValid() {
		want.IP, s.next = s.next, s.next.Next()
	}
	want.Bits, want.Server = s.bits, netip.MustParseAddr("192.0.2.1")
	s.held[want.IP] = want
	return want, nil
}

func (s *server) Lease(_ string, _ netip.Prefix, ip netip.Addr) (store.Lease, bool) {
	l, ok := s.held[ip]
	return l, ok
}

func (s *server) Release(_ string, _ netip.Prefix, ip netip.Addr) { s.end(ip, "release") }
func (s *server) Decline(_ string, _ netip.Prefix, ip netip.Addr) { s.end(ip, "decline") }

func (s *server) end(ip netip.Addr, how string) {
	if _, ok := s.held[ip]; ok {
		s.log = append(s.log, how+" "+ip.String())
		delete(s.held, ip)
	}
}

func (s *server) gave(t *testing.T, want ...string) {
	t.Helper()
	slices.Sort(s.log)
	if !slices.Equal(s.log, want) {
		t.Errorf("given back: %v, want %v", s.log, want)
	}
	s.log = nil
}

// byDHCP is a pool on the LAN of a parent.
func byDHCP(parent, subnet string) PoolSpec {
	return PoolSpec{Pool: subnet, Options: map[string]string{"source": "dhcp", "parent": parent}}
}

func client(pool, name, mac string) AddressSpec { return AddressSpec{Pool: pool, Name: name, MAC: mac} }

const mac1, mac2, mac3 = "02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:03"

// An address is the server's, recorded with its lease, and given back with it.
func TestLeasedAddress(t *testing.T) {
	s := newServer("192.0.2.50")
	d := newDesk(t, Options{Leases: s})
	p := d.poolOf(byDHCP("eth0", "192.0.2.0/24"))
	d.want(d.askFor(client(p, "web", mac1)), "192.0.2.50/24")
	d.want(d.askFor(client(p, "db", mac2)), "192.0.2.51/24")
	if n := len(d.store.records.Leases); n != 2 || s.asked[0].Parent != "eth0" || s.asked[0].Name != "web" || s.asked[0].Engine != "e" {
		t.Errorf("%d records; asked for %+v", n, s.asked[0])
	}
	static := client(p, "s", mac3)
	static.Address = netip.MustParseAddr("192.0.2.99")
	d.want(d.askFor(static), "192.0.2.99/24")
	static.Address = netip.MustParseAddr("10.0.0.1")
	d.want(d.askFor(static), "address 10.0.0.1 isn't in the pool 192.0.2.0/24")
	d.release(p, "192.0.2.50")
	s.gave(t, "release 192.0.2.50")
	if n := len(d.store.records.Leases); n != 2 {
		t.Errorf("%d leases on record, want 2", n)
	}
	d.want(d.askFor(client(p, "web", mac3)), "192.0.2.99/24") // the server's word
	if s.asked[len(s.asked)-1].IP != netip.MustParseAddr("192.0.2.50") {
		t.Errorf("asked for %s, want the address that the name had", s.asked[len(s.asked)-1].IP)
	}
	d.releasePool(p)
	s.gave(t, "release 192.0.2.51", "release 192.0.2.99")
	if n := len(d.store.records.Leases) + len(d.store.records.Pools); n != 0 {
		t.Errorf("%d records left", n)
	}
}

// Gateways and auxiliary addresses aren't the server's; one that it gives all
// the same is declined, unless nobody named the gateway.
func TestLeaseOfTheTaken(t *testing.T) {
	s := newServer("192.0.2.2")
	d := newDesk(t, Options{Leases: s})
	p := d.poolOf(byDHCP("eth0", "192.0.2.0/24"))
	d.want(d.ask(p, "192.0.2.2"), "192.0.2.2/24") // auxiliary: without a MAC address
	d.want(d.askFor(AddressSpec{Pool: p, Gateway: true}), "192.0.2.1/24")
	if len(s.asked) != 0 {
		t.Errorf("asked the server: %+v", s.asked)
	}
	d.want(d.askFor(client(p, "web", mac1)), "192.0.2.3/24")
	s.gave(t, "decline 192.0.2.2")
	s.next = netip.MustParseAddr("192.0.2.1")
	d.want(d.askFor(client(p, "db", mac2)), "192.0.2.1/24") // a gateway that nobody named
	s.gave(t)
}

// Without a subnet the prefix is the server's, and several networks have one
// each.
func TestLeaseWithoutSubnet(t *testing.T) {
	s := newServer("192.0.2.50")
	d := newDesk(t, Options{Leases: s})
	d.pool("10.0.0.0/8") // overlaps nothing
	p, q := d.poolOf(byDHCP("eth0", "")), d.poolOf(byDHCP("eth1", "0.0.0.0/0"))
	all := netip.MustParsePrefix("0.0.0.0/0")
	if got := fmt.Sprint(d.Parents(SpaceLocal, all)); got != "[eth0 eth1]" {
		t.Errorf("parents %s", got)
	}
	d.want(d.askFor(client(p, "web", mac1)), "192.0.2.50/24")
	s.bits = 20
	d.want(d.askFor(client(q, "db", mac2)), "192.0.2.51/20")
	d.pool("172.16.0.0/16")
	d.start(Options{Leases: s}) // the records say it all
	d.release(p, "192.0.2.50")
	d.releasePool(q)
	s.gave(t, "release 192.0.2.50", "release 192.0.2.51")
	d.releasePool(p)
	if n := len(d.store.records.Leases); n != 0 {
		t.Errorf("%d leases on record", n)
	}
}

// Networks on one parent may share a subnet; on another it is another LAN.
func TestLeasesShareSubnet(t *testing.T) {
	d := newDesk(t, Options{Leases: newServer("192.0.2.50")})
	p, q := d.poolOf(byDHCP("eth0", "192.0.2.0/24")), d.poolOf(byDHCP("eth0", "192.0.2.0/24"))
	d.want(d.askFor(client(p, "web", mac1)), "192.0.2.50/24")
	d.want(d.askFor(client(q, "web", mac2)), "192.0.2.51/24")
	spec := byDHCP("eth1", "192.0.2.0/24")
	spec.Space = SpaceLocal
	if _, err := d.RequestPool(t.Context(), spec); err == nil {
		t.Error("the same subnet on two LANs")
	}
	spec = PoolSpec{Space: SpaceLocal, Pool: "192.0.2.0/25"}
	if _, err := d.RequestPool(t.Context(), spec); err == nil {
		t.Error("a pool of fairway's own in a LAN's")
	}
}

// What isn't recorded isn't kept; what the server refuses is said as it says it.
func TestLeaseFails(t *testing.T) {
	s := newServer("192.0.2.50")
	d := newDesk(t, Options{Leases: s})
	p := d.poolOf(byDHCP("eth0", "192.0.2.0/24"))
	s.fail = errors.New("parent eth0: no DHCP server answered within 10s")
	d.want(d.askFor(client(p, "web", mac1)), s.fail.Error())
	s.fail = nil
	d.store.fail = true
	d.want(d.askFor(client(p, "web", mac1)), "ipam: request address 192.0.2.50 of pool 192.0.2.0/24: "+errDisk.Error())
	s.gave(t, "release 192.0.2.50")
	d.store.fail = false
	d.want(d.askFor(client(p, "web", mac1)), "192.0.2.51/24")
	s.before = func() { d.releasePool(p) }
	d.want(d.askFor(client(p, "db", mac2)), "ipam: request address 192.0.2.52 of pool 192.0.2.0/24: the pool was released meanwhile")
	s.gave(t, "release 192.0.2.51", "release 192.0.2.52")
}

// A container that its engine was killed with has its address still when it comes
// back, and so has one whose address the server gives to another.
func TestLeaseAfterKill(t *testing.T) {
	s := newServer("192.0.2.50")
	gone := false
	d := newDesk(t, Options{Leases: s, Stale: func(context.Context, string, netip.Prefix, netip.Addr) bool { return gone }})
	p := d.poolOf(byDHCP("eth0", "192.0.2.0/24"))
	lan, ip := netip.MustParsePrefix("192.0.2.0/24"), netip.MustParseAddr("192.0.2.50")
	d.want(d.askFor(client(p, "", mac1)), "192.0.2.50/24")
	d.Confirm(SpaceLocal, lan, ip)
	d.want(d.askFor(client(p, "", mac1)), "192.0.2.50/24")
	d.Confirm(SpaceLocal, lan, ip)
	delete(s.held, ip)
	s.next = ip
	d.want(d.askFor(client(p, "", mac2)), "192.0.2.51/24") // it lives
	s.gave(t, "decline 192.0.2.50")
	s.next, gone = ip, true
	d.want(d.askFor(client(p, "", mac3)), "192.0.2.50/24")
	s.gave(t)
}

// Nobody waits for a DHCP server but who asked it.
func TestLeaseHoldsUpNobody(t *testing.T) {
	s := newServer("192.0.2.50")
	d := newDesk(t, Options{Leases: s})
	p, other := d.poolOf(byDHCP("eth0", "192.0.2.0/24")), d.pool("10.1.0.0/24")
	s.before = func() {
		s.before = nil
		d.want(d.ask(other, ""), "10.1.0.1/24")
		d.want(d.askFor(client(p, "db", mac2)), "192.0.2.50/24")
	}
	d.want(d.askFor(client(p, "web", mac1)), "192.0.2.51/24")
}

// What an engine doesn't know any more goes back to the server.
func TestCollectLeases(t *testing.T) {
	s := newServer("192.0.2.50")
	now := time.Now()
	d := newDesk(t, Options{Leases: s, Now: func() time.Time { return now }})
	p := d.poolOf(byDHCP("eth0", ""))
	d.want(d.askFor(client(p, "web", mac1)), "192.0.2.50/24")
	all := netip.MustParsePrefix("0.0.0.0/0")
	d.Confirm(SpaceLocal, all, netip.MustParseAddr("192.0.2.50"))
	for range 2 {
		if _, err := d.Collect(t.Context(), Known{Engine: "e", Pools: []KnownPool{{Subnet: all}}}); err != nil {
			t.Fatal(err)
		}
		now = now.Add(3 * time.Minute)
	}
	s.gave(t, "release 192.0.2.50")
}
