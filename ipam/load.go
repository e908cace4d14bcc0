package ipam

import (
	"fmt"
	"maps"
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
	now := a.now()
	var released []*lease
	for _, l := range records.Addresses {
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
		v := &lease{l, a.seq}
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
	a.loadNames()
	a.loadUse(records)
	return nil
}

// loadNames gives each container's name the address that it had last.
func (a *Allocator) loadNames() {
	for _, space := range a.spaces {
		for _, s := range space.by {
			for ip, e := range s.entries {
				if e.now.Name == "" {
					continue
				}
				key := containerName{e.now.Engine, e.now.Name}
				last := s.entries[s.names[key]].now
				if last == nil || newer(e.now, last) {
					s.names[key] = ip
				}
			}
		}
	}
}

// newer reports whether a name had the address of l after that of m.
func newer(l, m *lease) bool {
	if l.inUse() != m.inUse() {
		return l.inUse()
	}
	if c := l.Created.Compare(m.Created); c != 0 {
		return c > 0
	}
	return l.IP.Less(m.IP)
}

func (a *Allocator) loadUse(records store.Records) {
	for _, n := range records.Networks {
		for _, p := range n.Subnets {
			a.Confirm(p.Space, p.Prefix, p.Gateway)
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
