package model

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"
)

// play plays a sequence in a world of its own and says what was wrong. The
// seed decides how long each side effect takes.
func play(t *testing.T, seed uint64, lines []line) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, stacks())
		}
	}()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(seed)
		defer w.end()
		for i, l := range lines {
			if e := w.step(l); e != nil {
				err = fmt.Errorf("after line %d, %q: %w", i+1, l, e)
				return
			}
		}
		if e := w.finish(); e != nil {
			err = fmt.Errorf("after the end: %w", e)
		}
	})
	return err
}

func linesOf(text string) (out []line) {
	for l := range strings.Lines(text) {
		if l = strings.TrimSpace(l); l != "" && !strings.HasPrefix(l, "#") {
			out = append(out, line(l))
		}
	}
	return out
}

func TestSmoke(t *testing.T) {
	err := play(t, 1, linesOf(`
		network n0 plain
		run c0 n0 tcp/8080
		run c1 n0
		network n1 dual
		run c1 n1
		stop c0
		kill c1
		rmnet n0
	`))
	if err != nil {
		t.Error(err)
	}
}

// levelOne is how many sequences are played, and of how many lines at most.
const (
	levelOne    = 10_000
	longestLine = 30
)

// TestModel plays random sequences.
func TestModel(t *testing.T) {
	var first, last string // failures, as found and as shrunk
	defer func() {
		if first != "" {
			t.Logf("found as\n%s\nshrunk to\n%s", first, last)
		}
	}()
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64Range(0, 1<<16).Draw(rt, "timing")
		lines := sequences(longestLine).Draw(rt, "sequence")
		if err := play(t, seed, lines); err != nil {
			last = fmt.Sprintf("timing %d\n%s%v", seed, show(lines), err)
			if first == "" {
				first = last
			}
			rt.Fatal("the world is not as the model says")
		}
	})
}

func show(lines []line) string {
	var b strings.Builder
	for _, l := range lines {
		fmt.Fprintf(&b, "\t%s\n", l)
	}
	return b.String()
}

// stacks is where all goroutines are.
func stacks() []byte {
	b := make([]byte, 1<<20)
	return b[:runtime.Stack(b, true)]
}
