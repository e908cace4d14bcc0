//go:build mutants

package mutants

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A mutant is a bug: old is replaced by new in a file.
type mutant struct {
	name, file string
	old, new   string
}

func mutants() []mutant {
	return []mutant{
		{
			"missing commit", "driver/network.go",
			"done := d.commit(changes...)\n\tvar err, commitErr error", "done := d.commit()\n\tvar err, commitErr error",
		},
		{
			"reply before it is durable", "driver/sandbox.go",
			"\tif err = errors.Join(<-done, err); err != nil", "\t_ = done\n\tif err = errors.Join(nil, err); err != nil",
		},
		{
			"wrong order on others' bridges", "driver/network.go",
			"\tif !n.onTheirs() {\n\t\tdone = d.commit(changes...)\n\t}\n\terr := work()\n\tif n.onTheirs() {",
			"\tif n.onTheirs() {\n\t\tdone = d.commit(changes...)\n\t}\n\terr := work()\n\tif !n.onTheirs() {",
		},
		{
			"leak on error", "driver/network.go",
			"undoErr := undo(context.WithoutCancel(ctx)); undoErr != nil", "undoErr := error(nil); undoErr != nil",
		},
		{
			"record not withdrawn", "driver/network.go",
			"if <-d.commit(withdraw...) != nil {", "if false {",
		},
		{
			"address not released", "ipam/free.go",
			"return a.release(ctx, h.subnet, l)\n", "a.mu.Unlock()\n\treturn nil\n",
		},
		{
			"forgotten idempotency", "driver/endpoint.go",
			"\tif !ok || e.Network != networkID {\n\t\treturn nil\n\t}", "\tif !ok || e.Network != networkID {\n\t\treturn errors.New(\"no such endpoint\")\n\t}",
		},
		{
			"neighbour not removed", "driver/endpoint.go",
			"d.opts.Kernel.Remove(ctx, n.view.Attachment(e))", "d.opts.Kernel.Remove(ctx, n.view.Attachment(e)[:1])",
		},
		{
			"port not released", "driver/endpoint.go",
			"\td.opts.Ports.Release(e.ID)\n", "",
		},
		{
			"orphan not removed", "driver/reconcile.go",
			"repairs, linkErr := d.opts.Kernel.Reconcile(ctx, links)", "var repairs []link.Repair\n\tlinkErr := d.opts.Kernel.Apply(ctx, links)",
		},
		{
			"live ports not on record", "driver/live.go",
			"[]store.Change{put(l.after), store.PutEndpoint(e)}", "[]store.Change{store.PutEndpoint(e)}",
		},
		{
			"rule not removed", "driver/publish.go",
			"\terr = take(ctx, n, gone)\n", "\t_ = take\n\td.opts.Ports.Release(gone.ID)\n",
		},
		{
			"a removed network's ports stay in sandboxes", "driver/network.go",
			"errs = append(errs, d.translate(ctx, n, inside))", "_ = inside",
		},
		{
			"a sandbox that comes after Join is forgotten", "driver/inside.go",
			"\tcase e.Sandbox == \"\": // its Join isn't over yet\n", "\tcase e.Sandbox == \"\":\n\t\t\tdelete(d.awaited, id)\n",
		},
		{
			"what is owed is lost with a commit that failed", "driver/owed.go",
			"o.changes = append(owed, o.changes...)", "_ = owed",
		},
		{
			"address of a living endpoint is given away", "driver/endpoint.go",
			"if d.attached(ctx, n, old) {", "if false {",
		},
		{
			"an address twice", "ipam/load.go",
			"a.loadAddresses(records.Addresses)", "a.loadAddresses(nil)",
		},
		{
			"use without a request forgotten", "ipam/load.go",
			"a.loadUse(records)", "_ = records",
		},
		{
			"networks leave a bridge side by side", "driver/network.go",
			"if n.shares() {\n\t\talone, err := d.lock.alone(ctx, onLink(n))\n\t\tif err != nil {\n\t\t\treturn err\n\t\t}\n\t\tdefer alone.release()\n\t}\n\tendpoints", "endpoints",
		},
		{
			"a VLAN goes with the first of its networks", "driver/network.go",
			"o.Link != n.Link && len(o.VLANs) == 0", "o.Link != n.Link || len(o.VLANs) > 0",
		},
		{
			"forwarding before its guard", "driver/network.go",
			"\t\tif err == nil && !on {\n\t\t\terr = d.opts.Firewall.GuardForward(ctx, family.v6)\n\t\t}\n\t\tif err == nil && !on {\n\t\t\t_, err = d.opts.Kernel.EnableForwarding(ctx, family.v6)\n\t\t}",
			"\t\tif err == nil && !on {\n\t\t\t_, err = d.opts.Kernel.EnableForwarding(ctx, family.v6)\n\t\t}\n\t\tif err == nil && !on {\n\t\t\terr = d.opts.Firewall.GuardForward(ctx, family.v6)\n\t\t}",
		},
		{
			"late release", "ipam/free.go",
			"if a.isAlive(ctx, pool, ip) {", "if false && a.isAlive(ctx, pool, ip) {",
		},
		{
			"failed endpoint keeps an address", "driver/endpoint.go",
			"forAddresses(n, e, d.opts.Pools.ConfirmRequested)", "forAddresses(n, e, d.opts.Pools.Confirm)",
		},
		{
			"failed Join on record", "driver/sandbox.go",
			"\t\td.owe(store.PutEndpoint(before))\n", "\t\t_ = before\n",
		},
		{
			"no repair at start", "driver/reconcile.go",
			"repaired, err := d.Reconcile(ctx)", "repaired, err := 0, error(nil)",
		},
		{
			"reply repeats what was given", "plugin/network_call.go",
			"if given.MacAddress == \"\" {", "if true {",
		},
	}
}

