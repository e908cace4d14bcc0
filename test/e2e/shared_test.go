//go:build e2e

package e2e

import (
	"errors"
	"sync"
	"testing"

	"fairway/test/e2e/lab"
)

// A shared host is used by one test at a time.
type shared struct {
	mu   sync.Mutex
	once sync.Once
	host *lab.Host
}

// on runs a test on the shared host of each engine. What the test leaves on
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

// borrow waits for an engine's shared host.
func borrow(t *testing.T, engine string) (*lab.Host, func()) {
	t.Helper()
	world.mu.Lock()
	s := world.hosts[engine]
	if s == nil {
		if world.hosts == nil {
			world.hosts = map[string]*shared{}
		}
		s = &shared{}
		world.hosts[engine] = s
	}
	world.mu.Unlock()
	s.mu.Lock()
	s.once.Do(func() {
		h, err := newHost(lab.Config{Name: "shared", Engine: world.tools.Engine(engine)})
		if err != nil {
			t.Error(err)
			return
		}
		s.host = h
		drivers := []string{"bridge"}
		if world.driver == "fairway" {
			h.StartFairway(t)
			drivers = append(drivers, "fairway")
		}
		h.StartEngine(t)
		h.Baseline(t, drivers...)
	})
	if s.host == nil {
		s.mu.Unlock()
		t.Fatal("the shared host of engine " + engine + " did not start")
	}
	return s.host, func() {
		defer s.mu.Unlock()
		s.host.Clean(t)
		explain(t, s.host)
	}
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
	for _, s := range world.hosts {
		if s.host != nil {
			errs = append(errs, s.host.Close(), s.host.LAN.Close())
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
