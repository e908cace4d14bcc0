package main

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"fairway/doctor"
	"fairway/metrics"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"
)

// The doctor looks because somebody asks, once for all who do, and what it found
// stays until it has looked again.
func TestExaminer(t *testing.T) {
	log := logrus.New()
	log.SetOutput(io.Discard)
	x := newExaminer(config{}, log)
	looks := make(chan error)
	x.look = func(ctx context.Context) ([]doctor.Finding, error) {
		select {
		case err := <-looks:
			return []doctor.Finding{{Code: "FW020", Severity: doctor.Bad}}, err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- x.run(ctx) }()

	if found, at := x.Findings(); len(found) > 0 || !at.IsZero() {
		t.Errorf("before it looked: %v, %v", found, at)
	}
	looks <- errors.New("no")
	await(t, "the look that failed ends", func() error {
		if len(x.asked) > 0 {
			return errors.New("it is asked")
		}
		return nil
	})
	if found, at := x.Findings(); len(found) > 0 || !at.IsZero() || len(x.asked) > 0 {
		t.Errorf("after a look that failed, a moment ago: %v, %v, asked %d times", found, at, len(x.asked))
	}
	x.mu.Lock()
	x.tried = time.Time{} // long ago
	x.mu.Unlock()
	for range 3 {
		x.Findings()
	}
	looks <- nil
	await(t, "findings", func() error {
		found, at := x.Findings()
		if d := cmp.Diff([]metrics.Finding{{Code: "FW020", Severity: "bad"}}, found); d != "" || at.IsZero() {
			return errors.New(d)
		}
		return nil
	})
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
