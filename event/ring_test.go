package event

import (
	"errors"
	"io"
	"sync"
	"testing"

	"github.com/sirupsen/logrus"
)

func newLog(r *Ring) *logrus.Logger {
	log := logrus.New()
	log.SetOutput(io.Discard)
	log.AddHook(r)
	return log
}

func TestRing(t *testing.T) {
	r := NewRing(3)
	log := newLog(r)
	if events, lost, _ := r.From(0); len(events) != 0 || lost != 0 {
		t.Errorf("an empty ring: %v, %d lost", events, lost)
	}
	_, _, more := r.From(0)
	log.Info("no event")
	select {
	case <-more:
		t.Error("what is no event is one")
	default:
	}
	log.WithField(Field, Attach).WithField("endpoint", "e1").WithError(errors.New("x")).Warn("attached")
	select {
	case <-more:
	default:
		t.Error("nobody is told of an event")
	}
	events, _, _ := r.From(0)
	if len(events) != 1 || events[0].Number != 1 || events[0].Kind != Attach || events[0].Severity != "warning" || events[0].Message != "attached" ||
		len(events[0].Fields) != 2 || events[0].Fields["endpoint"] != "e1" || events[0].Fields["error"] != "x" || events[0].Time.IsZero() {
		t.Errorf("kept: %+v", events)
	}
	for range 5 {
		log.WithField(Field, Detach).Info("detached")
	}
	for from, want := range map[uint64]struct {
		first, lost uint64
		n           int
	}{0: {4, 3, 3}, 1: {4, 3, 3}, 3: {4, 1, 3}, 4: {4, 0, 3}, 6: {6, 0, 1}, 7: {0, 0, 0}} {
		events, lost, _ := r.From(from)
		if len(events) != want.n || lost != want.lost || want.n > 0 && events[0].Number != want.first {
			t.Errorf("from %d: %+v, %d lost; want %+v", from, events, lost, want)
		}
	}
}

// TestFollow: whoever reads on as told misses nothing, while many write.
func TestFollow(t *testing.T) {
	const writers, each = 4, 100
	r := NewRing(writers * each)
	log := newLog(r)
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for range each {
				log.WithField(Field, Attach).Info("")
			}
		})
	}
	for next := uint64(1); next <= writers*each; {
		events, lost, more := r.From(next)
		if lost > 0 {
			t.Fatalf("%d lost", lost)
		}
		for _, e := range events {
			if e.Number != next {
				t.Fatalf("number %d, want %d", e.Number, next)
			}
			next++
		}
		if len(events) == 0 {
			<-more
		}
	}
	all.Wait()
}
