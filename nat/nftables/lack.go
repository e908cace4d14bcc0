package nftables

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"fairway/nat"
)

// Lacking returns which published ports of endpoints the table doesn't serve as
// it should, as the kernel holds it now. It changes nothing. Rules of others
// aren't looked at.
func (f *Firewall) Lacking(ctx context.Context, endpoints []nat.Endpoint) ([]nat.Lack, error) {
	if err := f.lock(ctx); err != nil {
		return nil, err
	}
	defer f.unlock()
	a, err := f.around(f.want.Links())
	if err != nil {
		return nil, err
	}
	conn, err := dial() // one of its own: a dump that fails leaves no answers to others
	if err != nil {
		return nil, err
	}
	have, there, err := read(conn, f.table)
	if err != nil {
		return nil, fmt.Errorf("nftables: read table inet %s: %w", tableName, err)
	}
	all, own := render(f.want.State(), a, f.opts.Marks)
	want := wanted(slices.Concat(own, chains(f.opts.Marks)), all, f.opts.Instance)
	kind, why := nat.Unsure, ""
	switch {
	case !there:
		kind, why = nat.Unserved, "table inet "+tableName+" is missing"
	case !sameShape(have, want):
		want.elements = have.elements // just what is wrong with its shape
		why = "changed by others: " + repairs(have, want)[0].What
	case !have.lists(all):
		why = "changed by others: sets of clients"
	}
	open := f.unguarded(have)
	var out []nat.Lack
	for _, e := range endpoints {
		for _, p := range e.Served() {
			l := nat.Lack{Endpoint: e.ID, Port: p, Kind: kind, Why: why}
			if why == "" {
				l.Kind, l.Why = have.lacks(e, p)
			}
			if l.Why == "" && p.TargetPort != 0 && e.Clients == nil && open[openFamily{e.Network, p.Target.Is6()}] {
				l.Kind, l.Why = nat.Unguarded, "the element of "+mapNetworkClients+" is missing"
			}
			if l.Why != "" {
				out = append(out, l)
			}
		}
	}
	return out, nil
}

// lists reports whether c holds the lists of clients as in all.
func (c content) lists(all *fill) bool {
	n := 0
	for e := range all.elements {
		if strings.HasPrefix(e.set, chainClients+"-") {
			if _, ok := c.elements[e]; !ok {
				return false
			}
			n++
		}
	}
	for e := range c.elements {
		if strings.HasPrefix(e.set, chainClients+"-") {
			n--
		}
	}
	return n == 0
}

// An openFamily is a network in one family, by ID.
type openFamily struct {
	network string
	v6      bool
}

// unguarded returns the networks that limit clients, and whose packets don't
// come to the list of them.
func (f *Firewall) unguarded(have content) map[openFamily]bool {
	out := map[openFamily]bool{}
	for _, n := range f.want.Networks {
		for _, fam := range n.Families {
			part := newFill()
			part.networkClients(network{n, fam})
			for e, v := range part.elements {
				if have.elements[e].verdict != v.verdict {
					out[openFamily{n.ID, fam.Is6()}] = true
				}
			}
		}
	}
	return out
}

// lacks says what c lacks for a port; "" if nothing. A port is an element of its
// own or one of a range.
func (c content) lacks(e nat.Endpoint, p nat.Port) (nat.LackKind, string) {
	f := newFill()
	one := e.Only(p)
	f.endpoint(&one)
	for el, v := range f.elements {
		kind := nat.Unserved
		if strings.HasPrefix(el.set, mapEndpointClients) {
			kind = nat.Unguarded
		}
		is, ok := c.elements[el]
		switch {
		case ok && is.data == v.data && is.verdict == v.verdict:
		case !ok && el.set == mapPorts+suffix(p.Target.Is6()) && c.inRange(p):
		case ok:
			return kind, "its element of " + el.set + " leads elsewhere"
		default:
			return kind, "its element of " + el.set + " is missing"
		}
	}
	return 0, ""
}

// inRange reports whether a range leads to the port's target.
func (c content) inRange(p nat.Port) bool {
	if p.HostPort != p.TargetPort {
		return false
	}
	set, target := rangesOf(p.Target.Is6(), p.Proto), string(p.Target.AsSlice())
	for port := int(p.HostPort); port >= 0; port-- {
		key := string(portKey(uint16(port)))
		if v, ok := c.elements[element{set: set, key: key}]; ok {
			return v.data == target
		}
		if _, ok := c.elements[element{set: set, key: key, end: true}]; ok {
			return false
		}
	}
	return false
}
