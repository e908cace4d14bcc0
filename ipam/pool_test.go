package ipam

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestRequestPoolRefusals(t *testing.T) {
	dhcp := map[string]string{"source": "dhcp", "parent": "eth0"}
	for _, tt := range []struct {
		name string
		spec PoolSpec
		want string
	}{
		{"space", PoolSpec{Space: "LocalDefault"}, `address space "LocalDefault": want one of fairway-local, fairway-global, fairway-ipvlan`},
		{"DHCP without MAC addresses", PoolSpec{Space: SpaceIPvlan, Pool: "10.0.0.0/24", Options: dhcp}, `option source="dhcp": not allowed with --ipam-driver fairway-ipvlan, which hears of no MAC address that servers could tell a container by`},
		{"no subnet", PoolSpec{Pool: "10.0.0.0"}, `pool "10.0.0.0": want a subnet such as 192.0.2.0/24`},
		{"nonsense", PoolSpec{Pool: "fd00::/129", V6: true}, `pool "fd00::/129": want a subnet such as 2001:db8::/64`},
		{"mapped", PoolSpec{Pool: "::ffff:10.0.0.0/120", V6: true}, `pool "::ffff:10.0.0.0/120": want a subnet such as 2001:db8::/64`},
		{"4 for 6", PoolSpec{Pool: "10.0.0.0/24", V6: true}, `pool 10.0.0.0/24: want an IPv6 subnet such as 2001:db8::/64`},
		{"6 for 4", PoolSpec{Pool: "fd00::/64"}, `pool fd00::/64: want an IPv4 subnet such as 192.0.2.0/24`},
		{"size 4 for 6", PoolSpec{Pool: "0.0.0.0/24", V6: true}, `pool 0.0.0.0/24: want an IPv6 subnet such as 2001:db8::/64`},
		{"everything", PoolSpec{Pool: "10.0.0.0/0"}, `pool 10.0.0.0/0: want a length of at least 1, such as 192.0.2.0/24`},
		{"looks like a size", PoolSpec{Pool: "0.0.0.9/24"}, `pool 0.0.0.9/24: want a subnet such as 192.0.2.0/24; 0.0.0.0/24 asks for any of that size`},
		{"size too large", PoolSpec{Pool: "0.0.0.0/12"}, `no default address pool for IPv4 can hold a /12: name a subnet`},
		{"range alone", PoolSpec{SubPool: "10.0.0.0/25"}, `ip-range "10.0.0.0/25": want the subnet that it is a part of, too`},
		{"range with size", PoolSpec{Pool: "0.0.0.0/24", SubPool: "10.0.0.0/25"}, `ip-range "10.0.0.0/25": want the subnet that it is a part of, too`},
		{"range outside", PoolSpec{Pool: "10.0.0.0/24", SubPool: "10.0.1.0/25"}, `ip-range "10.0.1.0/25": want a part of the pool 10.0.0.0/24`},
		{"range wider", PoolSpec{Pool: "10.0.0.0/24", SubPool: "10.0.0.0/23"}, `ip-range "10.0.0.0/23": want a part of the pool 10.0.0.0/24`},
		{"range of the other family", PoolSpec{Pool: "10.0.0.0/24", SubPool: "fd00::/80"}, `ip-range "fd00::/80": want a part of the pool 10.0.0.0/24`},
		{"range nonsense", PoolSpec{Pool: "10.0.0.0/24", SubPool: "x"}, `ip-range "x": want a part of the pool 10.0.0.0/24`},
		{"range without use", PoolSpec{Pool: "10.0.0.0/24", SubPool: "10.0.0.255/32"}, `ip-range 10.0.0.255/32: no address of it can be used in the pool 10.0.0.0/24`},
		{"option", PoolSpec{Options: map[string]string{"share": "true"}}, `option share="true": unknown; nearest is "shared"`},
		{"shared", PoolSpec{Options: map[string]string{"shared": "maybe"}}, `option shared="maybe": want true or false`},
		{"dhcp", PoolSpec{Options: map[string]string{"source": "dhcp"}}, `option source="dhcp": want parent=LINK, too: the link on whose LAN the DHCP server is`},
		{"parent", PoolSpec{Options: map[string]string{"parent": "eth0"}}, `option parent="eth0": not allowed without source=dhcp`},
		{"dhcp here", PoolSpec{Pool: "192.0.2.0/24", Options: dhcp}, `option source="dhcp": want local here`},
		{"dhcp with a range", PoolSpec{Pool: "192.0.2.0/24", SubPool: "192.0.2.0/25", Options: dhcp}, `ip-range "192.0.2.0/25": not allowed with source=dhcp: the server chooses the addresses`},
		{"dhcp with a size", PoolSpec{Pool: "0.0.0.0/24", Options: dhcp}, `pool 0.0.0.0/24: not allowed with source=dhcp: want the LAN's subnet, or none`},
		{"dhcp shared", PoolSpec{Options: map[string]string{"source": "dhcp", "parent": "eth0", "shared": "true"}}, `option shared="true": not allowed with source=dhcp, where networks may share a subnet anyhow`},
		{"dhcp for IPv6", PoolSpec{V6: true, Options: dhcp}, `source=dhcp: want an IPv6 subnet, such as 2001:db8::/64: DHCPv6 servers don't tell it`},
		{"segment", PoolSpec{Options: map[string]string{"segment": "s"}}, `option segment="s": this host is in no cluster: its daemon runs without --cluster`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDesk(t, Options{})
			if tt.spec.Space == "" {
				tt.spec.Space = SpaceLocal
			}
			if _, err := d.RequestPool(t.Context(), tt.spec); err == nil || err.Error() != tt.want {
				t.Errorf("error %q,\nwant  %q", err, tt.want)
			}
			if len(d.store.records.Pools) != 0 || len(d.handles) != 0 {
				t.Errorf("a refused request left %v behind", d.store.records.Pools)
			}
		})
	}
}

