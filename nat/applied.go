package nat

import (
	"maps"
	"reflect"
	"slices"
)

// Applied is what a backend was told to hold, by ID.
type Applied struct {
	Networks  map[string]Network
	Endpoints map[string]Endpoint
}

// NewApplied returns an Applied that holds nothing.
func NewApplied() Applied {
	return Applied{Networks: map[string]Network{}, Endpoints: map[string]Endpoint{}}
}

// State returns all of it, in no order.
func (a Applied) State() State {
	return State{
		Networks:  slices.Collect(maps.Values(a.Networks)),
		Endpoints: slices.Collect(maps.Values(a.Endpoints)),
	}
}

// Set makes s all of it.
func (a Applied) Set(s State) {
	clear(a.Networks)
	clear(a.Endpoints)
	for _, n := range s.Networks {
		a.Networks[n.ID] = n
	}
	for _, e := range s.Endpoints {
		a.Endpoints[e.ID] = e
	}
}

// Links returns the bridges of all networks, but for those of somebody else's that
// packets are only bridged on.
func (a Applied) Links() map[string]bool {
	out := map[string]bool{}
	for _, n := range a.Networks {
		if !n.Bridged {
			out[n.Link] = true
		}
	}
	return out
}

// A Delta is a change by ID; nil takes away.
type Delta struct {
	Networks  map[string]*Network
	Endpoints map[string]*Endpoint
}

// Put returns the change that puts s in the place of what has the same IDs.
func (s State) Put() Delta {
	d := Delta{Networks: map[string]*Network{}, Endpoints: map[string]*Endpoint{}}
	for _, n := range s.Networks {
		d.Networks[n.ID] = &n
	}
	for _, e := range s.Endpoints {
		d.Endpoints[e.ID] = &e
	}
	return d
}

// Gone returns the change that takes away what has the IDs of s.
func (s State) Gone() Delta {
	d := s.Put()
	for id := range d.Networks {
		d.Networks[id] = nil
	}
	for id := range d.Endpoints {
		d.Endpoints[id] = nil
	}
	return d
}

// Restricts reports whether an endpoint of d says itself who may reach it.
func (d Delta) Restricts() bool {
	for _, e := range d.Endpoints {
		if e != nil && e.Clients != nil && !e.Clients.HostFirewall {
			return true
		}
	}
	return false
}

// Swap makes a what d says, and returns what takes it back: just what differed.
func (a Applied) Swap(d Delta) (back Delta) {
	return Delta{Networks: swap(a.Networks, d.Networks), Endpoints: swap(a.Endpoints, d.Endpoints)}
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

// Links returns the bridges of s's networks.
func Links(s State) map[string]bool {
	a := NewApplied()
	a.Set(s)
	return a.Links()
}
