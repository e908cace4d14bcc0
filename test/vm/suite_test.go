//go:build vm

package vm

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"fairway/test/e2e/lab"
)

// A part is a package whose tests for a kernel run in the machine: those that need
// its kernel, with the tag vm, or all with -whole. An emulated processor is some ten
// times slower: left out is what is only long; only narrows a test to some of its
// subtests, as -run does, and brief does so without -whole.
type part struct {
	dir  string
	tag  string // of its files; "" for kernel
	more string // arguments for its test program
	// alone: it runs only if it is named, for its length: an engine alone takes
	// minutes to start.
	alone bool
	left  []string
	only  map[string]string
	brief map[string]string
}

// parts run in this order.
var parts = []part{
	{dir: "nat"}, {dir: "nat/guard"}, {dir: "nat/proxy"}, {dir: "nat/unroutable"},
	{dir: "watch", left: []string{"TestOthersAreNoConcern"}}, // two looks where a faster machine needs one
	{dir: "link", left: []string{"TestBridgeIsFull", "TestReconcileWhileOthersWork"}},
	{dir: "test/firewall", left: []string{
		"TestClientsOfEndpoint", "TestClientsRouted", "TestInternalUpdate", "TestReconcileTakesOver",
		"TestDockerStartsLater", "TestDockerMakesNetworkLater", "TestAdministratorInDockerUser", "TestUplinkBridge",
		"TestGuardForward", "TestOtherBackend", "TestSteps", "TestBehindItsBack",
		"TestOwned",                                  // tables stay with their owner from 6.9 on
		"TestFirewalld", "TestUfw", "TestUfwDecides", // whose programs aren't in the machine
	}, only: map[string]string{
		"TestReconcileIptables": "/^nft$",
		"TestGuardStays":        "/^nftables$",
		"TestClients":           "/192.0.2.0/24$",
		"TestHairpin":           "/^br_netfilter,_hairpin$",
		"TestMatrix":            "/(nft|legacy)/28.5/DROP",
	}, brief: map[string]string{"TestWireGuard": "^(nftables|iptables)$/^up_first$"}},
	{dir: "overlay", left: []string{"TestMove", "TestMoveHere", "TestOutside", "TestInjection", "TestFragments"}},
	{dir: "resolver"},
	{dir: "test/e2e", tag: "e2e && vm", more: "-test.parallel 1 -test.timeout 55m", alone: true}, // one host is work enough
}

// engine is the one that end-to-end tests have in the machine.
const engine = "20.10"

var (
	whole      = flag.Bool("whole", false, "run all tests for a kernel in the machine, not just those that need this one")
	onePart    = flag.String("part", "", "run only this `package` in the machine, all its tests for a kernel")
	limit      = flag.Duration("limit", 19*time.Minute, "guards against a machine that hangs")
	onePattern = flag.String("pattern", "", "with -part, only tests that match, as -run does")
)

const top = "../.."

var (
	tagLine  = regexp.MustCompile(`(?m)^//go:build (.*)$`)
	testLine = regexp.MustCompile(`(?m)^func (Test\w+)\(t \*testing\.T\)`)
)

// tests returns the names of a package's tests that are to run, but for what is
// left out: those in files with its tag. Its unit tests would only take time here.
func (p part) tests(t *testing.T) (names []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(top, p.dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		tag := tagLine.FindSubmatch(text)
		if tag == nil || !strings.Contains(string(tag[1]), cmp.Or(p.tag, "kernel")) {
			continue
		}
		for _, m := range testLine.FindAllSubmatch(text, -1) {
			all = append(all, string(m[1]))
			if *whole || *onePart != "" || strings.Contains(string(tag[1]), "vm") {
				names = append(names, string(m[1]))
			}
		}
	}
	for _, name := range slices.Concat(p.left, slices.Collect(maps.Keys(p.only)), slices.Collect(maps.Keys(p.brief))) {
		if !slices.Contains(all, name) {
			t.Fatalf("%s has no test %s", p.dir, name)
		}
	}
	return slices.DeleteFunc(names, func(name string) bool { return slices.Contains(p.left, name) })
}

