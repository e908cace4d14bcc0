package driver

import (
	"context"
	"slices"
	"sync"
)

// background is work that is done behind the reply.
type background struct {
	mu   sync.Mutex
	jobs []*job        // queued or under way, in order
	wake chan struct{} // made by the worker
}

// A job is a piece of work. It may be about addresses: see settle.
type job struct {
	do    func(context.Context)
	about []claim
	taken bool
	done  chan struct{}
}

// later queues f, which is about some addresses or about none.
func (b *background) later(f func(context.Context), about ...claim) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.jobs = append(b.jobs, &job{do: f, about: about, done: make(chan struct{})})
	if b.wake != nil {
		select {
		case b.wake <- struct{}{}:
		default:
		}
	}
}

// run does what is queued until the context ends.
func (b *background) run(ctx context.Context) {
	b.mu.Lock()
	if b.wake == nil {
		b.wake = make(chan struct{}, 1)
		b.wake <- struct{}{} // what was queued before
	}
	wake := b.wake
	b.mu.Unlock()
	for {
		select {
		case <-ctx.Done():
			return
		case <-wake:
			b.drain(ctx)
		}
	}
}

// drain does all that is queued, and returns when nothing is under way or the
// context ends.
func (b *background) drain(ctx context.Context) {
	b.finish(ctx, func(*job) bool { return true })
}

// settle does what is queued about any of the addresses: those who come next
// must not be hit by what is done for those before. What somebody else does
// already is waited for, as long as the context allows.
func (b *background) settle(ctx context.Context, addresses ...claim) {
	b.finish(ctx, func(j *job) bool {
		return slices.ContainsFunc(j.about, func(c claim) bool { return slices.Contains(addresses, c) })
	})
}

// finish returns when there is no job any more that matches, or the context
// ends.
func (b *background) finish(ctx context.Context, match func(*job) bool) {
	for ctx.Err() == nil {
		b.mu.Lock()
		i := slices.IndexFunc(b.jobs, match)
		if i < 0 {
			b.mu.Unlock()
			return
		}
		j := b.jobs[i]
		mine := !j.taken
		j.taken = true
		b.mu.Unlock()
		if mine {
			b.work(ctx, j)
			continue
		}
		select {
		case <-j.done:
		case <-ctx.Done():
		}
	}
}

// work does a job: all of it, since nobody does the rest.
func (b *background) work(ctx context.Context, j *job) {
	j.do(context.WithoutCancel(ctx))
	b.mu.Lock()
	defer b.mu.Unlock()
	b.jobs = slices.DeleteFunc(b.jobs, func(o *job) bool { return o == j })
	close(j.done)
}
