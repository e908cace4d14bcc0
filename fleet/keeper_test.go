package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"

	"fairway/cluster"
	"fairway/engine"
	"fairway/event"
)

// A fakeCluster keeps what package cluster has in etcd, for one host.
type fakeCluster struct {
	mu      sync.Mutex
	states  map[string]cluster.NetworkState
	news    chan struct{}
	down    bool
	history []string
}

func newFakeCluster() *fakeCluster {
	return &fakeCluster{states: map[string]cluster.NetworkState{}, news: make(chan struct{}, 1)}
}

func (f *fakeCluster) NetworkNews() <-chan struct{} { return f.news }

func (f *fakeCluster) tell() {
	select {
	case f.news <- struct{}{}:
	default:
	}
}

// set has the cluster want something, as fairway network does.
func (f *fakeCluster) set(n cluster.Network) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.states[n.Name]
	s.Network, s.Seen = n, s.Seen+1
	f.states[n.Name] = s
	f.tell()
}

func (f *fakeCluster) Networks() (all []cluster.NetworkState, fresh bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.states {
		s.On = maps.Clone(s.On)
		all = append(all, s)
	}
	return all, !f.down
}

func (f *fakeCluster) Report(_ context.Context, name string, seen int64, r cluster.NetworkReport) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.states[name]
	if f.down || s.Seen != seen {
		return errors.New("down, or changed")
	}
	s.On = maps.Clone(s.On)
	if s.On == nil {
		s.On = map[string]cluster.NetworkReport{}
	}
	s.Name, s.On["a"] = name, r
	f.states[name] = s
	f.history = append(f.history, strings.TrimSuffix(name+" "+r.State+" "+r.Why, " "))
	f.tell()
	return nil
}

func (f *fakeCluster) Unreport(_ context.Context, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.states[name]
	s.On = maps.Clone(s.On)
	delete(s.On, "a")
	f.states[name] = s
	f.history = append(f.history, name+" none")
	f.tell()
	return nil
}

func (f *fakeCluster) Retire(_ context.Context, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.states[name].On) > 0 {
		return errors.New("hosts have it")
	}
	delete(f.states, name)
	f.history = append(f.history, name+" retired")
	return nil
}

// A fakeEngine is a dockerd with networks.
type fakeEngine struct {
	mu     sync.Mutex
	all    map[string]engine.Held // by ID
	next   int
	down   error
	refuse error // what Make says
	tries  int
}

func (f *fakeEngine) Held(_ context.Context, _ string, asked func(string, map[string]string) bool) (out []engine.Held, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(f.all)) {
		if h := f.all[id]; asked(h.Name, h.Labels) {
			out = append(out, h)
		}
	}
	return out, f.down
}

func (f *fakeEngine) Make(_ context.Context, s engine.Spec) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tries++
	if f.refuse != nil {
		return f.refuse
	}
	f.next++
	id := fmt.Sprint(f.next)
	f.all[id] = engine.Held{ID: id, Name: s.Name, Ours: true, Labels: s.Labels}
	return nil
}

func (f *fakeEngine) Remove(_ context.Context, id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.all[id].Attached) > 0 {
		return errors.New("has active endpoints")
	}
	delete(f.all, id)
	return nil
}

func (f *fakeEngine) attach(names ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, h := range f.all {
		h.Attached = names
		f.all[id] = h
	}
}

// A lab is a host with a keeper.
type lab struct {
	*fakeCluster
	engine *fakeEngine
	log    *logrus.Logger
	ring   *event.Ring
	stop   func()

	remarks map[string]string // by network
}

func newLab(t *testing.T) *lab {
	l := &lab{fakeCluster: newFakeCluster(), engine: &fakeEngine{all: map[string]engine.Held{}}, log: logrus.New(), ring: event.NewRing(100)}
	l.log.SetOutput(io.Discard)
	l.log.AddHook(l.ring)
	l.start(t)
	return l
}

func (l *lab) start(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	k := New(Options{Cluster: l, Engine: l.engine, Name: "prod", Host: "a", Log: l.log, Remarks: func() map[string]string {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.remarks
	}})
	go func() { defer close(ended); _ = k.Run(ctx) }()
	l.stop = func() { cancel(); <-ended }
}

// after lets time pass and checks what was reported since the last call, and how
// many networks the engine has.
func (l *lab) after(t *testing.T, d time.Duration, networks int, history ...string) {
	t.Helper()
	time.Sleep(d)
	synctest.Wait()
	l.mu.Lock()
	got := l.history
	l.history = nil
	l.mu.Unlock()
	if !slices.Equal(got, history) {
		t.Errorf("reported %q, want %q", got, history)
	}
	l.engine.mu.Lock()
	defer l.engine.mu.Unlock()
	if len(l.engine.all) != networks {
		t.Errorf("the engine has %d networks, want %d", len(l.engine.all), networks)
	}
}

