package model

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"fairway/store"
)

func (m *model) requestPool(r request, o outcome) (why string, err error) {
	want, _ := netip.ParsePrefix(r.pool)
	for id, f := range m.pools {
		for _, p := range f.facts() {
			if q := netip.MustParsePrefix(p.subnet); want.IsValid() && p.space == r.space && q.Overlaps(want) {
				why = "overlaps " + id
			}
		}
	}
	if m.lostPools > 0 {
		why = "may overlap one that nobody knows"
	}
	switch {
	case o.lost:
		m.lostPools++
	case o.ok():
		if f := m.pools[o.reply.PoolID]; f != nil {
			return why, fmt.Errorf("PoolID %s again", o.reply.PoolID)
		}
		got, err := netip.ParsePrefix(o.reply.Pool)
		if err != nil || want.IsValid() && got != want {
			return why, fmt.Errorf("pool %q instead of %s", o.reply.Pool, r.pool)
		}
		m.bear(o.reply.PoolID)
		fateOf(m.pools, o.reply.PoolID).become(&poolFact{m.engine(r.engine), r.space, got.String(), r.subPool})
	}
	return why, nil
}

func poolFactOf(p store.Pool) poolFact {
	f := poolFact{p.Engine, p.Space, p.Subnet.String(), ""}
	if p.Range.IsValid() {
		f.ipRange = p.Range.String()
	}
	return f
}

func (m *model) releasePool(r request, o outcome) {
	f := fateOf(m.pools, r.pool)
	for _, p := range f.facts() {
		last := true
		for id, other := range m.pools {
			for _, q := range other.facts() {
				last = last && (id == r.pool || q.subnet != p.subnet || q.space != p.space)
			}
		}
		for l := range m.leases {
			if last && l.space == p.space && l.subnet.String() == p.subnet {
				m.leases[l] = soft
				if o.ok() && !m.loose && m.lostPools == 0 {
					m.leases[l] = free
				}
			}
		}
	}
	settle(m, f, o, nil, true)
}

func (m *model) requestAddress(r request, o outcome, docker bool) (why string, err error) {
	f := m.pools[r.pool]
	if f.absent() {
		why = "no pool"
		if len(f.facts()) == 0 {
			if o.ok() && !m.loose {
				return why, fmt.Errorf("accepted without a pool")
			}
			return why, nil
		}
	}
	p := f.facts()[0]
	subnet := netip.MustParsePrefix(p.subnet)
	switch {
	case r.address.IsValid() && (!subnet.Contains(r.address) || r.address == subnet.Addr() || r.address.Is4() && !subnet.Contains(r.address.Next()) || m.leases[lease{p.space, subnet, r.address}] != free || m.used(subnet, r.address)):
		why = "is in use"
	case !r.address.IsValid() && m.full(p):
		why = "the pool is full"
	}
	switch {
	case o.lost && r.address.IsValid():
		m.leases[lease{p.space, subnet, r.address}] = max(soft, m.leases[lease{p.space, subnet, r.address}])
	case o.lost:
		m.lostIPs++
	case o.ok():
		got, err := netip.ParsePrefix(o.reply.Address)
		if err != nil || got.Masked() != subnet || r.address.IsValid() && got.Addr() != r.address {
			return why, fmt.Errorf("address %q instead of %s in %s", o.reply.Address, r.address, subnet)
		}
		l := lease{p.space, subnet, got.Addr()}
		// A request sent again, which nobody listens to, is answered like one
		// beside it that tells the same of who asks.
		again := !docker && (m.askers[l] == r.asker() || m.loose && r.address.IsValid() && m.gateways[l] == r.gateway)
		if m.leases[l] == hard && !again && !m.abandoned(m.holders[l]) {
			return why, fmt.Errorf("address %s is handed out twice", got)
		}
		if again && m.leases[l] == hard {
			return why, nil
		}
		m.leases[l], m.gateways[l] = soft, r.gateway
		if docker {
			m.leases[l], m.holders[l], m.askers[l] = hard, r.holder, r.asker()
		}
	}
	return why, nil
}

// relive notes that a new daemon has read the records: what networks and
// endpoints have is in use, whatever was released before.
func (m *model) relive() {
	m.died = true
	reused := map[netip.Addr]bool{}
	for _, f := range m.endpoints {
		for _, e := range f.facts() {
			reused[e.v4.Addr()], reused[e.v6.Addr()] = true, true
		}
	}
	for _, f := range m.networks {
		for _, n := range f.facts() {
			for _, word := range strings.FieldsFunc(n.form, func(r rune) bool { return r == ' ' || r == ']' }) {
				if a, err := netip.ParseAddr(word); err == nil {
					reused[a] = true
				}
			}
		}
	}
	for _, f := range m.pools {
		for _, p := range f.facts() {
			for a := range reused {
				l := lease{p.space, netip.MustParsePrefix(p.subnet), a}
				if l.subnet.Contains(a) {
					m.leases[l] = max(m.leases[l], soft)
				}
			}
		}
	}
}

