package model

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"fairway/nat"
)

// rules are what the machine's firewall holds, by family, table entry and text.
type rules struct {
	entries [2]map[string]string // v4, v6: "network ID" or "endpoint ID" → what
	policy  [2]bool              // FORWARD's policy is DROP
}

func newRules() *rules {
	return &rules{entries: [2]map[string]string{{}, {}}}
}

// render returns what the firewall holds of a state in one family.
func render(s nat.State, v6 bool) map[string]string {
	out := map[string]string{}
	for _, n := range s.Networks {
		families := []nat.Family{}
		for _, f := range n.Families {
			if f.Is6() == v6 {
				families = append(families, f)
			}
		}
		n.Families = families
		out["network "+n.ID] = text(n)
	}
	for _, e := range s.Endpoints {
		ports := []nat.Port{}
		for _, p := range e.Ports {
			if p.Target.Is6() == v6 {
				ports = append(ports, p)
			}
		}
		e.Carried = slices.DeleteFunc(slices.Clone(e.Carried), func(a netip.Addr) bool { return a.Is6() != v6 })
		if e.Ports = ports; len(ports)+len(e.Carried) > 0 {
			out["endpoint "+e.ID] = text(e)
		}
	}
	return out
}

func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// A filter is a process's firewall over the machine's rules. Each family is
// changed whole, one after the other.
type filter struct {
	*process
	busy  chan struct{}
	state nat.State // what was applied
}

func newFilter(p *process) *filter { return &filter{process: p, busy: make(chan struct{}, 1)} }

func (f *filter) Apply(ctx context.Context, put nat.State) error {
	if err := put.Check(); err != nil {
		return err
	}
	return f.change(func(s nat.State) nat.State { return with(s, put) })
}

func (f *filter) Remove(ctx context.Context, gone nat.State) error {
	return f.change(func(s nat.State) nat.State { return without(s, gone) })
}

// change makes the kernel from what was applied to what is now, or leaves it.
func (f *filter) change(to func(nat.State) nat.State) error {
	f.busy <- struct{}{}
	defer func() { <-f.busy }()
	before, after := f.state, to(f.state)
	for _, v6 := range []bool{false, true} {
		old, now := render(before, v6), render(after, v6)
		if maps.Equal(old, now) {
			continue
		}
		if err := f.write(v6, old, now); err != nil {
			for _, v6 := range []bool{false, true} { // what was before again
				_ = f.write(v6, now, render(before, v6))
			}
			return fmt.Errorf("iptables: restore: %w", err)
		}
	}
	f.state = after
	return nil
}

// write changes what differs between two states in the kernel.
func (f *filter) write(v6 bool, old, now map[string]string) error {
	return f.do("firewall."+family(v6), func() error {
		have := f.rules.entries[index(v6)]
		for k, v := range now {
			if old[k] != v || have[k] != v {
				have[k] = v
			}
		}
		for k := range old {
			if _, ok := now[k]; !ok {
				delete(have, k)
			}
		}
		return nil
	})
}

func (f *filter) Reconcile(_ context.Context, want nat.State) (repairs []nat.Repair, err error) {
	f.busy <- struct{}{}
	defer func() { <-f.busy }()
	for _, v6 := range []bool{false, true} {
		now := render(want, v6)
		var found []string
		if err := f.look(func() { found = difference(f.rules.entries[index(v6)], now) }); err != nil {
			return repairs, err
		}
		if len(found) == 0 {
			continue
		}
		err := f.do("firewall."+family(v6), func() error {
			f.rules.entries[index(v6)] = maps.Clone(now)
			return nil
		})
		if err != nil {
			return repairs, err
		}
		for _, what := range found {
			repairs = append(repairs, nat.Repair{What: what})
		}
	}
	f.state = with(nat.State{}, want)
	return repairs, nil
}

// Repair is never called: in the model nobody watches.
func (f *filter) Repair(context.Context) ([]nat.Repair, error) { return nil, nil }

func (f *filter) GuardForward(_ context.Context, v6 bool) error {
	return f.do("firewall.guard", func() error { f.rules.policy[index(v6)] = true; return nil })
}

// Lacking is asked by operators only.
func (f *filter) Lacking(context.Context, []nat.Endpoint) ([]nat.Lack, error) { return nil, nil }

// difference lists the keys in which two maps differ.
func difference(have, want map[string]string) (keys []string) {
	for k, v := range want {
		switch h, ok := have[k]; {
		case !ok:
			keys = append(keys, k+" was missing")
		case h != v:
			keys = append(keys, k+" was "+h)
		}
	}
	for k := range have {
		if _, ok := want[k]; !ok {
			keys = append(keys, k+" was left over")
		}
	}
	slices.Sort(keys)
	return keys
}

func family(v6 bool) string { return [...]string{"ip", "ip6"}[index(v6)] }

func index(v6 bool) int {
	if v6 {
		return 1
	}
	return 0
}

// Connections of the machine: forgetting is a step and no more.
type connections struct{ *process }

