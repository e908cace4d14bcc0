//go:build e2e

package e2e

import (
	"errors"
	"sync"
	"testing"

	"fairway/test/e2e/lab"
)

// A shared host is used by one test at a time. A test that cannot leave it as
// it was takes it along: the next one gets a new host.
type shared struct {
	mu   sync.Mutex
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
	if s.host == nil {
		if err := s.start(t, engine); err != nil {
			s.mu.Unlock()
			t.Fatal(err)
		}
	}
	return s.host, func() {
		defer s.mu.Unlock()
		usable := s.host.Clean(t)
		explain(t, s.host)
		if !usable {
			if err := s.close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// tidy ends a part of a test on a shared host.
func tidy(t *testing.T, h *lab.Host) {
	t.Helper()
	if !h.Clean(t) {
		h.Accept(t)
	}
}

func (s *shared) start(t *testing.T, engine string) (err error) {
	t.Helper()
	if s.host, err = newHost(lab.Config{Name: "shared", Engine: world.tools.Engine(engine)}); err != nil {
		return err
	}
	ready := false
	defer func() {
		if !ready { // the test ends here: the next one starts anew
			explain(t, s.host)
			_ = s.close()
			s.mu.Unlock()
		}
	}()
	drivers := []string{"bridge"}
	if world.driver == "fairway" {
		s.host.StartFairway(t)
		drivers = append(drivers, "fairway")
	}
	s.host.StartEngine(t)
	s.host.Baseline(t, drivers...)
	ready = true
	return nil
}

func (s *shared) close() error {
	h := s.host
	s.host = nil
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
	for _, s := range world.hosts {
		if s.host != nil {
			errs = append(errs, s.close())
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
