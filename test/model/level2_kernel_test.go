//go:build kernel

package model

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// How much of level 2 is played: sequences by each of a few threads, which mostly
// wait for the kernel, as the other tests of level 2 do, at the same time.
const (
	realThreads   = 4
	realSequences = 50
	realLines     = 23 // makes some 30 calls
	bothSequences = 50
)

// build makes a daemon that asks before each side effect.
func build(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "fairway")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-tags", "stephook", "-o", binary, "../../cmd/fairway")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return binary
}

// playReal plays a sequence on this kernel.
func playReal(t *testing.T, binary, firewall string, lines []line, each func(w *world, i int) error) (err error) {
	g, err := newReal(t, binary, firewall)
	if err != nil {
		return err
	}
	defer g.end()
	w := newWorld(g)
	w.patience = 30 * time.Second
	for i, l := range lines {
		if err := w.step(l); err != nil {
			return fmt.Errorf("after line %d, %q: %w\n%s", i+1, l, err, g.output)
		}
		if err := each(w, i); err != nil {
			return fmt.Errorf("after line %d, %q: %w", i+1, l, err)
		}
	}
	return nil
}

// TestReal plays on this kernel, with one daemon and at the same time: what once
// failed, random sequences, and the same on both grounds.
func TestReal(t *testing.T) {
	binary := build(t)
	for name, test := range map[string]func(*testing.T, string){
		"cases": testRealCases, "random": testRealRandom, "same on both": testSameOnBoth,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, binary)
		})
	}
}

// testRealCases plays what once failed, where a daemon that dies is all that it
// takes.
func testRealCases(t *testing.T, binary string) {
	for i, c := range cases() {
		if strings.Contains(c.lines, "!f") || strings.Contains(c.lines, "observe") {
			continue
		}
		for _, k := range []string{"2", "5", "9"} {
			lines := linesOf(strings.ReplaceAll(c.lines, "*", k))
			if err := playReal(t, binary, onNftables, lines, func(*world, int) error { return nil }); err != nil {
				t.Errorf("case %d (%s)\n%s%v", i, c.wrong, show(lines), err)
			}
			if !strings.Contains(c.lines, "*") {
				break
			}
		}
	}
}

// testRealRandom plays random sequences with a process that is killed.
func testRealRandom(t *testing.T, binary string) {
	var played, calls, deaths atomic.Int64
	t.Run("threads", func(t *testing.T) {
		for i := range realThreads {
			firewall := []string{onNftables, onIptables}[i%2]
			t.Run(fmt.Sprint(firewall, i), func(t *testing.T) {
				t.Parallel()
				randomly(t, i*realSequences, realSequences, realGenerator(true), func(lines []line) error {
					last := 0
					played.Add(1)
					return playReal(t, binary, firewall, lines, func(w *world, i int) error {
						calls.Add(int64(len(w.history) - last))
						last = len(w.history)
						if i == len(lines)-1 {
							deaths.Add(int64(w.lives - 1))
						}
						return nil
					})
				})
			})
		}
	})
	t.Logf("%d sequences, %d calls, %d deaths of the daemon", played.Load(), calls.Load(), deaths.Load())
}

// randomly plays the sequences of -rapid.seed from the first-th on until one
// fails, and then the shortest that does.
func randomly(t *testing.T, first, n int, sequences *rapid.Generator[[]line], play func([]line) error) {
	t.Helper()
	seed, err := strconv.Atoi(flag.Lookup("rapid.seed").Value.String())
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		lines := sequences.Example(seed + first + i)
		err := play(lines)
		if err == nil {
			continue
		}
		t.Errorf("seed %d, sequence %d\n%s%v", seed, first+i, show(lines), err)
		shorter, err := shrink(lines, err, play)
		t.Fatalf("shrunk to\n%s%v", show(shorter), err)
	}
}

// shrink takes lines away as long as it still fails.
func shrink(lines []line, err error, play func([]line) error) ([]line, error) {
	for i := len(lines) - 1; i >= 0; i-- {
		fewer := slices.Delete(slices.Clone(lines), i, i+1)
		if e := play(fewer); e != nil {
			lines, err = fewer, e
		}
	}
	return lines, err
}

