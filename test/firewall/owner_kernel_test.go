//go:build kernel

package firewall

import (
	"os/exec"
	"strings"
	"testing"
)

// TestOwned: others can't change the table while a daemon lives, and its changes
// go on; when it is gone, the next one adopts what is there, whoever had changed
// it meanwhile.
func TestOwned(t *testing.T) {
	w, fw, s := start(t, viaNftables, nil)
	stranger := func(wantRefused bool, commands ...string) {
		t.Helper()
		before := w.table(t)
		for _, c := range commands {
			var err error
			w.host.do(func() { err = exec.Command("sh", "-c", c).Run() })
			if refused := err != nil; refused != wantRefused {
				t.Errorf("%s: %v, want refused: %v", c, err, wantRefused)
			}
		}
		if now := w.table(t); wantRefused && now != before {
			t.Errorf("%v changed the table to\n%s", commands, now)
		}
	}
	changes := []string{
		"nft delete table inet fairway", "nft flush table inet fairway",
		"nft 'delete element inet fairway ports4 { tcp . 8080 }'", "nft insert rule inet fairway filter-forward accept",
		"nft 'add table inet fairway { flags dormant; }'",
	}
	stranger(true, changes...)
	w.host.run(t, "nft", "flush", "ruleset")
	check(t, []probe{{"after flush ruleset", w.lan, "tcp", "192.0.2.1:8080", "a1 192.0.2.2"}})

	// A refused change leaves it owned, and the next ones work.
	bad := s
	bad.Endpoints = append(bad.Endpoints[:1:1], bad.Endpoints[0])
	bad.Endpoints[1].ID = "ffffffffffffffff" // wants the same ports
	w.host.do(func() { _ = fw.f.Apply(t.Context(), bad) })
	stranger(true, changes[0])
	for range 2 {
		fw.apply(t, s)
		if r := fw.reconcile(t, s); len(r) != 0 && !strings.HasPrefix(r[0].What, "ip") {
			t.Errorf("repaired %v", r)
		}
	}

	// Another daemon beside it can look, and is told no.
	second := w.firewall(t)
	w.host.do(func() {
		if _, err := second.f.Reconcile(t.Context(), s); err != nil {
			t.Errorf("a second one finds nothing to do: %v", err)
		}
		if err := second.f.Remove(t.Context(), s); err == nil {
			t.Error("a second one removed everything")
		}
		if err := second.f.Close(); err != nil {
			t.Error(err)
		}
	})

	fw.reconcile(t, s) // that took the policy-routing rules

	// Stopped: anybody may; started: it is adopted as it is.
	fw.close(t)
	stranger(false, changes[2])
	fw = w.firewall(t)
	if r := fw.reconcile(t, s); len(r) != 1 || !strings.Contains(r[0].What, "set ports4 lacked 1 elements") {
		t.Errorf("repaired %v, want the one element", r)
	}
	stranger(true, changes...)

	// A table of an older fairway, or kernel, is taken over, too.
	fw.close(t)
	w.host.run(t, "nft", "delete", "table", "inet", "fairway")
	w.kind = viaOpen
	old := w.firewall(t)
	old.apply(t, s)
	old.close(t)
	w.kind = viaNftables
	fw = w.firewall(t)
	if r := fw.reconcile(t, s); len(r) != 1 || !strings.Contains(r[0].What, "others could change the table") {
		t.Errorf("repaired %v", r)
	}
	stranger(true, changes...)
	check(t, w.common())
	fw.reconcile(t, s)
	fw.remove(t, s)
	if left := w.ours(t); left != "" {
		t.Errorf("left:\n%s", left)
	}
}
