package ipam

import (
	"net/netip"
	"strings"
	"testing"
)

// FuzzPool requests a pool by text, and checks what is accepted.
func FuzzPool(f *testing.F) {
	for _, s := range []struct {
		pool, ipRange, option, value string
		v6                           bool
	}{
		{},
		{pool: "10.0.0.0/24", ipRange: "10.0.0.128/25", option: "shared", value: "true"},
		{pool: "10.0.0.77/24", ipRange: "10.0.0.200/30"},
		{pool: "0.0.0.0/24"}, {pool: "0.0.0.0/0"}, {pool: "10.0.0.0/0"}, {pool: "10.0.0.4/31"},
		{pool: "fd00::/64", ipRange: "fd00::/128", v6: true}, {pool: "::/120", v6: true}, {pool: "::ffff:10.0.0.0/104", v6: true},
		{pool: "fe80::%eth0/64", v6: true},
		{option: "source", value: "dhcp"}, {option: "sharde", value: "\x00\n"},
	} {
		f.Add(s.pool, s.ipRange, s.option, s.value, s.v6)
	}
	f.Fuzz(func(t *testing.T, pool, ipRange, option, value string, v6 bool) {
		d := newDesk(t, Options{Instance: "fuzz"})
		spec := PoolSpec{Space: SpaceLocal, Pool: pool, SubPool: ipRange, V6: v6}
		if option != "" {
			spec.Options = map[string]string{option: value}
		}
		reply, err := d.RequestPool(t.Context(), spec)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\r") || len(d.store.records.Pools) != 0 {
				t.Errorf("error %q, %d records", err, len(d.store.records.Pools))
			}
			return
		}
		if reply.Prefix != reply.Prefix.Masked() || reply.Prefix.Addr().Is6() != v6 || reply.Prefix.Bits() == 0 {
			t.Fatalf("pool %s", reply.Prefix)
		}
		if want, err := netip.ParsePrefix(pool); err == nil && !want.Addr().IsUnspecified() && want.Masked() != reply.Prefix {
			t.Fatalf("pool %s for %s", reply.Prefix, want)
		}
		got, err := d.RequestAddress(t.Context(), AddressSpec{Pool: reply.ID})
		if err != nil {
			t.Fatalf("an empty pool has no address: %v", err)
		}
		if !reply.Prefix.Contains(got.Addr()) || got.Masked() != reply.Prefix {
			t.Fatalf("address %s of %s", got, reply.Prefix)
		}
		if within, err := netip.ParsePrefix(ipRange); err == nil && !within.Contains(got.Addr()) {
			t.Fatalf("address %s isn't in the range %s", got, within)
		}
		if err := d.ReleasePool(t.Context(), reply.ID); err != nil || len(d.store.records.Pools)+len(d.store.records.Addresses) != 0 {
			t.Fatalf("release: %v, %v", err, d.store.records)
		}
	})
}

// FuzzAddress requests an address by text, twice, and releases it.
func FuzzAddress(f *testing.F) {
	for _, s := range [][2]string{
		{"10.0.0.0/24", "10.0.0.1"}, {"10.0.0.0/24", "10.0.0.255"}, {"10.0.0.4/31", "10.0.0.4"}, {"fd00::/64", "fd00::ffff:ffff:ffff:ffff"},
		{"fd00::/8", "fd12:3456::1"}, {"10.0.0.0/8", "::ffff:10.1.2.3"}, {"fe80::/64", "fe80::1%eth0"}, {"128.0.0.0/1", "255.255.255.254"},
	} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, pool, text string) {
		d := newDesk(t, Options{})
		ip, err := netip.ParseAddr(text)
		if err != nil {
			return
		}
		reply, err := d.RequestPool(t.Context(), PoolSpec{Space: SpaceLocal, Pool: pool, V6: strings.Contains(pool, ":")})
		if err != nil {
			return
		}
		spec := AddressSpec{Pool: reply.ID, Address: ip}
		got, err := d.RequestAddress(t.Context(), spec)
		if err != nil {
			if reply.Prefix.Contains(ip.Unmap()) && d.handles[reply.ID].subnet.reserved(ip.Unmap()) == "" {
				t.Fatal(err)
			}
			return
		}
		if got.Addr() != ip.Unmap() || !reply.Prefix.Contains(got.Addr()) {
			t.Fatalf("address %s for %s of %s", got, ip, reply.Prefix)
		}
		if _, err := d.RequestAddress(t.Context(), spec); err == nil {
			t.Fatalf("address %s was given out twice", got)
		}
		if other, err := d.RequestAddress(t.Context(), AddressSpec{Pool: reply.ID}); err == nil && other == got {
			t.Fatalf("address %s was given out twice", got)
		}
		if err := d.ReleaseAddress(t.Context(), reply.ID, ip); err != nil {
			t.Fatal(err)
		}
		if _, err := d.RequestAddress(t.Context(), spec); err != nil {
			t.Fatalf("released, but %v", err)
		}
	})
}
