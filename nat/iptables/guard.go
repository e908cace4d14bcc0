package iptables

import (
	"context"
	"fmt"
	"slices"
	"strings"

	goiptables "github.com/coreos/go-iptables/iptables"

	"fairway/nat"
)

// GuardForward makes DROP the policy of FORWARD in a family, as Docker does
// when it turns forwarding on: what neither enters nor leaves by one of our
// bridges is not forwarded for its sake. It stays so, see lostGuard, until the
// machine stops or somebody else decides otherwise.
func (f *Firewall) GuardForward(ctx context.Context, v6 bool) error {
	if err := f.lock(ctx); err != nil {
		return err
	}
	defer f.unlock()
	if v6 && f.no6 != nil {
		return nil // and nothing that could be forwarded
	}
	if err := f.remember(v6, true); err != nil {
		return err
	}
	return f.dropForward(v6)
}

func (f *Firewall) dropForward(v6 bool) error {
	proto := goiptables.ProtocolIPv4
	if v6 {
		proto = goiptables.ProtocolIPv6
	}
	t, err := goiptables.New(goiptables.IPFamily(proto), goiptables.Timeout(20))
	if err != nil {
		return fmt.Errorf("iptables: %w", err)
	}
	f.opts.Step("iptables.policy " + familyName(v6))
	if err := t.ChangePolicy("filter", "FORWARD", "DROP"); err != nil {
		return fmt.Errorf("iptables: policy of FORWARD: %w", err)
	}
	return nil
}

// remember notes durably whether FORWARD is guarded by us in a family.
func (f *Firewall) remember(v6, guarded bool) error {
	g := f.guarded
	if v6 {
		g.V6 = guarded
	} else {
		g.V4 = guarded
	}
	if g == f.guarded {
		return nil
	}
	if err := nat.SaveForwardGuard(f.opts.ForwardGuard, g); err != nil {
		return err
	}
	f.guarded = g
	return nil
}

// lostGuard says in what way FORWARD has lost the policy that GuardForward gave
// it; "" if it hasn't. Others' nft flush ruleset takes the chain, and scripts
// that flush iptables set ACCEPT and take our jump, too. A policy that was
// changed alone is an administrator's choice: it isn't guarded any more.
func (f *Firewall) lostGuard(v6 bool, have saved, policy string) (why string, err error) {
	if !f.guarded.V4 && !v6 || !f.guarded.V6 && v6 || policy == "DROP" {
		return "", nil
	}
	if policy == "" {
		return "was missing", nil
	}
	ours := func(text string) bool {
		return marked(text, f.opts.Instance) && strings.HasPrefix(target(text), chainPrefix)
	}
	if len(f.want.Networks) > 0 && !slices.ContainsFunc(have["filter"]["FORWARD"], ours) {
		return "was " + policy, nil
	}
	f.opts.Log.Infof("iptables: %s: somebody made %s the policy of FORWARD: it stays so", familyName(v6), policy)
	return "", f.remember(v6, false)
}

// forwardPolicy returns the policy of FORWARD in what iptables-save says; "" if
// there is no such chain.
func forwardPolicy(out []byte) string {
	filter := false
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "*") {
			filter = strings.TrimSpace(line) == "*filter"
		}
		if rest, ok := strings.CutPrefix(line, ":FORWARD "); ok && filter {
			policy, _, _ := strings.Cut(rest, " ")
			return policy
		}
	}
	return ""
}
