//go:build !kernel

package model

import (
	"fmt"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"
)

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
