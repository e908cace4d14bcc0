package model

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// play plays a sequence in a world of its own and says what was wrong. The
// seed decides how long each side effect takes.
func play(t *testing.T, seed uint64, lines []line, over func(*world)) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, stacks())
		}
	}()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(newMemory(seed))
		defer time.Sleep(time.Minute) // until nothing moves any more
		defer w.g.end()
		defer over(w)
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
	`), func(*world) {})
	if err != nil {
		t.Error(err)
	}
}

// TestMain sets how many sequences each half of TestModel plays, unless the
// command line does. A failure prints its seed and its lines, so that no file
// is needed.
func TestMain(m *testing.M) {
	flag.Parse()
	set := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { set[f.Name] = true })
	for name, value := range map[string]string{"rapid.checks": "5000", "rapid.nofailfile": "true"} {
		if !set[name] {
			if err := flag.Set(name, value); err != nil {
				panic(err)
			}
		}
	}
	os.Exit(m.Run())
}

// longest is the most lines that a sequence has.
const longest = 30

// TestModel plays random sequences: two times as many as -rapid.checks says.
func TestModel(t *testing.T) {
	var played, calls, deaths atomic.Int64
	t.Run("halves", func(t *testing.T) {
		for _, half := range []string{"one", "two"} {
			t.Run(half, func(t *testing.T) {
				t.Parallel()
				playRandom(t, func(w *world) {
					played.Add(1)
					calls.Add(int64(len(w.history)))
					deaths.Add(int64(w.lives - 1))
				})
			})
		}
	})
	t.Logf("%d sequences, %d calls, %d deaths of the daemon", played.Load(), calls.Load(), deaths.Load())
}

func playRandom(t *testing.T, over func(*world)) {
	var first, last string // failures, as found and as shrunk
	defer func() {
		if first != "" {
			t.Logf("found as\n%s\nshrunk to\n%s", first, last)
		}
	}()
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64Range(0, 1<<16).Draw(rt, "timing")
		lines := sequences(longest).Draw(rt, "sequence")
		if err := play(t, seed, lines, over); err != nil {
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
