package model

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"fairway/store"
)

// torn takes what a failed commit has left on the disk all the same: that is
// no promise kept, nor one broken.
func (m *model) torn(before, after store.Records) {
	m.mu.Lock()
	defer m.mu.Unlock()
	addTorn(m.networks, before.Networks, after.Networks, netFactOf)
	addTorn(m.endpoints, before.Endpoints, after.Endpoints, epFactOf)
	addTorn(m.pools, before.Pools, after.Pools, poolFactOf)
	addTorn(m.live, before.LivePorts, after.LivePorts, liveFactOf)
	for key, a := range after.Addresses {
		if before.Addresses[key] != a {
			l := lease{a.Space, a.Subnet, a.IP}
			m.leases[l], m.gateways[l] = soft, a.Kind == store.KindGateway
		}
	}
	for key, a := range before.Addresses {
		if _, ok := after.Addresses[key]; !ok {
			m.leases[lease{a.Space, a.Subnet, a.IP}] = soft
		}
	}
}

func addTorn[R any, F comparable](fates map[string]*fate[F], before, after map[string]R, factOf func(R) F) {
	for id, r := range after {
		if old, ok := before[id]; !ok || factOf(old) != factOf(r) {
			fact := factOf(r)
			fateOf(fates, id).add(&fact)
		}
	}
	for id := range before {
		if _, ok := after[id]; !ok {
			fateOf(fates, id).add(nil)
		}
	}
}

// check compares the records with what they may be, and learns from them.
func (m *model) check(s store.Records) error {
	for id, before := range m.weak {
		if f := m.endpoints[id]; m.died && len(f.facts()) > 0 {
			f.add(before...)
		}
	}
	m.died = false
	clear(m.weak)
	err := checkFates("network", m.networks, s.Networks, netFactOf, func(a, b netFact) bool { return a == b })
	if err == nil {
		err = checkFates("endpoint", m.endpoints, s.Endpoints, epFactOf, sameEndpoint)
	}
	if err == nil {
		err = m.mayGo(s)
	}
	if err == nil {
		err = checkFates("live ports", m.live, s.LivePorts, liveFactOf, func(a, b string) bool { return a == b })
	}
	if err != nil {
		return err
	}
	for id, p := range s.Pools {
		if m.pools[id] == nil && m.lostPools > 0 {
			m.lostPools--
			f := poolFactOf(p)
			fateOf(m.pools, id).become(&f)
		}
	}
	m.lostPools = 0
	err = checkFates("pool", m.pools, s.Pools, poolFactOf, func(a, b poolFact) bool { return a == b })
	if err != nil {
		return err
	}
	return m.checkLeases(s)
}

func checkFates[R any, F comparable](kind string, fates map[string]*fate[F], records map[string]R, factOf func(R) F, same func(a, b F) bool) error {
	for id, r := range records {
		fact := factOf(r)
		f := fates[id]
		i := slices.IndexFunc(f.facts(), func(t *F) bool { return same(*t, fact) })
		if i < 0 {
			return fmt.Errorf("I1: %s %s is on record as\n\t%+v, want one of%s", kind, id, fact, listFates(f))
		}
		f.become(&fact)
	}
	for id, f := range fates {
		if _, ok := records[id]; ok {
			continue
		}
		if !f.absent() {
			return fmt.Errorf("I1: %s %s is not on record, want one of%s", kind, id, listFates(f))
		}
		delete(fates, id)
	}
	return nil
}

func listFates[F comparable](f *fate[F]) string {
	if f == nil {
		return "\n\tnothing"
	}
	var out strings.Builder
	for _, t := range f.may {
		if t == nil {
			out.WriteString("\n\tnothing")
		} else {
			fmt.Fprintf(&out, "\n\t%+v", *t)
		}
	}
	return out.String()
}

// reclaim notes that what Docker doesn't know must be gone: a grace period has
// passed since it was asked.
func (m *model) reclaim(dockers map[string]*docker) {
	networks, endpoints, pools := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, d := range dockers {
		n, e, p := d.knows()
		maps.Copy(networks, n)
		maps.Copy(endpoints, e)
		maps.Copy(pools, p)
	}
	forget(m.networks, networks)
	forget(m.endpoints, endpoints)
	forget(m.pools, pools)
	for l, h := range m.leases {
		if h == soft && !m.gateways[l] && !m.used(l.subnet, l.ip) {
			m.leases[l] = free
		}
	}
}

func forget[T comparable](fates map[string]*fate[T], known map[string]bool) {
	for id, f := range fates {
		if !known[id] {
			f.become(nil)
		}
	}
}
