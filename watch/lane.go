package watch

import (
	"context"
	"time"
)

// When a lane looks.
const (
	// settle is how long a lane lets more come before it looks: one command
	// makes many changes.
	settle = 20 * time.Millisecond
	// least and most are the pause after a look that found something, and after
	// many that found nothing or one that took long.
	least = 100 * time.Millisecond
	most  = 2 * time.Second
	// share is how many times as long as a look the pause after it is at least,
	// but for most: a look may have waited for others.
	share = 3
)

// A lane looks when it was woken: soon, then with pauses, and never more than
// once for what came before the look.
type lane struct {
	wakes chan struct{}
	look  func(context.Context) (found bool)
}

func newLane(look func(context.Context) bool) *lane {
	return &lane{wakes: make(chan struct{}, 1), look: look}
}

// wake asks for a look. It never waits.
func (l *lane) wake() {
	select {
	case l.wakes <- struct{}{}:
	default: // one is due already
	}
}

// run looks until the context ends. The first look comes settle after the
// first wake, however many follow it.
func (l *lane) run(ctx context.Context) {
	pause := least
	for {
		idle := time.Now()
		select {
		case <-ctx.Done():
			return
		case <-l.wakes:
		}
		if time.Since(idle) >= most {
			pause = least
		}
		if !sleep(ctx, settle) {
			return
		}
		select { // what came meanwhile is in this look
		case <-l.wakes:
		default:
		}
		start := time.Now()
		if l.look(ctx) {
			pause = least
		} else {
			pause = min(2*pause, most)
		}
		if !sleep(ctx, min(max(pause, share*time.Since(start)), most)) {
			return
		}
	}
}

// sleep reports false if the context ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
