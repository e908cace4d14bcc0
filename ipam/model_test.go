package ipam

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"time"

	"fairway/store"
)

// A model says what an allocator must answer, by walking over everything: the
// rules of the package and none of its structures. It knows one address space.
type model struct {
	handles map[string]*modelHandle
	addrs   map[netip.Prefix]map[netip.Addr]modelAddr
	network map[netip.Prefix]bool
	n       int // counts releases
}

type modelHandle struct {
	id, engine      string
	subnet, ipRange netip.Prefix
	shared          bool
	created         time.Time
	confirmed       bool // in memory
	noted           bool // durably
}

type modelAddr struct {
	handle, engine, name, mac string
	gateway, confirmed        bool
	created, released         time.Time
	n                         int  // when it was released
	old                       bool // the name may have had another address since
}

func (m modelAddr) inUse() bool { return m.handle != "" && m.released.IsZero() }

func newModel() *model {
	return &model{
		handles: map[string]*modelHandle{},
		addrs:   map[netip.Prefix]map[netip.Addr]modelAddr{},
		network: map[netip.Prefix]bool{},
	}
}

// modelOf returns the model of what is in a store.
func modelOf(records store.Records) *model {
	m := newModel()
	for _, p := range records.Pools {
		m.handles[p.ID] = &modelHandle{
			p.ID, p.Engine, p.Subnet, p.Range, p.Options["shared"] == "true", p.Created, p.Confirmed, p.Confirmed,
		}
		m.addrs[p.Subnet] = map[netip.Addr]modelAddr{}
	}
	for _, n := range records.Networks {
		m.network[n.Subnets[0].Prefix] = true
	}
	list := slices.SortedFunc(maps.Values(records.Addresses), func(a, b store.Address) int {
		return cmp.Or(a.Released.Compare(b.Released), a.IP.Compare(b.IP))
	})
	for i, a := range list {
		if i == 0 || !a.Released.Equal(list[i-1].Released) {
			m.n++ // those released at the same moment are equally old
		}
		if m.addrs[a.Subnet] != nil {
			m.addrs[a.Subnet][a.IP] = modelAddr{
				a.Pool, a.Engine, a.Name, a.MAC, a.Kind == store.KindGateway, a.Confirmed, a.Created, a.Released, m.n, a.Name != "",
			}
		}
	}
	return m
}

func (m *model) on(subnet netip.Prefix) (handles []*modelHandle) {
	for _, h := range m.handles {
		if h.subnet == subnet {
			handles = append(handles, h)
		}
	}
	return handles
}

func (m *model) mayHave(subnet, ipRange netip.Prefix, shared bool) bool {
	for _, h := range m.handles {
		if h.subnet != subnet && h.subnet.Overlaps(subnet) {
			return false
		}
	}
	unused, disjoint := !m.network[subnet], true
	for _, h := range m.on(subnet) {
		unused = unused && !h.confirmed
		disjoint = disjoint && shared && h.shared && ipRange.IsValid() && h.ipRange.IsValid() && !h.ipRange.Overlaps(ipRange)
	}
	for _, a := range m.addrs[subnet] {
		unused = unused && !a.inUse()
	}
	return unused || disjoint
}

func (m *model) releasePool(h *modelHandle, now time.Time) {
	delete(m.handles, h.id)
	if len(m.on(h.subnet)) == 0 {
		delete(m.addrs, h.subnet)
		delete(m.network, h.subnet)
		return
	}
	for _, ip := range m.sorted(h.subnet) {
		if a := m.addrs[h.subnet][ip]; a.inUse() && a.handle == h.id && !m.sharesGateway(h, a) {
			m.release(h.subnet, ip, now)
		}
	}
}

// sharesGateway reports whether a is the gateway of a subnet that h shares with
// another handle.
func (m *model) sharesGateway(h *modelHandle, a modelAddr) bool {
	return a.inUse() && a.gateway && h.shared && slices.ContainsFunc(m.on(h.subnet), func(o *modelHandle) bool {
		return o.id != h.id && o.shared
	})
}

func (m *model) sorted(subnet netip.Prefix) []netip.Addr {
	return slices.SortedFunc(maps.Keys(m.addrs[subnet]), netip.Addr.Compare)
}

