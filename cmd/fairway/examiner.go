package main

import (
	"context"
	"sync"
	"time"

	"fairway/doctor"
	"fairway/metrics"

	"github.com/sirupsen/logrus"
)

// examineEvery is how old what the doctor found may be, for those who read
// metrics.
const examineEvery = 5 * time.Minute

// examineTime bounds one look of the doctor's.
const examineTime = 2 * time.Minute

// An examiner has the doctor look at the host now and then, as long as somebody
// asks what it found. The doctor is a process of its own: what it needs, in
// memory and in time, the daemon's calls don't have to bear.
type examiner struct {
	look   func(context.Context) ([]doctor.Finding, error)
	asked  chan struct{} // somebody did
	log    logrus.FieldLogger
	failed bool // the last look; its error is logged once

	mu    sync.Mutex
	tried time.Time // when the last look began
	found []metrics.Finding
	at    time.Time // when it was found
}

func newExaminer(c config, log logrus.FieldLogger) *examiner {
	return &examiner{
		look: func(ctx context.Context) ([]doctor.Finding, error) {
			// The daemon's own file, whatever lies at its path after an upgrade.
			return doctor.Ask(ctx, "/proc/self/exe", "doctor", "--json", "--admin-socket", c.AdminSocket)
		},
		asked: make(chan struct{}, 1), log: log,
	}
}

// Findings returns what was found last, and when. If that is long ago, or never
// was, another look begins.
func (x *examiner) Findings() ([]metrics.Finding, time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if time.Since(x.tried) > examineEvery {
		select {
		case x.asked <- struct{}{}:
		default: // one is due already
		}
	}
	return x.found, x.at
}

// run looks when it is asked, until the context ends.
func (x *examiner) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-x.asked:
			x.examine(ctx)
		}
	}
}

func (x *examiner) examine(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, examineTime)
	defer cancel()
	x.mu.Lock()
	x.tried = time.Now()
	x.mu.Unlock()
	findings, err := x.look(ctx)
	if err != nil && ctx.Err() == nil && !x.failed {
		x.log.Warn(err)
	}
	if x.failed = err != nil; x.failed {
		return
	}
	found := make([]metrics.Finding, 0, len(findings))
	for _, f := range findings {
		found = append(found, metrics.Finding{Code: f.Code, Severity: string(f.Severity)})
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.found, x.at = found, time.Now()
}
