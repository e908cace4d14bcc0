package model

import (
	"context"
	"fmt"
	"maps"
	"time"

	"fairway/beside"
	"fairway/nat"
	"fairway/store"
)

// A table of a sandbox is for one endpoint of it.
type insideKey struct{ sandbox, endpoint string }

// sandboxes is a process's nftables.Inside.
type sandboxes struct{ *process }

func (s sandboxes) Apply(_ context.Context, sandbox, endpoint string, ports []nat.Port) error {
	return s.do("nftables.inside", func() error {
		k := insideKey{sandbox, endpoint}
		delete(s.kernel.inboxes, k)
		if s.kernel.sandboxes[sandbox] && len(ports) > 0 {
			s.kernel.inboxes[k] = text(ports)
		}
		return nil
	})
}

func (s sandboxes) Check(_ context.Context, sandbox, endpoint string, ports []nat.Port) (what string, err error) {
	err = s.look(func() {
		has, want := s.kernel.inboxes[insideKey{sandbox, endpoint}], ""
		if len(ports) > 0 {
			want = text(ports)
		}
		if s.kernel.sandboxes[sandbox] && has != want {
			what = "was " + has
		}
	})
	return what, err
}

// untilEntered is how long it takes until a sandbox that came after Join is
// found.
const untilEntered = 50 * time.Millisecond

// checkInside: what comes to containers' own addresses is translated in their
// sandboxes as the records say, and nothing else is. What a daemon that died
// while it removed an endpoint has left in a sandbox that lives on isn't found by
// the next one, which knows no such endpoint: it is for an address that is gone.
func (w *world) checkInside(s store.Records) error {
	g, ok := w.g.(*memory)
	if !ok {
		return nil
	}
	want := map[insideKey]string{}
	for id, e := range s.Endpoints {
		if ports := beside.Inside(e); len(ports) > 0 && e.Sandbox != "" && w.g.alive(e.Sandbox) {
			want[insideKey{e.Sandbox, id}] = text(ports)
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	have := maps.Clone(g.kernel.inboxes)
	maps.DeleteFunc(have, func(k insideKey, _ string) bool {
		e, known := s.Endpoints[k.endpoint]
		return w.lives > 1 && (!known || e.Sandbox != k.sandbox)
	})
	if !maps.Equal(have, want) {
		return fmt.Errorf("I5: sandboxes translate\n\t%v\nwant\n\t%v", have, want)
	}
	return nil
}
