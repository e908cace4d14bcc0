package nftables

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

func newDelta() delta {
	return delta{networks: map[string]*nat.Network{}, endpoints: map[string]*nat.Endpoint{}}
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

// bridges returns the links of all networks.
func (f *Firewall) bridges() map[string]bool {
	ours := map[string]bool{}
	for _, n := range f.networks {
		ours[n.Link] = true
	}
	return ours
}

// sameChains reports whether two lists of chains say the same.
func sameChains(a, b []chain, instance string) bool {
	one, other := wanted(a, newFill(), instance), wanted(b, newFill(), instance)
	return reflect.DeepEqual(one, other)
}
