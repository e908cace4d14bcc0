package driver

import (
	"context"
	"sync"
)

// background is work that is done behind the reply, in order, by one worker.
type background struct {
	mu    sync.Mutex
	queue []func(context.Context)
	wake  chan struct{} // made by the worker
	busy  chan struct{} // holds a token while a piece of work is done
}

func newBackground() background { return background{busy: make(chan struct{}, 1)} }

// later queues f.
func (b *background) later(f func(context.Context)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.queue = append(b.queue, f)
	if b.wake != nil {
		select {
		case b.wake <- struct{}{}:
		default:
		}
	}
}

// awake returns the channel that says that something is queued.
func (b *background) awake() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.wake == nil {
		b.wake = make(chan struct{}, 1)
		b.wake <- struct{}{} // what was queued before
	}
	return b.wake
}

// drain does all that is queued, and returns when nothing is under way or the
// context ends.
func (b *background) drain(ctx context.Context) {
	select {
	case b.busy <- struct{}{}:
	case <-ctx.Done():
		return
	}
	defer func() { <-b.busy }()
	for {
		b.mu.Lock()
		queue := b.queue
		b.queue = nil
		b.mu.Unlock()
		if len(queue) == 0 {
			return
		}
		for _, f := range queue {
			f(ctx)
		}
	}
}
