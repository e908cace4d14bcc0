package driver

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

// exclusive is the weight of a lock that is held alone.
const exclusive = 1 << 30

// locks are the driver's locks, taken in this order: the world (shared by
// calls, exclusive for Reconcile), an endpoint (exclusive), a network (shared by
// its endpoints' calls, exclusive for its own), a link of the host that networks share
// (exclusive for the calls of networks). Waiting ends with the context.
type locks struct {
	once  sync.Once
	world *semaphore.Weighted

	mu   sync.Mutex
	keys map[string]*keyLock
}

type keyLock struct {
	sem   *semaphore.Weighted
	users int
}

func (l *locks) init() {
	l.once.Do(func() {
		l.world = semaphore.NewWeighted(exclusive)
		l.keys = map[string]*keyLock{}
	})
}

// A held is locks that one call holds.
type held []func()

func (h held) release() {
	for i := len(h) - 1; i >= 0; i-- {
		h[i]()
	}
}

// network locks a network alone.
func (l *locks) network(ctx context.Context, id string) (held, error) {
	return l.take(ctx, step{"network " + id, exclusive})
}

// endpoint locks an endpoint alone and its network shared.
func (l *locks) endpoint(ctx context.Context, network, id string) (held, error) {
	return l.take(ctx, step{"endpoint " + id, exclusive}, step{"network " + network, 1})
}

type step struct {
	key    string
	weight int64
}

func (l *locks) take(ctx context.Context, steps ...step) (h held, err error) {
	l.init()
	if err := l.world.Acquire(ctx, 1); err != nil {
		return nil, fmt.Errorf("busy repairing: %w", err)
	}
	h = append(h, func() { l.world.Release(1) })
	for _, s := range steps {
		more, err := l.one(ctx, s)
		if err != nil {
			h.release()
			return nil, err
		}
		h = append(h, more...)
	}
	return h, nil
}

// alone locks a key, for a caller that shares the world already.
func (l *locks) alone(ctx context.Context, key string) (held, error) {
	return l.one(ctx, step{key, exclusive})
}

func (l *locks) one(ctx context.Context, s step) (held, error) {
	k := l.use(s.key)
	if err := k.sem.Acquire(ctx, s.weight); err != nil {
		l.unuse(s.key)
		return nil, fmt.Errorf("another call for %s is under way: %w", s.key, err)
	}
	return held{func() { k.sem.Release(s.weight); l.unuse(s.key) }}, nil
}

// Calls that come while everything waits for those under way wait as well: for
// patience at most, and then everything lets them go first for a pause, which is
// longer each time. So one slow call doesn't hold up all others, and a repair
// comes soon among quick ones.
const (
	patience   = 100 * time.Millisecond
	firstPause = 50 * time.Millisecond
	longest    = time.Second
)

// everything locks the world alone.
func (l *locks) everything(ctx context.Context) (held, error) {
	l.init()
	for pause := firstPause; ; pause = min(2*pause, longest) {
		try, cancel := context.WithTimeout(ctx, patience)
		err := l.world.Acquire(try, exclusive)
		cancel()
		if err == nil {
			return held{func() { l.world.Release(exclusive) }}, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(pause):
		}
	}
}

func (l *locks) use(key string) *keyLock {
	l.mu.Lock()
	defer l.mu.Unlock()
	k, ok := l.keys[key]
	if !ok {
		k = &keyLock{sem: semaphore.NewWeighted(exclusive)}
		l.keys[key] = k
	}
	k.users++
	return k
}

func (l *locks) unuse(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k := l.keys[key]; k.users == 1 {
		delete(l.keys, key)
	} else {
		k.users--
	}
}
