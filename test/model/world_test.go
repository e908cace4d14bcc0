package model

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"
)

// foreignPort is a port that a process of the host has.
const foreignPort = 9999

// grace is how long what seems to be stale is left alone.
const grace = 20 * time.Second

// A world is a machine with a daemon, the engines that use it, and the model
// that says what must be.
type world struct {
	g       ground
	dockers map[string]*docker
	foreign []string // what isn't ours in the kernel, at the beginning

	mu      sync.Mutex // guards the following; never held while time passes
	model   *model
	own     map[netip.Addr]bool // what Docker's own IPAM gave out
	macs    int
	history []request
	err     error // the first thing that was found wrong

	reviving chan struct{} // held while a dead daemon is replaced
	started  bool
	again    fault // strikes in the next recovery
	recovery int   // steps of the last recovery
	took     int   // steps of the last line, or of the recovery from it
	lives    int

	patience time.Duration // until the ground must have settled

	trouble trouble
	calls   int // in this step of the sequence
}

// A trouble is what happens to the protocol during one line of a sequence.
type trouble struct {
	lose int  // the reply of this call is lost
	cut  int  // dockerd dies after this call
	dup  bool // each call that may be repeated is
}

func newWorld(g ground) *world {
	w := &world{
		g: g, own: map[netip.Addr]bool{},
		dockers: map[string]*docker{}, reviving: make(chan struct{}, 1),
	}
	w.model = newModel(&w.mu)
	for _, name := range engines {
		w.dockers[name] = newDocker(w, name)
	}
	w.model.alive, w.model.engine = g.alive, g.engine
	_, w.foreign = g.lines()
	w.revive()
	return w
}

// fail notes that something is wrong. Only the first thing counts.
func (w *world) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
}

// call sends a request for dockerd, tells the model, and returns what dockerd
// gets to know.
func (w *world) call(d *docker, r request) outcome {
	w.mu.Lock()
	w.calls++
	n, t := w.calls, w.trouble
	if t.cut > 0 && n > t.cut {
		d.gone = true
		w.mu.Unlock()
		return outcome{lost: true}
	}
	w.mu.Unlock()
	o := w.send(r, true)
	if n == t.cut {
		w.mu.Lock()
		d.gone = true
		w.mu.Unlock()
	}
	if t.dup && repeatable(r) {
		again := w.send(r, true)
		if o.ok() && (again.refused != "" && !w.model.excused || again.ok() && text(again.reply) != text(o.reply)) {
			w.fail(fmt.Errorf("%s: repeated: %+v, want %+v", r, again, o))
		}
	}
	if n == t.lose {
		return outcome{lost: true}
	}
	return o
}

// repeatable reports whether the same request must get the same answer at once.
func repeatable(r request) bool { return r.method != "RequestPool" && r.method != "RequestAddress" }

// send posts a request and compares what comes of it with the model.
func (w *world) send(r request, docker bool) outcome {
	w.revive()
	o := w.g.post(r)
	w.revive()
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := w.trouble.lose; docker && n > 0 && n == w.calls {
		docker = false // dockerd hears nothing of it
	}
	w.history = append(w.history, r)
	if err := w.model.observe(r, o, docker); err != nil && w.err == nil {
		w.err = err
	}
	return o
}

// revive starts a new daemon where the last one has died.
func (w *world) revive() {
	w.reviving <- struct{}{}
	defer func() { <-w.reviving }()
	for !w.g.lives() {
		if w.started {
			w.mu.Lock()
			w.model.relive()
			w.mu.Unlock()
		}
		w.started = true
		w.g.arm(w.again)
		w.again = fault{}
		if err := w.g.boot(w.model.torn); err != nil {
			w.fail(fmt.Errorf("start: %w", err))
			if !w.g.lives() {
				panic(err)
			}
		}
		w.mu.Lock()
		w.lives++
		w.recovery = w.g.taken()
		w.mu.Unlock()
	}
}

// settle lets everything that was answered be done, and compares the world
// with the model. Repair: something was broken that Run will mend.
func (w *world) settle(repair bool) error {
	w.g.arm(fault{})
	w.revive()
	w.g.arm(fault{}) // one that was due in a recovery, and didn't strike
	w.revive()
	if err := w.g.quiesce(); err != nil {
		return fmt.Errorf("quiesce: %w", err)
	}
	if repair && w.g.restarts() {
		w.model.relive()
	}
	if repair {
		if err := w.g.repair(); err != nil {
			return fmt.Errorf("repair: %w", err)
		}
	}
	if w.err != nil {
		return w.err
	}
	return w.await()
}

// await checks until all is well, as long as is allowed.
func (w *world) await() error {
	for start := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		m := w.model.clone()
		err := w.check()
		var final finalError
		if err == nil || time.Since(start) >= w.patience || errors.As(err, &final) {
			return err
		}
		w.model = m
	}
}

// A finalError doesn't become right by waiting.
type finalError struct{ error }

// mayBeStale notes that time has passed in which what seems stale may have been
// removed.
func (w *world) mayBeStale() {
	w.mu.Lock()
	defer w.mu.Unlock()
	known := map[string]bool{}
	for _, d := range w.dockers {
		networks, endpoints, pools := d.knows()
		for _, ids := range []map[string]bool{networks, endpoints, pools} {
			for id := range ids {
				known[id] = true
			}
		}
	}
	maybe(w.model.networks, known)
	maybe(w.model.endpoints, known)
	maybe(w.model.pools, known)
}

func maybe[T comparable](fates map[string]*fate[T], known map[string]bool) {
	for id, f := range fates {
		if !known[id] && !f.absent() {
			f.add(nil)
		}
	}
}
