package driver_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"fairway/driver"
	"fairway/store"
)

// TestQuiesceWaits: a commit of what is owed is under way and fails: Quiesce
// waits for it, and for the next one.
func TestQuiesceWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		d := w.start(t, store.Records{})
		must(t, d.CreateNetwork(t.Context(), network))
		commits, failing := 0, make(chan error)
		w.begin = func([]store.Change) <-chan error {
			commits++
			if commits == 1 {
				return failing
			}
			return answer(nil)
		}
		d.Observe(t.Context(), driver.Known{Engine: "/e", Networks: map[string]driver.KnownNetwork{network.ID: {Name: "backbone"}}})
		first := make(chan error)
		go func() { first <- d.Quiesce(t.Context()) }() // as Run does each second
		synctest.Wait()
		go func() {
			time.Sleep(time.Minute)
			failing <- errors.New("no space left")
		}()
		must(t, d.Quiesce(t.Context()))
		if err := <-first; err == nil {
			t.Error("the commit that failed: no error")
		}
		if commits != 2 {
			t.Errorf("%d commits, want 2", commits)
		}
	})
}
