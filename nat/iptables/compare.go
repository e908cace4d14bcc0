package iptables

import (
	"context"

	"fairway/nat"
)

// Compare says what in the kernel differs from want, as the Reconcile of what New
// returns would find it. It changes nothing.
func Compare(ctx context.Context, opts nat.Options, want nat.State) ([]nat.Repair, error) {
	f, err := New(ctx, opts)
	if err != nil {
		return nil, err
	}
	return f.differences(ctx, want)
}

// CompareAccepts is Compare for what NewAccepts returns.
func CompareAccepts(ctx context.Context, opts nat.Options, want nat.State) ([]nat.Repair, error) {
	f, err := NewAccepts(ctx, opts)
	if err != nil || f == nil {
		return nil, err
	}
	return f.differences(ctx, want)
}

func (f *Firewall) differences(ctx context.Context, want nat.State) (out []nat.Repair, err error) {
	a, err := f.around(nat.Links(want))
	if err != nil {
		return nil, err
	}
	for _, v6 := range f.families() {
		rules := render(want, v6, f.opts.Instance, f.opts.Marks, a)
		if f.accepts {
			rules = renderAccepts(want, v6, f.opts.Instance, f.opts.Marks, a)
		}
		text, err := f.run.run(ctx, "", program(v6, "save"))
		if err != nil {
			return out, err
		}
		have, err := parseSave(text)
		if err != nil {
			return out, err
		}
		if f.accepts && !have.has("filter", "FORWARD") {
			rules = ruleset{} // nobody uses iptables: nothing there could drop
		}
		for _, r := range compare(have, rules, f.opts.Instance).found {
			out = append(out, nat.Repair{What: familyName(v6) + " " + r.What})
		}
	}
	return out, nil
}
