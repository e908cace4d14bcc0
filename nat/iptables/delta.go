package iptables

import (
	"maps"
	"reflect"
	"slices"

	"fairway/nat"
)

// A delta is a change by ID; nil takes away.
type delta struct {
	networks  map[string]*nat.Network
	endpoints map[string]*nat.Endpoint
}

// swap makes f's state what d says, and returns what takes it back: just what
// differed.
func (f *Firewall) swap(d delta) (back delta) {
	return delta{networks: swap(f.networks, d.networks), endpoints: swap(f.endpoints, d.endpoints)}
}

func swap[T any](m map[string]T, d map[string]*T) map[string]*T {
	back := map[string]*T{}
	for id, put := range d {
		was, there := m[id]
		switch {
		case put == nil && !there, put != nil && there && reflect.DeepEqual(was, *put):
			continue
		case there:
			back[id] = &was
		default:
			back[id] = nil
		}
		if put == nil {
			delete(m, id)
		} else {
			m[id] = *put
		}
	}
	return back
}

// restricts reports whether an endpoint of d says itself who may reach it.
func (d delta) restricts() bool {
	for _, e := range d.endpoints {
		if e != nil && e.Clients != nil {
			return true
		}
	}
	return false
}

// state returns all that was applied.
func (f *Firewall) state() nat.State {
	return nat.State{
		Networks:  slices.Collect(maps.Values(f.networks)),
		Endpoints: slices.Collect(maps.Values(f.endpoints)),
	}
}

// remember makes s all that was applied.
func (f *Firewall) remember(s nat.State) {
	clear(f.networks)
	clear(f.endpoints)
	for _, n := range s.Networks {
		f.networks[n.ID] = n
	}
	for _, e := range s.Endpoints {
		f.endpoints[e.ID] = e
	}
}

// endpointChange returns the input for iptables-restore that takes the rules
// of the endpoints in before to what after says of them, in one family; "" if
// they are the same.
func endpointChange(before, after delta, v6 bool, instance string, mark uint32) string {
	p := &plan{tables: map[string]*script{}}
	for _, id := range slices.Sorted(maps.Keys(before.endpoints)) {
		was := endpointRulesOf(before.endpoints[id], v6, instance, mark)
		is := endpointRulesOf(after.endpoints[id], v6, instance, mark)
		for _, r := range was {
			if !slices.Contains(is, r) {
				p.table(r.table).make = append(p.table(r.table).make, "-D "+r.name+" "+r.text)
			}
		}
		for _, r := range is {
			if slices.Contains(was, r) {
				continue
			}
			verb := "-A "
			if r.rank == 0 {
				verb = "-I "
			}
			p.table(r.table).hook = append(p.table(r.table).hook, verb+r.name+" "+r.text)
		}
	}
	return p.text()
}
