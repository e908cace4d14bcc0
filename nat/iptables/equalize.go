package iptables

import (
	"context"

	"fairway/nat"
)

// equalize compares the kernel with want and repairs it. Unless it looks at
// all, a family that has and had no rules of ours is left alone.
func (f *Firewall) equalize(ctx context.Context, want nat.State, all bool) ([]nat.Repair, error) {
	a, err := f.around(f.want.Links())
	if err != nil {
		return nil, err
	}
	var repairs []nat.Repair
	for _, v6 := range f.families() {
		rules := render(want, v6, f.opts.Instance, f.opts.Marks, a)
		if f.accepts {
			rules = renderAccepts(want, v6, f.opts.Instance, f.opts.Marks, a)
		}
		if v6 && !all && f.known && !f.used6 && len(rules.chains) == 0 {
			continue
		}
		found, err := f.equalizeFamily(ctx, rules, v6)
		if err != nil {
			return repairs, err
		}
		repairs = append(repairs, found...)
		if v6 {
			f.used6 = len(rules.chains) > 0
		}
	}
	f.known = true
	return repairs, nil
}

// tries bounds how often a family is compared again because somebody else,
// dockerd mostly, changed the rules between reading and writing.
const tries = 3

func (f *Firewall) equalizeFamily(ctx context.Context, want ruleset, v6 bool) (found []nat.Repair, err error) {
	var guard []nat.Repair
	for range tries + 1 {
		var out []byte
		if out, err = f.run.run(ctx, "", program(v6, "save")); err != nil {
			return nil, err
		}
		var have saved
		if have, err = parseSave(out); err != nil {
			return nil, err
		}
		why, lost := "", error(nil)
		if why, lost = f.lostGuard(v6, have, forwardPolicy(out)); lost != nil {
			return nil, lost
		}
		if why != "" && guard == nil {
			if err = f.dropForward(v6); err != nil {
				return nil, err
			}
			guard = []nat.Repair{{What: familyName(v6) + " filter: policy of FORWARD " + why}}
			continue // with what there is now
		}
		if f.accepts && !have.has("filter", "FORWARD") {
			want = ruleset{} // nobody uses iptables: nothing there could drop
		}
		p := compare(have, want, f.opts.Instance)
		if err = f.restore(ctx, v6, p.text()); err == nil {
			for i := range p.found {
				p.found[i].What = familyName(v6) + " " + p.found[i].What
			}
			return append(guard, p.found...), nil
		}
		if ctx.Err() != nil {
			return nil, err
		}
	}
	return nil, err
}