func TestKeeper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		defer func() { l.stop() }()
		n := backbone()
		l.set(n)
		l.after(t, time.Second, 1, "backbone working", "backbone made")
		n.Hosts = []string{"a", "b"} // nothing for the engine to do
		l.set(n)
		l.after(t, time.Second, 1)
		for _, remark := range []string{"names need --dns", ""} { // of the one that it made
			l.mu.Lock()
			l.remarks = map[string]string{"1": remark, "2": "another's"}
			l.mu.Unlock()
			l.after(t, idle+time.Second, 1, strings.TrimSuffix("backbone made "+remark, " "))
		}
		l.mu.Lock()
		l.remarks = nil
		l.mu.Unlock()

		// A change waits for containers, and goes on by itself.
		l.engine.attach("web")
		n.Internal = true
		l.set(n)
		l.after(t, time.Minute, 1, "backbone waiting container web is attached: it changes once it is gone")
		l.engine.attach()
		l.after(t, waiting+time.Second, 1, "backbone working", "backbone made")

		// So does its end; the record goes once nobody has it.
		l.engine.attach("db", "web")
		n.Removed = true
		l.set(n)
		l.after(t, time.Minute, 1, "backbone waiting containers db, web are attached: it goes once they are gone")
		l.engine.attach()
		l.after(t, waiting+time.Second, 0, "backbone working", "backbone none", "backbone retired")

		var kinds []string
		events, _, _ := l.ring.From(0)
		for _, e := range events {
			kinds = append(kinds, strings.TrimPrefix(e.Kind, "cluster-"))
		}
		if want := "made waiting removed made waiting removed"; strings.Join(kinds, " ") != want {
			t.Errorf("events %v, want %s", kinds, want)
		}
	})
}

// What the engine refuses is tried again, less and less often, and at once if
// something else is wanted.
func TestRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		defer func() { l.stop() }()
		l.engine.refuse = errors.New("no")
		n := backbone()
		l.set(n)
		l.after(t, time.Hour, 0, "backbone working", "backbone refused no")
		if n := l.engine.tries; n < 220 || n > 260 {
			t.Errorf("%d tries in an hour, want one every %v", n, maxRetry)
		}
		l.engine.mu.Lock()
		l.engine.refuse = nil
		l.engine.mu.Unlock()
		n.Internal = true
		l.set(n)
		l.after(t, time.Second, 1, "backbone working", "backbone made")
	})
}

// An engine that isn't there is waited for, and an etcd.
func TestOutOfReach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		defer func() { l.stop() }()
		l.engine.down = errors.New("connection refused")
		l.set(backbone())
		l.after(t, time.Minute, 0, "backbone waiting Docker's API: connection refused")
		l.engine.mu.Lock()
		l.engine.down = nil
		l.engine.mu.Unlock()
		l.after(t, maxRetry, 1, "backbone working", "backbone made")

		l.mu.Lock()
		l.down = true
		l.mu.Unlock()
		n := backbone()
		n.Removed = true
		l.set(n)
		l.after(t, time.Hour, 1)
		l.mu.Lock()
		l.down = false
		l.mu.Unlock()
		l.tell()
		l.after(t, time.Second, 0, "backbone working", "backbone none", "backbone retired")
	})
}

// A daemon that ends in the middle goes on where it was; what others have made is
// never touched, and what etcd has lost isn't removed.
func TestGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		defer func() { l.stop() }()
		l.engine.all["theirs"] = engine.Held{ID: "theirs", Name: "web", Ours: true}
		l.set(backbone())
		l.after(t, time.Second, 2, "backbone working", "backbone made")
		l.stop()
		l.engine.mu.Lock()
		maps.DeleteFunc(l.engine.all, func(id string, _ engine.Held) bool { return id != "theirs" })
		l.engine.mu.Unlock()
		l.start(t)
		l.after(t, time.Second, 2, "backbone working", "backbone made")

		web := backbone()
		web.Name = "web"
		l.set(web)
		l.after(t, time.Minute, 2, "web refused Docker has another network web on this host, theirs, which isn't the cluster's: it is left alone")

		l.mu.Lock()
		l.states = map[string]cluster.NetworkState{}
		l.mu.Unlock()
		l.tell()
		l.after(t, time.Minute, 2, "backbone left the cluster knows nothing of it: fairway network create or rm says what is to become of it")
		l.set(backbone())
		l.after(t, time.Minute, 2, "backbone made")
	})
}
