package main

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"fairway/event"

	"github.com/sirupsen/logrus"
)

// happened are two events, of which the second has a name that moves the cursor.
func happened() *event.Ring {
	r := event.NewRing(10)
	log := logrus.New()
	log.SetOutput(io.Discard)
	log.AddHook(r)
	at := time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	log.WithTime(at).WithFields(logrus.Fields{event.Field: event.Attach, "endpoint": strings.Repeat("1", 64), "address": "172.20.0.2 fd00:20::2"}).Info("attached")
	log.WithTime(at.Add(time.Second)).WithFields(logrus.Fields{event.Field: event.Denied, "container": "evil\x1b[2J"}).Warn("denied")
	return r
}

func TestSinceTime(t *testing.T) {
	now := time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"": {}, "10m": now.Add(-10 * time.Minute), "2026-09-01T11:00:00Z": now.Add(-time.Hour),
	} {
		if got, err := sinceTime(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"yesterday", "-10m", "10"} {
		if _, err := sinceTime(text, now); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

// TestEventsWhateverIsLogged: a quiet log doesn't hide events, and a reload keeps
// them.
func TestEventsWhateverIsLogged(t *testing.T) {
	var text strings.Builder
	log := newLog(&text, config{LogLevel: "error"}, false)
	ring := event.NewRing(10)
	log.AddHook(ring)
	log.WithField(event.Field, event.Attach).Info("one")
	log.Error("two")
	setLog(log, config{LogLevel: "warning"}, false)
	log.WithField(event.Field, event.Repair).Warn("three")
	log.WithField(event.Field, event.Detach).Info("four")
	if got := text.String(); strings.Contains(got, "one") || strings.Contains(got, "four") || !strings.Contains(got, "two") || !strings.Contains(got, "three") {
		t.Errorf("logged:\n%s", got)
	}
	if kept, _, _ := ring.From(0); len(kept) != 3 {
		t.Errorf("kept: %+v", kept)
	}
}

// TestEventsEnd: Ctrl-C ends it without a complaint.
func TestEventsEnd(t *testing.T) {
	socket := serveAdmin(t, fixture(), true)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if got := execute(ctx, "events --admin-socket "+socket); got != "" {
		t.Errorf("shows:\n%s", got)
	}
}