func (c connections) Forget(_ context.Context, all ...nat.Endpoint) error {
	for _, e := range all {
		if e.IPv4.IsValid() || e.IPv6.IsValid() || len(e.Ports) > 0 {
			return c.do("conntrack.forget", func() error { return nil })
		}
	}
	return nil
}

func (c connections) Cut(_ context.Context, e nat.Endpoint) error {
	if len(e.Ports) == 0 {
		return nil
	}
	return c.do("conntrack.cut", func() error { return nil })
}

// Traffic is asked by operators only.
func (connections) Traffic(context.Context, []nat.Endpoint) (map[nat.PortOf]nat.Traffic, bool, error) {
	return nil, false, nil
}

// A portKey is a port of one of the host's addresses.
type portKey struct {
	proto uint8
	ip    netip.Addr
	port  uint16
}

func (k portKey) String() string { return fmt.Sprintf("%d/%s:%d", k.proto, k.ip, k.port) }

func (k portKey) overlaps(o portKey) bool {
	return k.proto == o.proto && k.port == o.port && k.ip.Is6() == o.ip.Is6() &&
		(k.ip == o.ip || k.ip.IsUnspecified() || o.ip.IsUnspecified())
}

// A table is a process's nat.Ports: it goes with the process, as sockets do.
type table struct {
	*process
	owners map[string][]portKey
}

func newTable(p *process) *table { return &table{p, map[string][]portKey{}} }

func (t *table) taken(k portKey, owner string, mine map[portKey]bool) bool {
	for foreign := range t.ports {
		if foreign.overlaps(k) {
			return true
		}
	}
	for o, keys := range t.owners {
		for _, h := range keys {
			if o != owner && h.overlaps(k) {
				return true
			}
		}
	}
	for m := range mine {
		if m.overlaps(k) {
			return true
		}
	}
	return false
}

func (t *table) Reserve(_ context.Context, owner string, want []nat.Request) (ports []uint16, err error) {
	err = t.do("ports.reserve", func() error {
		mine := map[portKey]bool{}
		ports = make([]uint16, len(want))
		for i, w := range want {
			if ports[i], err = t.pick(owner, w, mine); err != nil {
				return err
			}
			for _, ip := range w.HostIPs {
				mine[portKey{w.Proto, ip, ports[i]}] = true
			}
		}
		t.owners[owner] = slices.Collect(maps.Keys(mine))
		return nil
	})
	return ports, err
}

// pick returns the first port of a request that is free; one that the owner
// has of it already comes first.
func (t *table) pick(owner string, w nat.Request, mine map[portKey]bool) (uint16, error) {
	free := func(port uint16) bool {
		return !slices.ContainsFunc(w.HostIPs, func(ip netip.Addr) bool {
			return t.taken(portKey{w.Proto, ip, port}, owner, mine)
		})
	}
	first, last := int(w.First), int(max(w.First, w.Last))
	if w.First == 0 {
		first, last = 32768, 60999
	}
	for _, h := range t.owners[owner] {
		if h.proto == w.Proto && int(h.port) >= first && int(h.port) <= last && free(h.port) {
			return h.port, nil
		}
	}
	for port := first; port <= last; port++ {
		if free(uint16(port)) {
			return uint16(port), nil
		}
	}
	return 0, fmt.Errorf("Bind for %s:%d failed: %w", w.HostIPs[0], w.First, nat.ErrAllocated) //nolint:staticcheck // Docker's words
}

func (t *table) Restore(owner string, held []nat.Held) error {
	return t.do("ports.restore", func() error {
		for _, h := range held {
			t.owners[owner] = append(t.owners[owner], portKey{h.Proto, h.HostIP, h.Port})
		}
		return nil
	})
}

func (t *table) Release(owner string) {
	_ = t.do("ports.release", func() error { delete(t.owners, owner); return nil })
}

// held lists all that owners have, one line each.
func (t *table) held() (out []string) {
	for owner, keys := range t.owners {
		for _, k := range keys {
			out = append(out, strings.Join([]string{owner, k.String()}, " "))
		}
	}
	slices.Sort(out)
	return out
}

// with returns s with the networks and endpoints of put in the place of those
// with the same ID.
func with(s, put nat.State) nat.State {
	out := without(s, put)
	out.Networks = append(out.Networks, put.Networks...)
	out.Endpoints = append(out.Endpoints, put.Endpoints...)
	return out
}

// without returns s without the networks and endpoints that gone names.
func without(s, gone nat.State) (out nat.State) {
	for _, n := range s.Networks {
		if !slices.ContainsFunc(gone.Networks, func(g nat.Network) bool { return g.ID == n.ID }) {
			out.Networks = append(out.Networks, n)
		}
	}
	for _, e := range s.Endpoints {
		if !slices.ContainsFunc(gone.Endpoints, func(g nat.Endpoint) bool { return g.ID == e.ID }) {
			out.Endpoints = append(out.Endpoints, e)
		}
	}
	return out
}