// tags returns the argument of -tags for its test program.
func (p part) tags() string { return strings.ReplaceAll(cmp.Or(p.tag, "kernel && vm"), " && ", ",") }

// pattern returns the argument of -run for tests.
func (p part) pattern(tests []string) string {
	var all []string
	for _, name := range tests {
		pattern := "^" + name + "$"
		sub := p.only[name]
		if !*whole {
			sub = cmp.Or(p.brief[name], sub)
		}
		if sub != "" {
			pattern += "/" + sub
		}
		all = append(all, pattern)
	}
	return strings.Join(all, "|")
}

// compile makes dir/tests, as the script init expects it, and returns the tests
// of each part that must run.
func compile(t *testing.T, dir string) map[string][]string {
	t.Helper()
	expected := map[string][]string{}
	var order []string
	todo := slices.DeleteFunc(slices.Clone(parts), func(p part) bool { return p.alone })
	if *onePart != "" {
		todo = []part{{dir: *onePart}}
		for _, p := range parts {
			if p.dir == *onePart {
				todo[0].tag, todo[0].more = p.tag, p.more
			}
		}
	}
	for _, p := range todo {
		name := strings.ReplaceAll(p.dir, "/", "-")
		tests := p.tests(t)
		if len(tests) == 0 {
			continue
		}
		order = append(order, name)
		expected[name] = tests
		to := filepath.Join(dir, "tests", name)
		if err := os.MkdirAll(to, 0o755); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("go", "test", "-c", "-tags", p.tags(), "-ldflags=-s -w", "-o", filepath.Join(to, "test.bin"), "./"+p.dir)
		cmd.Dir = top
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("compile %s: %v\n%s", p.dir, err, out)
		}
		pattern := p.pattern(expected[name])
		if *onePattern != "" {
			pattern, expected[name] = *onePattern, nil
		}
		write(t, filepath.Join(to, "run"), pattern)
		write(t, filepath.Join(to, "more"), p.more)
		if data := filepath.Join(top, p.dir, "testdata"); exists(data) {
			if err := os.CopyFS(filepath.Join(to, "testdata"), os.DirFS(data)); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(t, filepath.Join(dir, "tests", "order"), strings.Join(order, "\n"))
	return expected
}

// labTools returns the programs and the engine of end-to-end tests, if there are
// any to be run; nil otherwise.
func labTools(t *testing.T, tests map[string][]string) *lab.Tools {
	t.Helper()
	if _, ok := tests["test-e2e"]; !ok {
		return nil
	}
	tools, err := lab.Prepare(t.Context(), engine)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tools.Close(); err != nil {
			t.Error(err)
		}
	})
	return tools
}

// initramfs packs what the machine boots into the file dir/initramfs.
func initramfs(t *testing.T, root, dir string, tools *lab.Tools) string {
	t.Helper()
	path := filepath.Join(dir, "initramfs")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	script, err := os.ReadFile("init")
	if err != nil {
		t.Fatal(err)
	}
	c := newCpioWriter(f)
	c.device("dev", 0o040755, 0, 0, nil)
	c.device("dev/console", 0o020600, 5, 1, nil)
	c.entry("init", 0o100755, script)
	err = c.tree(root, "", "boot")
	if err == nil {
		err = c.tree(filepath.Join(dir, "tests"), "tests")
	}
	if err == nil && tools != nil {
		c.entry("lab", 0o040755, nil)
		c.entry("lab/engines", 0o040755, nil)
		err = errors.Join(c.tree(tools.Programs(), "lab/bin", "plugin"), c.tree(tools.Engine(engine).Root, "lab/engines/"+engine, "usr/share", "usr/include"))
	}
	if err == nil {
		err = c.close()
	}
	if err != nil {
		t.Fatal(fmt.Errorf("initramfs: %w", err))
	}
	return path
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
