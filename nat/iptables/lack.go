package iptables

import (
	"context"
	"strings"

	"fairway/nat"
)

// Lacking returns which published ports of endpoints aren't served as they
// should be, as the kernel holds the rules now. It changes nothing. Rules of others aren't looked at.
func (f *Firewall) Lacking(ctx context.Context, endpoints []nat.Endpoint) ([]nat.Lack, error) {
	if err := f.lock(ctx); err != nil {
		return nil, err
	}
	defer f.unlock()
	var out []nat.Lack
	for _, v6 := range f.families() {
		rules, err := f.saved(ctx, v6)
		if err != nil {
			return nil, err
		}
		open, err := f.unguarded(rules, v6)
		if err != nil {
			return nil, err
		}
		for _, e := range endpoints {
			for _, p := range e.Served() {
				if p.Target.Is6() != v6 {
					continue
				}
				kind, why := rules.lacks(e, p, v6, f.opts.Instance, f.opts.Marks)
				if why == "" && open != "" && p.TargetPort != 0 && (e.Clients != nil || !f.want.Networks[e.Network].Clients.All()) {
					kind, why = nat.Unsure, open
				}
				if why != "" {
					out = append(out, nat.Lack{Endpoint: e.ID, Port: p, Kind: kind, Why: why})
				}
			}
		}
	}
	return out, nil
}

// present are the rules of chains of ours, and the chains that something jumps to.
type present struct {
	rules map[chainKey]map[string]bool // canonical
	hooks map[chainKey]bool
}

func (f *Firewall) saved(ctx context.Context, v6 bool) (present, error) {
	p := present{rules: map[chainKey]map[string]bool{}, hooks: map[chainKey]bool{}}
	out, err := f.run.run(ctx, "", program(v6, "save"))
	if err != nil {
		return p, err
	}
	have, err := parseSave(out)
	if err != nil {
		return p, err
	}
	for table, chains := range have {
		for name, rules := range chains {
			k := chainKey{table, name}
			p.rules[k] = map[string]bool{}
			for _, r := range rules {
				p.rules[k][canonical(r)] = true
				p.hooks[chainKey{table, target(r)}] = true
			}
		}
	}
	return p, nil
}

// unguarded says what is missing of the rules that limit clients; "" if nothing.
func (f *Firewall) unguarded(have present, v6 bool) (string, error) {
	a, err := f.around(f.want.Links())
	if err != nil {
		return "", err
	}
	for _, c := range render(f.want.State(), v6, f.opts.Instance, f.opts.Marks, a).chains {
		if !strings.HasPrefix(c.name, chainWho) {
			continue
		}
		k := chainKey{c.table, c.name}
		if !have.hooks[k] {
			return "nothing jumps to chain " + c.name, nil
		}
		for _, r := range c.rules {
			if !have.rules[k][canonical(r.text)] {
				return "chain " + c.name + " was changed by others", nil
			}
		}
	}
	return "", nil
}

// lacks says what is missing for a port; "" if nothing.
func (p present) lacks(e nat.Endpoint, port nat.Port, v6 bool, instance string, marks nat.Marks) (nat.LackKind, string) {
	one := e.Only(port)
	for _, r := range endpointRulesOf(&one, v6, instance, marks) {
		kind := nat.Unserved
		if r.name == chainWho {
			kind = nat.Unguarded
		}
		switch {
		case !p.hooks[r.chainKey]:
			return kind, "nothing jumps to chain " + r.name
		case !p.rules[r.chainKey][canonical(r.text)]:
			return kind, "its rule in chain " + r.name + " is missing"
		}
	}
	return 0, ""
}