func TestRequestPoolOverlap(t *testing.T) {
	share := map[string]string{"shared": "true"}
	for _, tt := range []struct {
		name  string
		first PoolSpec
		next  PoolSpec
		want  string // error; "" for none
	}{
		{"same", PoolSpec{Pool: "10.0.0.0/24"}, PoolSpec{Pool: "10.0.0.0/24"},
			"pool 10.0.0.0/24 overlaps 10.0.0.0/24, which is in use (networks share a subnet if each has --ipam-opt shared=true and an --ip-range)"},
		{"inside", PoolSpec{Pool: "10.0.0.0/16"}, PoolSpec{Pool: "10.0.7.0/24"}, "pool 10.0.7.0/24 overlaps 10.0.0.0/16, which is in use"},
		{"around", PoolSpec{Pool: "10.0.7.0/24"}, PoolSpec{Pool: "10.0.0.0/16"}, "pool 10.0.0.0/16 overlaps 10.0.7.0/24, which is in use"},
		{"around, same start", PoolSpec{Pool: "10.0.0.0/24"}, PoolSpec{Pool: "10.0.0.0/16"}, "pool 10.0.0.0/16 overlaps 10.0.0.0/24, which is in use"},
		{"beside", PoolSpec{Pool: "10.0.0.0/24"}, PoolSpec{Pool: "10.0.1.0/24"}, ""},
		{"host bits", PoolSpec{Pool: "10.0.0.77/24"}, PoolSpec{Pool: "10.0.0.0/25"}, "pool 10.0.0.0/25 overlaps 10.0.0.0/24, which is in use"},
		{"IPv6", PoolSpec{Pool: "fd00::/64"}, PoolSpec{Pool: "fd00::1:0/112"}, "pool fd00::1:0/112 overlaps fd00::/64, which is in use"},
		{"other space", PoolSpec{Pool: "10.0.0.0/24"}, PoolSpec{Pool: "10.0.0.0/24", Space: SpaceGlobal}, ""},
		{"shared, disjoint", PoolSpec{Pool: "10.0.0.0/24", SubPool: "10.0.0.0/26", Options: share},
			PoolSpec{Pool: "10.0.0.0/24", SubPool: "10.0.0.64/26", Options: share}, ""},
		{"shared, same range", PoolSpec{Pool: "10.0.0.0/24", SubPool: "10.0.0.0/26", Options: share},
			PoolSpec{Pool: "10.0.0.0/24", SubPool: "10.0.0.32/27", Options: share}, "ip-range 10.0.0.32/27 of pool 10.0.0.0/24 overlaps 10.0.0.0/26, which is in use"},
		{"shared by one only", PoolSpec{Pool: "10.0.0.0/24", SubPool: "10.0.0.0/26"},
			PoolSpec{Pool: "10.0.0.0/24", SubPool: "10.0.0.64/26", Options: share},
			"pool 10.0.0.0/24 overlaps 10.0.0.0/24, which is in use (networks share a subnet if each has --ipam-opt shared=true and an --ip-range)"},
		{"shared without a range", PoolSpec{Pool: "10.0.0.0/24", Options: share}, PoolSpec{Pool: "10.0.0.0/24", SubPool: "10.0.0.64/26", Options: share},
			"pool 10.0.0.0/24 overlaps 10.0.0.0/24, which is in use (networks share a subnet if each has --ipam-opt shared=true and an --ip-range)"},
		{"shared, other subnet", PoolSpec{Pool: "10.0.0.0/24", SubPool: "10.0.0.0/26", Options: share},
			PoolSpec{Pool: "10.0.0.0/25", SubPool: "10.0.0.64/26", Options: share}, "pool 10.0.0.0/25 overlaps 10.0.0.0/24, which is in use"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDesk(t, Options{})
			first := d.poolOf(tt.first)
			d.askFor(AddressSpec{Pool: first, Gateway: true}) // Docker knows it
			if tt.next.Space == "" {
				tt.next.Space = SpaceLocal
			}
			tt.next.V6 = strings.Contains(tt.next.Pool, ":")
			_, err := d.RequestPool(t.Context(), tt.next)
			if text := fmt.Sprint(err); text != tt.want && (err != nil || tt.want != "") {
				t.Errorf("error %q,\nwant  %q", text, tt.want)
			}
			d.releasePool(first)
			if _, err = d.RequestPool(t.Context(), tt.next); err != nil && tt.want != "" {
				t.Errorf("after the first one is gone: %v", err)
			}
		})
	}
}