func (m *model) release(subnet netip.Prefix, ip netip.Addr, now time.Time) {
	a := m.addrs[subnet][ip]
	m.n++
	a.released, a.confirmed, a.n = now, false, m.n
	m.addrs[subnet][ip] = a
}

func modelUsable(subnet netip.Prefix, ip netip.Addr) bool {
	size := subnet.Addr().BitLen() - subnet.Bits()
	if size <= 1 {
		return true
	}
	if ip == subnet.Addr() {
		return false
	}
	return ip.Is6() || subnet.Contains(ip.Next())
}

func (m *model) repeated(h *modelHandle, a modelAddr, spec AddressSpec) bool {
	return a.inUse() && !a.confirmed && a.handle == h.id && a.engine == spec.Engine && a.gateway == spec.Gateway &&
		(a.gateway || m.network[h.subnet])
}

// answers returns the addresses that may be given to spec; none if it must be refused.
func (m *model) answers(h *modelHandle, spec AddressSpec, now time.Time, delay time.Duration) []netip.Addr {
	addrs := m.addrs[h.subnet]
	if ip := spec.Address; ip.IsValid() {
		if h.subnet.Contains(ip) && modelUsable(h.subnet, ip) && (!addrs[ip].inUse() || m.repeated(h, addrs[ip], spec) ||
			spec.Gateway && m.sharesGateway(h, addrs[ip])) {
			return []netip.Addr{ip}
		}
		return nil
	}
	within := h.ipRange
	if !within.IsValid() {
		within = h.subnet
	}
	var maybe, free, delayed []netip.Addr
	for ip := h.subnet.Addr(); h.subnet.Contains(ip); ip = ip.Next() {
		a := addrs[ip]
		if m.repeated(h, a, spec) && a.mac == spec.MAC && a.name == spec.Name && (spec.Gateway || spec.MAC != "") {
			return []netip.Addr{ip}
		}
	}
	for ip := h.subnet.Addr(); h.subnet.Contains(ip); ip = ip.Next() {
		a := addrs[ip]
		if !within.Contains(ip) || !modelUsable(h.subnet, ip) {
			continue
		}
		if spec.Name != "" && !spec.Gateway && a.name == spec.Name && a.engine == spec.Engine && (!a.inUse() || m.repeated(h, a, spec)) {
			if !a.old {
				return []netip.Addr{ip}
			}
			maybe = append(maybe, ip)
		}
		switch {
		case a.inUse():
		case a.handle == "" || now.Sub(a.released) >= delay:
			free = append(free, ip)
		default:
			delayed = append(delayed, ip)
		}
	}
	switch {
	case len(free) > 0:
		maybe = append(maybe, free[0])
	case len(delayed) > 0:
		oldest := slices.MinFunc(delayed, func(x, y netip.Addr) int { return addrs[x].n - addrs[y].n })
		for _, ip := range delayed {
			if addrs[ip].n == addrs[oldest].n {
				maybe = append(maybe, ip)
			}
		}
	}
	return maybe
}

func (m *model) request(h *modelHandle, ip netip.Addr, spec AddressSpec, now time.Time) {
	addrs := m.addrs[h.subnet]
	for other, a := range addrs {
		if spec.Name != "" && a.name == spec.Name && a.engine == spec.Engine && other != ip {
			a.old = true
			addrs[other] = a
		}
	}
	addrs[ip] = modelAddr{handle: h.id, engine: spec.Engine, name: spec.Name, mac: spec.MAC, gateway: spec.Gateway, created: now}
}

func (m *model) confirm(subnet netip.Prefix, ips ...netip.Addr) {
	first := !m.network[subnet]
	m.network[subnet] = true
	for ip, a := range m.addrs[subnet] {
		if a.inUse() && (first || slices.Contains(ips, ip)) {
			a.confirmed = true
			m.addrs[subnet][ip] = a
		}
	}
	var newest *modelHandle
	for _, h := range m.on(subnet) {
		if h.confirmed {
			return
		}
		if newest == nil || h.created.After(newest.created) {
			newest = h
		}
	}
	newest.confirmed, newest.noted = true, true
}
