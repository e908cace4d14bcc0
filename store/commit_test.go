package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Calls that come in during a commit share the next one, in their order.
func TestGroupCommit(t *testing.T) {
	var steps []string
	began, goOn := make(chan bool), make(chan bool)
	s := open(t, t.TempDir(), Options{Step: func(name string) {
		steps = append(steps, name)
		if len(steps) == 1 {
			began <- true
			<-goOn
		}
	}})
	first := s.Begin(PutNetwork(Network{ID: "n", MTU: -1}))
	<-began
	var rest []<-chan error
	for i := range 100 {
		rest = append(rest, s.Begin(PutNetwork(Network{ID: "n", MTU: i}), PutNetwork(Network{ID: fmt.Sprint(i)})))
	}
	select {
	case err := <-first:
		t.Fatalf("told %v before the commit", err)
	default:
	}
	goOn <- true
	for _, done := range append(rest, first) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	r := mustRecords(t, s)
	if len(r.Networks) != 101 || r.Networks["n"].MTU != 99 {
		t.Errorf("%d networks, the last write of n is %d; want 101, 99", len(r.Networks), r.Networks["n"].MTU)
	}
	if want := []string{"store.commit", "store.committed", "store.commit", "store.committed"}; !slices.Equal(steps, want) {
		t.Errorf("steps %v, want two commits", steps)
	}
}

// Nobody is told before the step "store.committed" has returned.
func TestCommittedBeforeTold(t *testing.T) {
	var done <-chan error
	var told bool
	ready := make(chan bool)
	s := open(t, t.TempDir(), Options{Step: func(name string) {
		<-ready
		told = told || len(done) > 0
	}})
	done = s.Begin(PutNetwork(Network{ID: "n"}))
	close(ready)
	if err := <-done; err != nil || told {
		t.Errorf("err %v, told early %v", err, told)
	}
}

func TestCloseDrains(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	var all []<-chan error
	for i := range 50 {
		all = append(all, s.Begin(PutNetwork(Network{ID: fmt.Sprint(i)})))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, done := range all {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if n := len(mustRecords(t, open(t, dir, Options{})).Networks); n != 50 {
		t.Errorf("%d networks, want 50", n)
	}
}

func TestCommitContextEndsTheWait(t *testing.T) {
	goOn := make(chan bool)
	s := open(t, t.TempDir(), Options{Step: func(string) { <-goOn }})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := s.Commit(ctx, PutNetwork(Network{ID: "n"}))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Commit: %v, want context.Canceled", err)
	}
	close(goOn)
}

// Changes that no commit could take fail by themselves.
func TestBeginRefuses(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	for name, c := range map[string]Change{
		"unknown kind": {kind: "meta", key: "schema"},
		"no key":       PutNetwork(Network{}),
		"long key":     DeleteNetwork(strings.Repeat("x", 40000)),
		"no JSON":      {kind: kindNetwork, key: "x", record: func() {}},
	} {
		if err := s.Commit(t.Context(), PutNetwork(Network{ID: "beside"}), c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if n := len(mustRecords(t, s).Networks); n != 0 {
		t.Errorf("%d networks beside a refused change", n)
	}
}

// A commit whose last sync failed has told its callers so: the next one takes
// its changes back.
func TestFailedButSeenIsTakenBack(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	if err := s.Commit(t.Context(), PutNetwork(Network{ID: "old", MTU: 1}), PutNetwork(Network{ID: "gone", MTU: 1})); err != nil {
		t.Fatal(err)
	}
	writes, err := encodeAll([]Change{PutNetwork(Network{ID: "old", MTU: 2}), PutNetwork(Network{ID: "new", MTU: 2}), DeleteNetwork("gone")})
	if err != nil {
		t.Fatal(err)
	}
	// The transaction of a commit, and then what commit does when it fails.
	before := map[place][]byte{}
	id, err := s.update([]call{{writes: writes}}, before)
	if err != nil {
		t.Fatal(err)
	}
	if !s.seen(id) || s.seen(id+1) || s.seen(id-1) {
		t.Error("seen doesn't tell the last transaction from others")
	}
	s.doubtful = before

	if err := s.Commit(t.Context(), PutNetwork(Network{ID: "next"})); err != nil {
		t.Fatal(err)
	}
	got := mustRecords(t, s).Networks
	if len(got) != 3 || got["old"].MTU != 1 || got["gone"].MTU != 1 || got["next"].ID == "" {
		t.Errorf("after the next commit: %+v", got)
	}
	if len(s.doubtful) != 0 {
		t.Errorf("%d still doubtful", len(s.doubtful))
	}
}

// A panic of bbolt ends the store's service, not the daemon.
func TestPanicIsContained(t *testing.T) {
	s, err := Open(t.TempDir(), Options{}) // without the check at the end: bbolt's lock stays
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.mu.Lock()
	done := make(chan error, 1)
	s.queue = append(s.queue, call{[]write{{place{"no such bucket", "x"}, []byte("x")}}, done})
	s.done = make(chan struct{})
	go s.commitQueued(s.done)
	s.mu.Unlock()
	if err := <-done; !errors.Is(err, ErrDamaged) {
		t.Errorf("got %v, want ErrDamaged", err)
	}
	if err := s.Commit(t.Context(), PutNetwork(Network{ID: "n"})); !errors.Is(err, ErrDamaged) {
		t.Errorf("commit after a panic: %v, want ErrDamaged", err)
	}
}

func TestManyCallers(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	want := NewRecords()
	var wg sync.WaitGroup
	for caller := range 32 {
		for i := range 10 {
			want.Apply(sample(caller*10 + i)...)
		}
		wg.Go(func() {
			for i := range 10 {
				if err := s.Commit(t.Context(), sample(caller*10+i)...); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if d := diff(want, mustRecords(t, s)); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}
