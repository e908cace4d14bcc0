package ipam

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"fairway/store"
)

// load rebuilds the state from the records. What networks and endpoints use is
// in use and confirmed, whatever the records of addresses say: those of a
// confirmation aren't waited for.
func (a *Allocator) load(records store.Records) error {
	for _, id := range slices.Sorted(maps.Keys(records.Pools)) {
		p := records.Pools[id]
		if a.spaces[p.Space] == nil || !p.Subnet.IsValid() || p.Subnet != p.Subnet.Masked() {
			return fmt.Errorf("ipam: record of pool %q: no subnet %s in address space %q", id, p.Subnet, p.Space)
		}
		a.attach(&handle{Pool: p, noted: p.Confirmed})
	}
	for _, n := range records.Networks {
		for _, p := range n.Subnets {
			if s := a.subnet(p.Space, p.Prefix); s != nil {
				s.network = true // what is unconfirmed was requested since
			}
		}
	}
	a.loadAddresses(records.Addresses)
	a.loadUse(records)
	return nil
}

func (a *Allocator) loadAddresses(addresses map[string]store.Address) {
	counts := map[*subnet]int{}
	for _, l := range addresses {
		counts[a.subnet(l.Space, l.Subnet)]++
	}
	for s, n := range counts {
		if s != nil {
			s.entries = make(map[netip.Addr]entry, n)
		}
	}
	now := a.now()
	var released []*lease
	for _, l := range addresses {
		s := a.subnet(l.Space, l.Subnet)
		if s == nil || !s.prefix.Contains(l.IP) {
			if a.spaces[l.Space] != nil {
				a.useless = append(a.useless, address{l.Space, l.Subnet, l.IP})
			}
			continue
		}
		if l.Released.After(now) {
			l.Released = now // the clock was set back
		}
		a.seq++
		v := &lease{Address: l, seq: a.seq}
		s.entries[l.IP] = entry{saved: v}
		if v.inUse() {
			s.set(l.IP, v)
		} else {
			released = append(released, v)
		}
	}
	slices.SortFunc(released, func(x, y *lease) int {
		if c := x.Released.Compare(y.Released); c != 0 {
			return c
		}
		return x.IP.Compare(y.IP)
	})
	for _, v := range released {
		s := a.subnet(v.Space, v.Subnet)
		s.set(v.IP, v)
	}
}

// loadUse confirms what networks and endpoints use.
func (a *Allocator) loadUse(records store.Records) {
	for _, n := range records.Networks {
		for _, p := range n.Subnets {
			a.Confirm(p.Space, p.Prefix, p.Gateway)
			a.Confirm(p.Space, p.Prefix, n.HostAddresses...)
			for _, ip := range p.Aux {
				a.Confirm(p.Space, p.Prefix, ip)
			}
		}
	}
	for _, e := range records.Endpoints {
		for _, p := range records.Networks[e.Network].Subnets {
			a.Confirm(p.Space, p.Prefix, e.IPv4.Addr(), e.IPv6.Addr())
		}
	}
}