// abandoned reports whether an endpoint's sandbox has died: its address may be
// given to another.
func (m *model) abandoned(endpoint string) bool {
	return slices.ContainsFunc(m.endpoints[endpoint].facts(), func(e *epFact) bool {
		return e.sandbox != "" && !m.alive(e.sandbox)
	})
}

// used reports whether a network or an endpoint may have the address.
func (m *model) used(subnet netip.Prefix, ip netip.Addr) bool {
	for _, f := range m.endpoints {
		for _, e := range f.facts() {
			if e.v4.Addr() == ip || e.v6.Addr() == ip {
				return true
			}
		}
	}
	for _, f := range m.networks {
		for _, n := range f.facts() {
			if strings.Contains(n.form, subnet.String()+" "+ip.String()) || strings.Contains(n.form, ip.String()+"]") {
				return true
			}
		}
	}
	return false
}

// full reports whether every address of a pool may be in use.
func (m *model) full(p *poolFact) bool {
	subnet := netip.MustParsePrefix(p.subnet)
	r := subnet
	if p.ipRange != "" {
		r = netip.MustParsePrefix(p.ipRange)
	}
	size := 1 << min(r.Addr().BitLen()-r.Bits(), 16)
	if r == subnet {
		size -= 2
	}
	for l, h := range m.leases {
		if l.subnet == subnet && r.Contains(l.ip) && h != free {
			size--
		}
	}
	return size-m.lostIPs <= 0
}

func (m *model) releaseAddress(r request, o outcome) {
	for _, p := range m.pools[r.pool].facts() {
		l := lease{p.space, netip.MustParsePrefix(p.subnet), r.address}
		if h := m.holders[l]; h != r.holder && m.leases[l] == hard {
			// Whom it was taken from gives it back: its new holder has it, at
			// the latest when it has an endpoint.
			if !m.endpoints[h].absent() && !m.abandoned(h) && !m.loose {
				continue
			}
		}
		m.leases[l] = soft
		if o.ok() && !m.loose && !m.used(l.subnet, l.ip) { // else it goes with the endpoint
			m.leases[l] = free
		}
	}
}

// orphan notes that an engine has forgotten things: nobody relies any more on
// an address that none knows.
func (m *model) orphan(dockers map[string]*docker) {
	known := map[lease]bool{}
	for _, d := range dockers {
		for _, n := range d.networks {
			for _, p := range n.pools {
				known[lease{p.space, p.prefix, p.gateway}] = true
				known[lease{p.space, p.prefix, p.aux}] = true
				for _, c := range d.containers {
					for _, e := range c.eps {
						known[lease{p.space, p.prefix, e.v4.Addr()}] = true
						known[lease{p.space, p.prefix, e.v6.Addr()}] = true
					}
				}
			}
		}
	}
	for l, h := range m.leases {
		if h == hard && !known[l] {
			m.leases[l] = soft
		}
	}
}

func (m *model) checkLeases(s store.Records) error {
	inUse := map[lease]bool{}
	for _, a := range s.Addresses {
		l := lease{a.Space, a.Subnet, a.IP}
		if !a.Released.IsZero() {
			continue
		}
		inUse[l] = true
		if m.leases[l] == free && m.lostIPs > 0 {
			m.leases[l], m.gateways[l] = soft, a.Kind == store.KindGateway
			m.lostIPs--
		}
		if m.leases[l] == free && !m.used(a.Subnet, a.IP) {
			return fmt.Errorf("I1: address %s of %s is on record as in use, want it free", a.IP, a.Subnet)
		}
		m.leases[l] = max(soft, m.leases[l]) // until somebody finds that it isn't used any more
	}
	m.lostIPs = 0
	for l, h := range m.leases {
		// What an endpoint on record uses is in use whatever is said here: so a
		// daemon that starts takes it.
		if h == hard && !inUse[l] && !m.used(l.subnet, l.ip) {
			return fmt.Errorf("I1: address %s of %s is not on record, want it in use", l.ip, l.subnet)
		}
		if !inUse[l] && !m.used(l.subnet, l.ip) {
			delete(m.leases, l)
		}
	}
	return nil
}
