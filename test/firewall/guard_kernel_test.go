//go:build kernel

package firewall

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"fairway/nat"
	"fairway/nat/iptables"
	"fairway/nat/nftables"
)

// TestGuardStays: a host that forwards for our sake doesn't become a router for
// others when its rules are flushed, whether the daemon runs or starts later; an
// administrator who sets ACCEPT is obeyed.
func TestGuardStays(t *testing.T) { eachBackend(t, testGuardStays) }

func testGuardStays(t *testing.T, kind backend) {
	record := filepath.Join(t.TempDir(), "guarded")
	inner := kind.name
	kind.make = func(ctx context.Context, instance string, step func(string)) (firewall, error) {
		opts := nat.Options{Instance: instance, Step: step, ForwardGuard: record}
		if inner == viaIptables.name {
			return iptables.New(ctx, opts)
		}
		return nftables.New(ctx, nftables.Options{Options: opts})
	}
	w, fw, s := start(t, kind, nil)
	policies := func(want4, want6 string) {
		t.Helper()
		for program, want := range map[string]string{"iptables": want4, "ip6tables": want6} {
			if got := w.host.run(t, program, "-S", "FORWARD"); !strings.HasPrefix(got, "-P FORWARD "+want) {
				t.Errorf("%s -S FORWARD: %q, want policy %s", program, got, want)
			}
		}
	}
	reset := func() { w.shell(t, "nft flush ruleset; ip6tables -P FORWARD ACCEPT") }
	reset()
	fw.reconcile(t, s)
	for range 2 {
		w.host.do(func() {
			if err := fw.f.GuardForward(t.Context(), false); err != nil {
				t.Error(err)
			}
		})
	}
	policies("DROP", "ACCEPT") // one family
	for _, harm := range []string{
		"nft flush ruleset",
		"nft flush ruleset; iptables -S", // another program makes the chain again
		"iptables -F; iptables -P FORWARD ACCEPT",
	} {
		for _, restart := range []bool{false, true} {
			w.shell(t, harm)
			if restart {
				fw.close(t)
				fw = w.firewall(t)
			}
			repairs := fw.reconcile(t, s)
			if len(repairs) == 0 || !strings.Contains(strings.Join(texts(repairs), "\n"), "ip filter: policy of FORWARD was") {
				t.Errorf("%s: repaired %v", harm, repairs)
			}
			policies("DROP", "ACCEPT")
			if again := fw.reconcile(t, s); len(again) != 0 {
				t.Errorf("%s: repaired again %v", harm, again)
			}
		}
	}
	check(t, []probe{{"outside", w.a1, "tcp", "192.0.2.2:80", "lan 192.0.2.1"}})

	w.shell(t, "iptables -P FORWARD ACCEPT")
	for range 2 {
		if r := fw.reconcile(t, s); len(r) != 0 {
			t.Errorf("against an administrator: %v", r)
		}
		policies("ACCEPT", "ACCEPT")
		fw.close(t)
		fw = w.firewall(t)
	}
	w.shell(t, "nft flush ruleset; iptables -P FORWARD ACCEPT")
	fw.reconcile(t, s)
	policies("ACCEPT", "ACCEPT")
}

func texts(repairs []nat.Repair) (out []string) {
	for _, r := range repairs {
		out = append(out, r.What)
	}
	return out
}
