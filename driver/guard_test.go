package driver_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"

	"fairway/nat"
	"fairway/store"
)

// A fakeGuard remembers what ports it holds.
type fakeGuard struct {
	mu    sync.Mutex
	ports map[string]nat.Guarded
	err   error
}

func (g *fakeGuard) Apply(_ context.Context, put ...nat.Guarded) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range put {
		if g.err == nil {
			g.ports[p.ID] = p
		}
	}
	return g.err
}

func (g *fakeGuard) Remove(_ context.Context, gone ...nat.Guarded) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range gone {
		delete(g.ports, p.ID)
	}
	return nil
}

func (g *fakeGuard) Reconcile(_ context.Context, want []nat.Guarded) (found []nat.Repair, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range want {
		if _, ok := g.ports[p.ID]; !ok {
			found = append(found, nat.Repair{What: p.ID})
		}
		g.ports[p.ID] = p
	}
	return found, nil
}

func (g *fakeGuard) Repair(context.Context) ([]nat.Repair, error) { return nil, nil }

func (g *fakeGuard) held() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Sorted(maps.Keys(g.ports))
}

// A port is guarded once Join has answered, Join fails if it can't be, nothing
// of it is left when the endpoint is gone, and what is about to be done isn't
// taken for a loss.
func TestGuard(t *testing.T) {
	w := newWorld()
	g := &fakeGuard{ports: map[string]nat.Guarded{}}
	w.guard = g
	d := w.start(t, store.Records{})
	ctx := t.Context()
	must(t, d.CreateNetwork(ctx, network))
	create := func(id, ip string, options ...string) {
		t.Helper()
		s := endpoint(id, ip)
		if len(options) > 0 {
			s.Options = map[string]string{options[0]: options[1]}
		}
		_, err := d.CreateEndpoint(ctx, s)
		must(t, err)
	}
	create("e1", "10.1.0.2/24", "allow_addresses", "172.30.0.9,10.8.0.0/16")
	if n, err := d.Reconcile(ctx); n != 0 || err != nil {
		t.Errorf("after CreateEndpoint: %d repaired, %v; want none", n, err)
	}
	_, err := d.Join(ctx, "n1", "e1", "/sandbox/1")
	must(t, err)
	if p := g.ports["e1"]; len(p.Addresses) != 2 || len(p.Prefixes) != 1 || len(p.MACs) != 1 {
		t.Errorf("guarded: %+v", p)
	}
	create("e2", "10.1.0.3/24", "antispoof", "false")
	_, err = d.Join(ctx, "n1", "e2", "/sandbox/2")
	must(t, err)
	g.err = errors.New("no")
	create("e3", "10.1.0.4/24")
	if _, err := d.Join(ctx, "n1", "e3", "/sandbox/3"); !errors.Is(err, g.err) {
		t.Errorf("Join without a guard: %v, want its error", err)
	}
	g.err = nil
	_, err = d.Join(ctx, "n1", "e3", "/sandbox/3")
	must(t, err)
	create("e4", "10.1.0.5/24") // never joined
	must(t, d.DeleteEndpoint(ctx, "n1", "e4"))
	must(t, d.Quiesce(ctx))
	if got := g.held(); !slices.Equal(got, []string{"e1", "e3"}) {
		t.Errorf("guarded: %v, want e1 and e3", got)
	}
	must(t, d.DeleteEndpoint(ctx, "n1", "e1"))
	must(t, d.DeleteNetwork(ctx, "n1"))
	if got := g.held(); len(got) > 0 {
		t.Errorf("guarded after all is gone: %v", got)
	}
}