// TestLostPoolReply asks for a subnet again, as Docker's user does after a
// request whose reply was lost.
func TestLostPoolReply(t *testing.T) {
	d := newDesk(t, Options{})
	lost := d.pool("10.0.0.0/24")
	known := d.pool("10.0.0.0/24")
	if lost == known {
		t.Fatal("a pool ID was given out twice")
	}
	d.want(d.askFor(AddressSpec{Pool: known, Gateway: true}), "10.0.0.1/24")
	d.want(d.ask(lost, "10.0.0.1"), "address 10.0.0.1 is already in use")
	d.want(d.ask(lost, ""), "10.0.0.2/24")
	d.releasePool(lost)
	d.want(d.ask(known, "10.0.0.1"), "address 10.0.0.1 is already in use")
	d.want(d.ask(known, ""), "10.0.0.3/24")
	d.releasePool(known)
	if n := len(d.store.records.Addresses) + len(d.store.records.Pools); n != 0 {
		t.Errorf("%d records left", n)
	}
}

func TestRequestPoolChooses(t *testing.T) {
	prefixes := func(list ...string) (out []netip.Prefix) {
		for _, p := range list {
			out = append(out, netip.MustParsePrefix(p))
		}
		return out
	}
	for _, tt := range []struct {
		name   string
		host   []netip.Prefix
		taken  []string // subnets requested before
		pools  []DefaultPool
		spec   PoolSpec
		expect []string
	}{
		{name: "in order", expect: []string{"172.17.0.0/16", "172.18.0.0/16", "172.19.0.0/16", "172.20.0.0/16", "172.21.0.0/16"}},
		{name: "keeps off routes", host: prefixes("0.0.0.0/0", "172.17.0.0/16", "172.19.44.0/24", "172.20.0.0/14"), expect: []string{"172.18.0.0/16", "172.24.0.0/16"}},
		{name: "keeps off pools", taken: []string{"172.17.3.0/24", "172.18.0.0/15"}, expect: []string{"172.20.0.0/16"}},
		{name: "any size", spec: PoolSpec{Pool: "0.0.0.0/0"}, expect: []string{"172.17.0.0/16"}},
		{name: "size", spec: PoolSpec{Pool: "0.0.0.0/24"}, taken: []string{"172.17.1.128/25"}, expect: []string{"172.17.0.0/24", "172.17.2.0/24"}},
		{name: "larger size", spec: PoolSpec{Pool: "0.0.0.0/15"}, taken: []string{"172.21.0.0/16"}, expect: []string{"172.22.0.0/15", "172.24.0.0/15"}},
		{name: "global", spec: PoolSpec{Space: SpaceGlobal}, taken: []string{"10.0.0.0/31"}, expect: []string{"10.0.1.0/24", "10.0.2.0/24"}},
		{
			name: "exhausted", pools: []DefaultPool{{netip.MustParsePrefix("10.9.0.0/23"), 24}}, host: prefixes("10.9.1.0/30"),
			expect: []string{"10.9.0.0/24", "every default address pool for IPv4 is in use or on a route of the host: name a subnet"},
		},
		{
			name: "none for the family", pools: []DefaultPool{{netip.MustParsePrefix("10.9.0.0/23"), 24}}, spec: PoolSpec{V6: true},
			expect: []string{"no default address pool for IPv6: name a subnet"},
		},
		{
			name: "a vast base", pools: []DefaultPool{{netip.MustParsePrefix("fd00::/8"), 120}}, spec: PoolSpec{V6: true},
			taken: []string{"fd00::/110", "fd00::4:0/128"}, expect: []string{"fd00::4:100/120"},
		},
		{
			name: "a vast hindrance", pools: []DefaultPool{{netip.MustParsePrefix("fd00::/8"), 120}, {netip.MustParsePrefix("fe00::/120"), 120}},
			spec: PoolSpec{V6: true}, taken: []string{"fd00::/9"}, expect: []string{"fe00::/120"},
		},
		{name: "IPv6 size", pools: []DefaultPool{{netip.MustParsePrefix("fd00::/48"), 64}}, spec: PoolSpec{Pool: "::/120", V6: true}, expect: []string{"fd00::/120", "fd00::100/120"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDesk(t, Options{
				Pools:       tt.pools,
				HostSubnets: func(context.Context) ([]netip.Prefix, error) { return tt.host, nil },
			})
			for _, p := range tt.taken {
				d.pool(p)
			}
			if tt.spec.Space == "" {
				tt.spec.Space = SpaceLocal
			}
			var ids []string
			for _, want := range tt.expect {
				reply, err := d.RequestPool(t.Context(), tt.spec)
				got := reply.Prefix.String()
				if err != nil {
					got = err.Error()
				} else {
					ids = append(ids, reply.ID)
				}
				d.want(got, want)
			}
			if len(ids) > 0 { // what was given back comes again
				d.releasePool(ids[0])
				reply, err := d.RequestPool(t.Context(), tt.spec)
				if err != nil || reply.Prefix.String() != tt.expect[0] {
					t.Errorf("after a release: %v, %v; want %s", reply.Prefix, err, tt.expect[0])
				}
			}
		})
	}
}

