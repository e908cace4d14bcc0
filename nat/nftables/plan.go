package nftables

import "fairway/nat"

// A plan is a change of elements, and the part of no endpoint after it.
type plan struct {
	change   change
	networks *fill
}

// plan returns the elements to write; ok is false if more than elements differs
// or it isn't sure what the kernel holds.
func (f *Firewall) plan(before, after nat.Delta) (p plan, ok bool, err error) {
	if !f.kept.known || !f.kept.there || f.kept.all.contested || len(f.want.Networks) == 0 {
		return p, false, nil
	}
	old, now := newFillOf(before.Endpoints), newFillOf(after.Endpoints)
	for id, e := range before.Endpoints {
		old.endpoint(e)
		now.endpoint(after.Endpoints[id])
	}
	p.networks = f.kept.networks
	if beyondEndpoints(before, after) {
		a, err := f.around(f.want.Links())
		if err != nil {
			return p, false, err
		}
		p.networks = newFill()
		if own := p.networks.shared(f.want.State(), a, f.opts.Marks); !sameChains(own, f.kept.own, f.opts.Instance) {
			return p, false, nil
		}
	}
	p.change = difference(old.elements, now.elements)
	if p.networks != f.kept.networks {
		c := difference(f.kept.networks.elements, p.networks.elements)
		for e, v := range c.gone {
			p.change.gone[e] = v
		}
		for e, v := range c.put {
			p.change.put[e] = v
		}
	}
	if old.contested || now.contested || p.networks.contested {
		return p, false, nil
	}
	for e, v := range p.change.gone {
		if held, there := f.kept.all.elements[e]; !there || held != v {
			return p, false, nil
		}
	}
	for e := range p.change.put {
		_, there := f.kept.all.elements[e]
		if _, goes := p.change.gone[e]; there && !goes {
			return p, false, nil // another's
		}
	}
	return p, true, nil
}

// beyondEndpoints reports whether a change is of more than endpoints' own elements:
// of networks, or of endpoints that the chains' rules depend on, since they say
// themselves who may reach them or the daemon carries a port of theirs.
func beyondEndpoints(before, after nat.Delta) bool {
	if len(before.Networks) > 0 || before.Restricts() || after.Restricts() {
		return true
	}
	for _, d := range []nat.Delta{before, after} {
		for _, e := range d.Endpoints {
			if e != nil && len(e.Carried) > 0 {
				return true
			}
		}
	}
	return false
}

// keep remembers that a plan was carried out.
func (f *Firewall) keep(p plan) {
	for e := range p.change.gone {
		delete(f.kept.all.elements, e)
	}
	for e, v := range p.change.put {
		f.kept.all.elements[e] = v
	}
	f.kept.networks = p.networks
}