// TestMutants runs the model test with each of the bugs. It must fail, and not
// for want of compiling.
func TestMutants(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mutants() {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			out, err := run(t, root, plant(t, root, m))
			switch {
			case err == nil:
				t.Errorf("not caught:\n%s", out)
			case !bytes.Contains(out, []byte("--- FAIL")):
				t.Errorf("did not run:\n%s", out)
			default:
				t.Logf("caught after %s: %s", time.Since(start).Round(time.Second/10), last(out))
			}
		})
	}
}

// plant returns an overlay for the go command in which m's file has the bug.
func plant(t *testing.T, root string, m mutant) string {
	path := filepath.Join(root, m.file)
	source, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(source), m.old); n != 1 {
		t.Fatalf("%s has %d times\n%s", m.file, n, m.old)
	}
	dir := t.TempDir()
	changed := filepath.Join(dir, filepath.Base(m.file))
	if err := os.WriteFile(changed, []byte(strings.Replace(string(source), m.old, m.new, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(map[string]map[string]string{"Replace": {path: changed}})
	if err != nil {
		t.Fatal(err)
	}
	overlay := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(overlay, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return overlay
}

// run plays fewer sequences than the model test does by itself, up to the first
// failure, which isn't shrunk for long. The vet that comes with go test would take
// as long as all the rest.
func run(t *testing.T, root, overlay string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "test", "-overlay", overlay, "-timeout", "2m", "-vet=off", "-failfast", "./test/model",
		"-rapid.checks", "1000", "-rapid.shrinktime", "1s")
	cmd.Dir = root
	return cmd.CombinedOutput()
}

// last is the line that says what was found in the end.
func last(out []byte) string {
	lines := strings.Split(string(out), "\n")
	for i, l := range lines {
		if strings.Contains(l, "shrunk to") {
			for _, l := range lines[i:] {
				if strings.Contains(l, "after ") {
					return strings.TrimSpace(l)
				}
			}
		}
	}
	return "a case or the exhaustive test"
}