func TestHostRoutesUnreadable(t *testing.T) {
	d := newDesk(t, Options{HostSubnets: func(context.Context) ([]netip.Prefix, error) {
		return nil, errors.New("netlink: interrupted")
	}})
	_, err := d.RequestPool(t.Context(), PoolSpec{Space: SpaceLocal})
	d.want(fmt.Sprint(err), "ipam: request pool: netlink: interrupted")
	d.pool("10.0.0.0/24") // the user's own choice doesn't need them
}

func TestUniqueLocalPools(t *testing.T) {
	one, other := newDesk(t, Options{Instance: "a"}), newDesk(t, Options{Instance: "b"})
	ula := netip.MustParsePrefix("fd00::/8")
	ask := func(d *desk) netip.Prefix {
		reply, err := d.RequestPool(t.Context(), PoolSpec{Space: SpaceLocal, V6: true})
		if err != nil {
			t.Fatal(err)
		}
		return reply.Prefix
	}
	p, q, r := ask(one), ask(one), ask(other)
	if p.Bits() != 64 || !ula.Contains(p.Addr()) || p == q || p == r {
		t.Errorf("unique local pools %s, %s and on another host %s", p, q, r)
	}
}

func TestDefaultPoolsRefused(t *testing.T) {
	for _, p := range []DefaultPool{
		{}, {netip.MustParsePrefix("10.0.0.0/16"), 8}, {netip.MustParsePrefix("10.0.0.0/16"), 33}, {netip.MustParsePrefix("0.0.0.0/0"), 0},
	} {
		if _, err := New(Options{Store: newFakeStore(), Pools: []DefaultPool{p}}, newFakeStore().records); err == nil {
			t.Errorf("default pool %s accepted", p)
		}
	}
}

// TestManyPools asks for pools in parallel, as many as KERNEL.md part 5 does.
func TestManyPools(t *testing.T) {
	d := newDesk(t, Options{Pools: []DefaultPool{{netip.MustParsePrefix("10.0.0.0/8"), 24}}})
	const callers, each = 64, 256
	begin := time.Now()
	var group sync.WaitGroup
	got := make([][]netip.Prefix, callers)
	for i := range callers {
		group.Go(func() {
			for range each {
				reply, err := d.RequestPool(t.Context(), PoolSpec{Space: SpaceLocal})
				if err != nil {
					t.Error(err)
					return
				}
				got[i] = append(got[i], reply.Prefix)
			}
		})
	}
	group.Wait()
	t.Logf("%d pools in %s", callers*each, time.Since(begin))
	seen := map[netip.Prefix]bool{}
	for _, list := range got {
		for _, p := range list {
			if seen[p] {
				t.Fatalf("pool %s was given out twice", p)
			}
			seen[p] = true
		}
	}
}
