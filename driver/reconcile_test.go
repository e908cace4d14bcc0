package driver_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"fairway/link"
	"fairway/nat"
	"fairway/store"
)

// Calls may end after Run: what they leave to do is done by Close.
func TestCloseDoesWhatIsLeft(t *testing.T) {
	w := newWorld()
	d := w.start(t, store.Records{})
	ctx, stop := context.WithCancel(t.Context())
	w.forget = func(nat.Endpoint) { stop() } // the daemon is told to stop while it works
	ended := make(chan error)
	go func() { ended <- d.Run(ctx) }()
	must(t, d.CreateNetwork(t.Context(), network))
	attach(t, d, endpoint("a", "10.1.0.2/24"), "/run/netns/a")
	attach(t, d, endpoint("b", "10.1.0.3/24"), "/run/netns/b")
	must(t, d.DeleteEndpoint(t.Context(), network.ID, "a"))
	must(t, <-ended)
	must(t, d.DeleteEndpoint(t.Context(), network.ID, "b"))
	must(t, d.Close())
	if len(w.forgotten) != 2 {
		t.Errorf("forgotten: %v, want both endpoints", w.forgotten)
	}
}

// A call that takes its time must not hold up those for others through a
// reconcile that waits for it.
func TestReconcileWaitsPolitely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		d := w.start(t, store.Records{})
		must(t, d.CreateNetwork(t.Context(), network))
		w.apply = func(want link.Set) {
			if want[0].Key().Name == slow.name {
				time.Sleep(slow.takes)
			}
		}
		go func() {
			n := network
			n.ID, n.Options, n.Subnets = "slow", map[string]string{"com.docker.network.bridge.name": slow.name}, nil
			_ = d.CreateNetwork(context.Background(), n)
		}()
		time.Sleep(time.Millisecond)
		reconciled := make(chan error)
		go func() {
			_, err := d.Reconcile(context.Background())
			reconciled <- err
		}()
		time.Sleep(time.Millisecond)
		begin := time.Now()
		_, err := d.CreateEndpoint(t.Context(), endpoint("a", "10.1.0.2/24"))
		must(t, err)
		if took := time.Since(begin); took > time.Second {
			t.Errorf("a call waited %s for another network's", took)
		}
		must(t, <-reconciled)
	})
}

var slow = struct { //nolint:gochecknoglobals // a constant
	name  string
	takes time.Duration
}{"br-slow", 20 * time.Second}

// A disk that is full for an hour is said when it begins and when it is over.
func TestDiskTroubleIsSaidOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		d := w.start(t, store.Records{})
		must(t, d.CreateNetwork(t.Context(), network))
		attach(t, d, endpoint("a", "10.1.0.2/24"), "/run/netns/a")
		w.log.Reset()
		var cause atomic.Int64
		w.begin = func([]store.Change) <-chan error {
			if errno := unix.Errno(cause.Load()); errno != 0 {
				return answer(fmt.Errorf("store: commit: %w", errno))
			}
			return answer(nil)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- d.Run(ctx) }()
		cause.Store(int64(unix.ENOSPC))
		must(t, d.Leave(t.Context(), network.ID, "a")) // owes its record
		time.Sleep(time.Hour)
		cause.Store(int64(unix.EROFS))
		time.Sleep(time.Hour + 500*time.Millisecond)
		cause.Store(0)
		time.Sleep(time.Hour)
		stop()
		must(t, <-ended)
		var said []string
		for _, e := range w.log.AllEntries() {
			said = append(said, fmt.Sprint(e.Level, ": ", e.Message, " ", e.Data["error"]))
		}
		const fails = "error: writing records to the disk fails; it is tried again until it works store: commit: "
		want := []string{
			"info: detached <nil>",
			fails + "no space left on device",
			fails + "read-only file system",
			"info: writing records to the disk works again, after 2h0m0s <nil>",
		}
		if !slices.Equal(said, want) {
			t.Errorf("said\n%s\nwant\n%s", strings.Join(said, "\n"), strings.Join(want, "\n"))
		}
	})
}

// A record that couldn't be written is not written later over a newer one.
func TestOwedIsNotNewer(t *testing.T) {
	w := newWorld()
	d := w.start(t, store.Records{})
	must(t, d.CreateNetwork(t.Context(), network))
	attach(t, d, endpoint("a", "10.1.0.2/24"), "/run/netns/a")
	attach(t, d, endpoint("b", "10.1.0.3/24"), "/run/netns/b")
	must(t, d.Leave(t.Context(), network.ID, "a")) // owes its record

	var kept []store.Change // what is durable, in order
	slow := make(chan error, 1)
	begun := make(chan bool, 1)
	first := true
	w.begin = func(changes []store.Change) <-chan error {
		if first {
			first = false
			begun <- true
			return slow
		}
		kept = append(kept, changes...)
		return answer(nil)
	}
	joined := make(chan error)
	go func() { joined <- d.DeleteEndpoint(context.Background(), network.ID, "b") }() // takes along what is owed
	<-begun
	must(t, d.DeleteEndpoint(t.Context(), network.ID, "a"))
	slow <- errors.New("disk full")
	if err := <-joined; err == nil {
		t.Fatal("a commit that failed is no error")
	}
	must(t, d.Close())
	of := 0
	for _, c := range kept {
		if c.Replaces(store.DeleteEndpoint("a")) {
			of++
		}
	}
	if of != 1 {
		t.Errorf("changes of the deleted endpoint: %d, want its deletion only (%+v)", of, kept)
	}
}
