package model

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// play plays a sequence in a world of its own and says what was wrong. The
// seed decides how long each side effect takes.
func play(t *testing.T, seed uint64, lines []line, over func(*world)) error {
	return playMemory(t, seed, false, lines, func(*world) {}, over)
}

// playMemory is play with a look at the world after each line. Anew: what was
// broken is mended by a daemon that starts anew.
func playMemory(t *testing.T, seed uint64, anew bool, lines []line, each, over func(*world)) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, stacks())
		}
	}()
	synctest.Test(t, func(t *testing.T) {
		g := newMemory(seed)
		g.anew = anew
		w := newWorld(g)
		defer time.Sleep(time.Minute) // until nothing moves any more
		defer w.g.end()
		defer over(w)
		for i, l := range lines {
			if e := w.step(l); e != nil {
				err = fmt.Errorf("after line %d, %q: %w", i+1, l, e)
				return
			}
			each(w)
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

// TestMain sets how many sequences each half of TestModel plays, unless the
// command line does: three times as many as catch each of the planted bugs, see
// test/mutants. A failure prints its seed and its lines, so that no file is needed.
func TestMain(m *testing.M) {
	flag.Parse()
	set := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { set[f.Name] = true })
	// The same sequences each time: what CI says is about the change. Others are
	// had with -rapid.seed=N.
	for name, value := range map[string]string{"rapid.checks": "3000", "rapid.nofailfile": "true", "rapid.seed": "20261121"} {
		if !set[name] {
			if err := flag.Set(name, value); err != nil {
				panic(err)
			}
		}
	}
	// A world is small and gone soon: to collect less often takes less of the
	// processor, by a quarter and more.
	debug.SetGCPercent(400)
	os.Exit(m.Run())
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
