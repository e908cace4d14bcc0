package engine

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"

	"fairway/event"
)

// Options make a Watcher.
type Options struct {
	// Socket is that of the engine's API; "": nothing is watched.
	Socket string
	// Handle is given each view, one after the other. It is the engine's whole
	// knowledge: what isn't in it, the engine doesn't know.
	Handle func(context.Context, View)
	// Asked names containers, by ID, that each view is to say of whether they
	// are there, running or not. It may be nil.
	Asked func() []string
	Log   logrus.FieldLogger
	// Interval is the longest time between two looks; 0 for 30 s.
	Interval time.Duration
}

// A Watcher looks at an engine from time to time, and when something has
// happened there.
type Watcher struct {
	opts  Options
	pace  pace
	hints chan struct{} // holds at most one: they say no more than "look"
	waits chan chan<- struct{}
}

// New returns a watcher that Run starts.
func New(opts Options) *Watcher {
	return &Watcher{
		opts:  opts,
		pace:  pace{interval: cmp.Or(opts.Interval, 30*time.Second), settle: 200 * time.Millisecond, pause: time.Second},
		hints: make(chan struct{}, 1),
		waits: make(chan chan<- struct{}),
	}
}

// Refresh asks for a look soon. It never waits, so a call of the plugin protocol
// may use it.
func (w *Watcher) Refresh() {
	select {
	case w.hints <- struct{}{}:
	default: // one is asked for already, and it is yet to begin
	}
}

// Look waits until a view has been handled that the engine was asked for after
// the call, which is done at once: somebody waits. It gives up when ctx ends, and
// where no engine is watched. No call of the plugin protocol may use it.
func (w *Watcher) Look(ctx context.Context) error {
	if w.opts.Socket == "" {
		return errors.New("engine: none is watched")
	}
	done := make(chan struct{})
	select {
	case w.waits <- done:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Tries to reach an engine are made after minRetry, then after twice as long
// each time, up to maxRetry.
const (
	minRetry = time.Second
	maxRetry = 30 * time.Second
)

// Run watches until ctx ends; it returns nil. An engine that isn't there is
// tried again: quietly, as it may never come.
func (w *Watcher) Run(ctx context.Context) error {
	if w.opts.Socket == "" {
		<-ctx.Done()
		return nil
	}
	retry, quiet := minRetry, false
	for {
		reached, err := w.session(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if reached {
			retry, quiet = minRetry, false
		}
		log := w.opts.Log.WithField("socket", w.opts.Socket).WithError(err)
		if quiet {
			log.Debug("engine: still out of reach")
		} else {
			log.WithField(event.Field, event.DockerLost).Info("engine: out of reach; names aren't known until it is back")
		}
		quiet = true
		if !w.waitToRetry(ctx, retry) {
			return nil
		}
		retry = min(2*retry, maxRetry)
	}
}

// waitToRetry waits, less if a hint comes: the engine has just called, so it is
// there. It reports whether ctx goes on.
func (w *Watcher) waitToRetry(ctx context.Context, retry time.Duration) bool {
	soonest := time.After(minRetry)
	select {
	case <-ctx.Done():
		return false
	case <-soonest:
	}
	select {
	case <-ctx.Done():
		return false
	case <-w.hints:
		w.Refresh() // the next session's first look answers it
	case <-time.After(retry - minRetry):
	}
	return true
}

// session watches one run of an engine, from its identity to the end of its
// events, and reports whether there was a view.
func (w *Watcher) session(ctx context.Context) (reached bool, err error) {
	c := newClient(w.opts.Socket)
	defer c.close()
	id, version, err := c.identify(ctx)
	if err != nil {
		return false, err
	}
	if id == "" {
		return false, errors.New("engine: it doesn't tell its data-root")
	}
	log := w.opts.Log.WithFields(logrus.Fields{"engine": id, "version": version})
	started := make(chan struct{})
	tasks, ctx := errgroup.WithContext(ctx)
	tasks.Go(func() error {
		return c.events(ctx, func() { close(started) }, w.Refresh, w.asked)
	})
	tasks.Go(func() error {
		select { // so that nothing happens unseen between the first look and the first event
		case <-started:
		case <-ctx.Done():
			return nil
		}
		return w.pace.run(ctx, w.hints, w.waits, func() error {
			v, err := c.look(ctx, id, w.asked())
			if err != nil {
				return err
			}
			v.Version = version
			if !reached {
				log.WithField(event.Field, event.DockerFound).Info("engine: watched")
			}
			reached = true
			w.opts.Handle(ctx, v)
			return nil
		})
	})
	err = tasks.Wait()
	return reached, err
}

func (w *Watcher) asked() []string {
	if w.opts.Asked == nil {
		return nil
	}
	return w.opts.Asked()
}

// A pace says when to look.
type pace struct {
	interval time.Duration // at the latest
	settle   time.Duration // after a hint: more may follow
	pause    time.Duration // between two looks, at least
}

// restFactor is how many times as long as a look took the next one waits: so the
// engine spends a tenth of one CPU on us at most, however much happens there.
const restFactor = 10

// run looks at once, then after each interval, and after hints: many of them
// cause one look. Who waits is looked for at once, and told by closing what it
// sent. It returns when a look fails, or nil when ctx ends.
func (p pace) run(ctx context.Context, hints <-chan struct{}, waits <-chan chan<- struct{}, look func() error) error {
	var waiting []chan<- struct{}
	for {
		select {
		case <-hints: // this look answers it
		default:
		}
		start := time.Now()
		if err := look(); err != nil {
			return err
		}
		for _, w := range waiting {
			close(w)
		}
		waiting = nil
		end := time.Now()
		soonest := end.Add(max(p.pause, restFactor*end.Sub(start)))
		select {
		case <-ctx.Done():
			return nil
		case w := <-waits:
			waiting = append(waiting, w)
			continue
		case <-time.After(max(p.interval, soonest.Sub(end))):
			continue
		case <-hints:
		}
		select {
		case <-ctx.Done():
			return nil
		case w := <-waits:
			waiting = append(waiting, w)
		case <-time.After(max(p.settle, time.Until(soonest))):
		}
	}
}
