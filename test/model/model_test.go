package model

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
)

// A model is what fairway must have on record after the replies that it gave.
// Where a reply was lost or refused halfway, several things may be on record;
// which one it is shows at the next look.
type model struct {
	mu        *sync.Mutex // the world's
	networks  map[string]*fate[netFact]
	endpoints map[string]*fate[epFact]
	pools     map[string]*fate[poolFact]
	live      map[string]*fate[string] // live ports, by network and container
	removed   map[string]bool          // containers, by ID
	leases    map[lease]holding
	holders   map[lease]string     // whom Docker requested it for
	askers    map[lease]string     // and how that request told who asks: see request.asker
	gateways  map[lease]bool       // requested as a gateway: they go with their pool only
	weak      map[string][]*epFact // what a Leave has changed: it counts only if no crash follows
	died      bool                 // since the last look
	born      map[string]int       // in which order networks and pools were first made, by ID
	lostPools int                  // replies with a PoolID that nobody has read
	lostIPs   int                  // likewise with an address
	loose     bool                 // calls overlap: their order isn't known
	excused   bool                 // a fault was planted: any call may be refused
	alive     func(sandbox string) bool
	engine    func(name string) string
}

// The facts of a record that a reply promises.
type (
	netFact struct{ engine, form string }
	epFact  struct {
		engine, network, mac, sandbox, ports string
		v4, v6                               netip.Prefix
	}
	poolFact struct{ engine, space, subnet, ipRange string }
)

// A lease is an address of a subnet in an address space.
type lease struct {
	space  string
	subnet netip.Prefix
	ip     netip.Addr
}

// A holding is who has a lease.
type holding int

const (
	free holding = iota
	soft         // in use or not: nobody may rely on it
	hard         // Docker has it
)

// A fate is what may be on record under a key; a nil fact is nothing.
type fate[T comparable] struct{ may []*T }

func (f *fate[T]) become(facts ...*T) { f.may = facts }

func (f *fate[T]) add(facts ...*T) { f.may = append(slices.Clone(f.may), facts...) }

// absent reports whether there may be nothing.
func (f *fate[T]) absent() bool { return f == nil || slices.Contains(f.may, nil) }

// facts returns what there may be.
func (f *fate[T]) facts() (out []*T) {
	if f == nil {
		return nil
	}
	for _, t := range f.may {
		if t != nil {
			out = append(out, t)
		}
	}
	return out
}

// sure returns what there must be; nil if that isn't known.
func (f *fate[T]) sure() *T {
	if f == nil || len(f.may) != 1 {
		return nil
	}
	return f.may[0]
}

func newModel(mu *sync.Mutex) *model {
	return &model{
		mu:       mu,
		networks: map[string]*fate[netFact]{}, endpoints: map[string]*fate[epFact]{},
		pools: map[string]*fate[poolFact]{}, live: map[string]*fate[string]{}, removed: map[string]bool{}, leases: map[lease]holding{}, weak: map[string][]*epFact{}, gateways: map[lease]bool{}, holders: map[lease]string{}, askers: map[lease]string{},
		born: map[string]int{},
	}
}

// clone returns a copy that can be looked with while m stays as it is.
func (m *model) clone() *model {
	out := *m
	out.networks, out.endpoints, out.pools = cloneFates(m.networks), cloneFates(m.endpoints), cloneFates(m.pools)
	out.leases, out.holders, out.gateways = maps.Clone(m.leases), maps.Clone(m.holders), maps.Clone(m.gateways)
	out.askers, out.born = maps.Clone(m.askers), maps.Clone(m.born)
	out.weak = maps.Clone(m.weak)
	out.live = cloneFates(m.live)
	return &out
}

func cloneFates[T comparable](fates map[string]*fate[T]) map[string]*fate[T] {
	out := make(map[string]*fate[T], len(fates))
	for id, f := range fates {
		out[id] = &fate[T]{f.may}
	}
	return out
}

func fateOf[T comparable](all map[string]*fate[T], id string) *fate[T] {
	f := all[id]
	if f == nil {
		f = &fate[T]{may: []*T{nil}}
		all[id] = f
	}
	return f
}

// bear notes that something is made now, unless it was before.
func (m *model) bear(id string) {
	if _, ok := m.born[id]; !ok {
		m.born[id] = len(m.born)
	}
}

// settle notes what a call that was to change a record has done.
func settle[T comparable](m *model, f *fate[T], o outcome, after *T, undoes bool) {
	switch {
	case m.loose, o.lost, o.refused != "" && undoes:
		f.add(after)
	case o.ok():
		f.become(after)
	}
}

// observe takes what became of a request; the error says what is wrong with it.
func (m *model) observe(r request, o outcome, docker bool) error {
	why, err := m.judge(r, o, docker)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", r, err)
	case o.refused != "" && why == "" && !m.excused:
		return fmt.Errorf("%s: refused without a reason: %s", r, o.refused)
	}
	return nil
}

// judge takes an outcome into the model. It returns why the call may have been
// refused.
func (m *model) judge(r request, o outcome, docker bool) (why string, err error) {
	switch r.method {
	case "CreateNetwork":
		return m.createNetwork(r, o)
	case "DeleteNetwork":
		settle(m, fateOf(m.networks, r.network), o, nil, true)
		for _, f := range m.endpoints {
			if slices.ContainsFunc(f.facts(), func(e *epFact) bool { return e.network == r.network }) {
				settle(m, f, o, nil, true)
			}
		}
		for key, f := range m.live {
			if strings.HasPrefix(key, r.network+" ") {
				settle(m, f, o, nil, true)
			}
		}
	case "CreateEndpoint":
		return m.createEndpoint(r, o)
	case "DeleteEndpoint":
		if f := m.in(r); f != nil {
			settle(m, f, o, nil, true)
			if o.ok() {
				delete(m.weak, r.endpoint)
			}
		}
	case "Join":
		return m.join(r, o)
	case "Leave", "RevokeExternalConnectivity":
		m.clear(r, o)
	case "ProgramExternalConnectivity":
		return m.publish(r, o)
	case "RequestPool":
		return m.requestPool(r, o)
	case "ReleasePool":
		m.releasePool(r, o)
	case "RequestAddress":
		return m.requestAddress(r, o, docker)
	case "ReleaseAddress":
		m.releaseAddress(r, o)
	}
	return "", nil
}