// realGenerator draws sequences of what a real ground can do. Faulty: with
// deaths and with calls at the same time.
func realGenerator(faulty bool) *rapid.Generator[[]line] {
	kinds := []chance{
		{10, run}, {4, network}, {3, stop("stop")}, {2, stop("kill")}, {2, disconnect}, {2, rmnet}, {2, repeat}, {3, raw},
	}
	if faulty {
		kinds = append(kinds, chance{2, constant("crash")}, chance{1, dockerDies}, chance{2, tamper})
	}
	return rapid.Custom(func(t *rapid.T) []line {
		var lines []line
		for len(lines) < realLines {
			from := kinds
			if len(lines) < 2 {
				from = []chance{{1, network}}
			}
			l := pick(t, from)
			if slices.ContainsFunc(notReal(), func(s string) bool { return strings.Contains(l, s) }) {
				continue
			}
			if faulty {
				l += realMishap(t, kinds)
			}
			lines = append(lines, line(l))
		}
		return lines
	})
}

// notReal is what a line may say that the real ground can't do: a kernel has no
// bridge with room for two ports, and many a kernel no VLANs, see test/vm; with
// host_access the containers' ports are in rules of their sandboxes.
func notReal() []string {
	return []string{"crowded", "neighbours", "localnet", "vlan", "qinq", "hosted"}
}

func realMishap(t *rapid.T, kinds []chance) string {
	switch rapid.IntRange(0, 11).Draw(t, "mishap") {
	case 0, 1, 2:
		return fmt.Sprint(" !die ", rapid.IntRange(1, 16).Draw(t, "step"))
	case 3:
		return fmt.Sprint(" !lose ", rapid.IntRange(1, 6).Draw(t, "call"))
	case 4:
		return fmt.Sprint(" !cut ", rapid.IntRange(1, 6).Draw(t, "call"))
	case 5:
		return " !dup"
	case 6, 7:
		return " || " + run(t)
	}
	return ""
}

// testSameOnBoth plays the same sequences on both grounds: what is on record
// and in the kernel after each line must be the same. A difference is a mistake
// of the one of memory.
func testSameOnBoth(t *testing.T, binary string) {
	randomly(t, 0, bothSequences, realGenerator(false), func(lines []line) error {
		var want []string
		err := playMemory(t, 0, true, lines, func(w *world) { want = append(want, view(w)) }, func(*world) {})
		if err != nil {
			return fmt.Errorf("in memory: %w", err)
		}
		return playReal(t, binary, onNftables, lines, func(w *world, i int) error {
			if have := view(w); have != want[i] {
				return fmt.Errorf("the kernel has\n%s\nin memory there is\n%s", less(have, want[i]), less(want[i], have))
			}
			return nil
		})
	})
}

// less returns the lines of a that b has not.
func less(a, b string) string {
	all := strings.Split(b, "\n")
	return strings.Join(slices.DeleteFunc(strings.Split(a, "\n"), func(l string) bool { return slices.Contains(all, l) }), "\n")
}

var mac = regexp.MustCompile(`\b([0-9a-f]{2}:){5}[0-9a-f]{2}\b`) //nolint:gochecknoglobals // a constant

// view is what counts of a world, as text.
func view(w *world) string {
	s, err := w.g.records()
	if err != nil {
		return err.Error()
	}
	var out []string
	for id, n := range s.Networks {
		f := netFactOf(n)
		out = append(out, fmt.Sprint("network ", id, " ", f.form, " ", n.Link, " ", n.MTU))
	}
	for id, e := range s.Endpoints {
		f := epFactOf(e)
		out = append(out, fmt.Sprint("endpoint ", id, " ", f.network, " ", f.v4, f.v6, " ", filepath.Base(f.sandbox), " ", f.ports, " ", e.HostLink))
	}
	for _, a := range s.Addresses {
		if a.Released.IsZero() {
			out = append(out, fmt.Sprint("address ", a.Space, " ", a.Subnet, " ", a.IP, " ", a.Kind))
		}
	}
	ours, _ := w.g.lines()
	for _, l := range ours {
		l = mac.ReplaceAllStringFunc(l, func(s string) string {
			if strings.HasPrefix(s, "02:00:00:00:") || strings.HasPrefix(s, "02:aa:") {
				return s // given
			}
			return "random"
		})
		if before, path, ok := strings.Cut(l, "@/"); ok { // a sandbox
			dir, rest, _ := strings.Cut(path, " ")
			l = before + "@" + filepath.Base(dir) + " " + rest
		}
		out = append(out, l)
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}
