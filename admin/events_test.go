package admin

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"fairway/event"
)

// newEventServer returns a server that keeps as many events, and their log.
func newEventServer(size int) (*Server, *logrus.Logger) {
	s := newTestServer(true)
	ring := event.NewRing(size)
	log := logrus.New()
	log.SetOutput(io.Discard)
	log.AddHook(ring)
	s.Options.Events = ring
	return New(s.Options), log
}

func TestEvents(t *testing.T) {
	s, log := newEventServer(10)
	c := serve(t, s)
	log.WithField(event.Field, event.Attach).WithField("endpoint", "e1").WithField("network_id", "eeee0000").Info("attached")
	time.Sleep(2 * time.Millisecond) // times are what is told apart
	mark := time.Now()
	time.Sleep(2 * time.Millisecond)
	log.WithField(event.Field, event.Repair).WithField("object", "x").Warn("repaired")
	list := func(since time.Time) string {
		var words []string
		err := c.Events(t.Context(), since, false, func(e event.Event) error {
			words = append(words, strings.Join(strings.Fields(e.Kind+" "+e.Fields["container"]+" "+e.Fields["network"]), " "))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(words, ", ")
	}
	if got := list(time.Time{}); got != "attach app web, repair" {
		t.Errorf("all kept: %s", got)
	}
	if got := list(mark); got != "repair" {
		t.Errorf("since: %s", got)
	}
	if _, err := get[Networks](t.Context(), c, "/v1/events?since=yesterday"); err == nil || !strings.Contains(err.Error(), "RFC 3339") {
		t.Errorf("since yesterday: %v", err)
	}
}

// TestFollowEvents: what happens while somebody reads comes at once, and the end
// of the reader and of the daemon ends it.
func TestFollowEvents(t *testing.T) {
	s, log := newEventServer(10)
	c := serve(t, s)
	log.WithField(event.Field, event.Attach).Info("before")
	ctx, cancel := context.WithCancel(t.Context())
	got := make(chan event.Event)
	done := make(chan error)
	go func() {
		done <- c.Events(ctx, time.Now().Add(-time.Hour), true, func(e event.Event) error {
			got <- e
			return nil
		})
	}()
	if e := <-got; e.Message != "before" {
		t.Errorf("first: %+v", e)
	}
	log.WithField(event.Field, event.Detach).Info("now")
	if e := <-got; e.Message != "now" || e.Number != 2 {
		t.Errorf("then: %+v", e)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("ended by the reader: %v", err)
	}
	go func() { done <- c.Events(t.Context(), time.Time{}, true, func(event.Event) error { return nil }) }()
	time.Sleep(20 * time.Millisecond) // it may be there by now, or come later: both end
	s.end.Do(func() { close(s.ending) })
	if err := <-done; !errors.Is(err, ErrUnreachable) {
		t.Errorf("ended by the daemon: %v", err)
	}
}

// TestTooSlow: who reads too slowly is told how much is lost.
func TestTooSlow(t *testing.T) {
	s, log := newEventServer(2)
	c := serve(t, s)
	log.WithField(event.Field, event.Attach).Info("first")
	lost := 0
	err := c.Events(t.Context(), time.Now().Add(-time.Hour), true, func(e event.Event) error {
		switch {
		case e.Message == "first":
			for range 2000 { // more than buffers on the way hold, and than are kept
				log.WithField(event.Field, event.Detach).Info(strings.Repeat("x", 1000))
			}
		case e.Kind == event.Lost:
			lost++
		}
		if e.Number == 2001 {
			return io.EOF
		}
		return nil
	})
	if !errors.Is(err, io.EOF) || lost == 0 {
		t.Errorf("%v, told of a loss %d times", err, lost)
	}
}
