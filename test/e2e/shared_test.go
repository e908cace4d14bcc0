//go:build e2e

package e2e

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"

	"fairway/test/e2e/lab"
)

// sharedHosts is how many hosts of one engine the tests use at a time: what they
// mostly do is wait, but two cores carry no more.
const sharedHosts = 2

// A pool has the hosts of one engine that tests share.
type pool struct {
	engine string
	room   chan struct{} // held for each host that is in use

	mu   sync.Mutex
	idle []*lab.Host // the last one used is the first one taken
	all  map[*lab.Host]bool
}

// on runs a test on a shared host of each engine. What the test leaves on
// the host is removed, and that nothing else stays is checked.
func on(t *testing.T, engines []string, test func(t *testing.T, h *lab.Host)) {
	t.Parallel()
	for _, e := range engines {
		t.Run(e, func(t *testing.T) {
			t.Parallel()
			h, release := borrow(t, e)
			defer release()
			test(t, h)
		})
	}
}

// borrow waits for a shared host of an engine, which one test uses at a time. A
// test that cannot leave it as it was takes it along: the next one gets a new one.
func borrow(t *testing.T, engine string) (*lab.Host, func()) {
	t.Helper()
	p := poolOf(engine)
	p.room <- struct{}{}
	h := p.take()
	if h == nil {
		var err error
		if h, err = p.start(t); err != nil {
			<-p.room
			t.Fatal(err)
		}
	}
	return h, func() {
		defer func() { <-p.room }()
		usable := h.Clean(t)
		explain(t, h)
		if usable {
			p.give(h)
		} else if err := p.close(h); err != nil {
			t.Error(err)
		}
	}
}

func poolOf(engine string) *pool {
	world.mu.Lock()
	defer world.mu.Unlock()
	if world.hosts == nil {
		world.hosts = map[string]*pool{}
	}
	p := world.hosts[engine]
	if p == nil {
		p = &pool{engine: engine, room: make(chan struct{}, sharedHosts), all: map[*lab.Host]bool{}}
		world.hosts[engine] = p
	}
	return p
}

// tidy ends a part of a test on a shared host.
func tidy(t *testing.T, h *lab.Host) {
	t.Helper()
	if !h.Clean(t) {
		h.Accept(t)
	}
}

// take returns a host that runs, or nil.
func (p *pool) take() (h *lab.Host) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.idle); n > 0 {
		h, p.idle = p.idle[n-1], p.idle[:n-1]
	}
	return h
}

func (p *pool) give(h *lab.Host) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = append(p.idle, h)
}

// start makes one more host.
func (p *pool) start(t *testing.T) (*lab.Host, error) {
	t.Helper()
	h, err := newHost(lab.Config{Name: "shared", Engine: world.tools.Engine(p.engine)})
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	p.all[h] = true
	p.mu.Unlock()
	ready := false
	defer func() {
		if !ready { // the test ends here: the next one starts anew
			explain(t, h)
			_ = p.close(h)
			<-p.room
		}
	}()
	drivers := []string{"bridge"}
	if world.driver == "fairway" {
		h.StartFairway(t)
		drivers = append(drivers, "fairway")
	}
	h.StartEngine(t)
	h.Baseline(t, drivers...)
	ready = true
	return h, nil
}

func (p *pool) close(h *lab.Host) error {
	p.mu.Lock()
	delete(p.all, h)
	p.mu.Unlock()
	return errors.Join(h.Close(), h.LAN.Close())
}

// explain shows the ends of the daemons' logs when a test failed.
func explain(t *testing.T, h *lab.Host) {
	if t.Failed() {
		t.Logf("%s: end of fairway's log:\n%s", h.Name, h.Log("fairway", 25))
		t.Logf("%s: end of dockerd's log:\n%s", h.Name, h.Log("dockerd", 10))
	}
}

func closeShared() error {
	world.mu.Lock()
	defer world.mu.Unlock()
	var errs []error
	for _, p := range world.hosts {
		p.mu.Lock()
		hosts := slices.Collect(maps.Keys(p.all))
		p.mu.Unlock()
		for _, h := range hosts {
			errs = append(errs, p.close(h))
		}
	}
	world.hosts = nil
	return errors.Join(errs...)
}

// own makes a host for one test alone.
func own(t *testing.T, config lab.Config) *lab.Host {
	t.Helper()
	h, err := newHost(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		explain(t, h)
		if err := errors.Join(h.Close(), h.LAN.Close()); err != nil {
			t.Error(err)
		}
	})
	return h
}

// newHost makes a host on a LAN of its own: hosts use the same subnets, which
// one neighbour could not tell apart.
func newHost(config lab.Config) (*lab.Host, error) {
	lan, err := lab.NewLAN(world.tools)
	if err != nil {
		return nil, err
	}
	h, err := lan.NewHost(config)
	if err != nil {
		return nil, errors.Join(err, lan.Close())
	}
	return h, nil
}
