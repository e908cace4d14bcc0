package fleet

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/sirupsen/logrus"

	"fairway/cluster"
	"fairway/engine"
	"fairway/event"
)

// A Cluster says what networks there are to be, and is told of those here.
type Cluster interface {
	Networks() (all []cluster.NetworkState, fresh bool)
	NetworkNews() <-chan struct{}
	Report(ctx context.Context, name string, seen int64, r cluster.NetworkReport) error
	Unreport(ctx context.Context, name string) error
	Retire(ctx context.Context, name string) error
}

// An Engine makes and removes networks of this host.
type Engine interface {
	Held(ctx context.Context, label string, asked func(name string, labels map[string]string) bool) ([]engine.Held, error)
	Make(ctx context.Context, s engine.Spec) error
	Remove(ctx context.Context, id string) error
}

// Options make a Keeper. All but Remarks are required.
type Options struct {
	Cluster Cluster
	Engine  Engine
	Name    string // the cluster's
	Host    string // this host's name in it
	// Remarks returns what an operator should know of networks, by ID.
	Remarks func() map[string]string
	Log     logrus.FieldLogger
}

// How long until the next look.
const (
	settle   = 50 * time.Millisecond // after news: more may follow
	waiting  = 2 * time.Second       // containers are in the way, or another network is
	idle     = 30 * time.Second
	minRetry = time.Second // after a refusal, twice as long each time
	maxRetry = 15 * time.Second
)

// A Keeper keeps the cluster's networks on this host.
type Keeper struct {
	opts  Options
	retry map[string]retry // by network
	lost  time.Duration    // how long the next try to reach the engine waits; 0: it was reached
}

// A retry says when what the engine refused is tried again.
type retry struct {
	revision string // of what it refused
	wait     time.Duration
	due      time.Time
}

// New returns a Keeper that Run starts.
func New(o Options) *Keeper { return &Keeper{opts: o, retry: map[string]retry{}} }

// Run keeps the networks until ctx ends; it returns nil.
func (k *Keeper) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		again := time.NewTimer(k.pass(ctx))
		select {
		case <-ctx.Done():
		case <-k.opts.Cluster.NetworkNews():
			select {
			case <-ctx.Done():
			case <-time.After(settle):
			}
		case <-again.C:
		}
		again.Stop()
	}
	return nil
}

// pass takes each network as far as it gets, and returns when the next pass is due.
func (k *Keeper) pass(ctx context.Context) (next time.Duration) {
	all, fresh := k.opts.Cluster.Networks()
	if !fresh {
		return idle // there is news when it is
	}
	states := map[string]cluster.NetworkState{}
	for _, s := range all {
		states[s.Name] = s
	}
	held, err := k.opts.Engine.Held(ctx, LabelCluster, func(name string, labels map[string]string) bool {
		_, ok := states[name]
		return ok || labels[LabelCluster] == k.opts.Name
	})
	if err != nil {
		return k.out(ctx, all, err)
	}
	k.lost = 0
	have := map[string][]engine.Held{}
	for _, h := range held {
		have[h.Name] = append(have[h.Name], h)
		if _, ok := states[h.Name]; !ok {
			states[h.Name] = cluster.NetworkState{Network: cluster.Network{Name: h.Name}}
		}
	}
	next = idle
	for _, name := range slices.Sorted(maps.Keys(states)) {
		next = min(next, k.keep(ctx, states[name], have[name]))
	}
	return next
}

// out tells that the engine can't be reached.
func (k *Keeper) out(ctx context.Context, all []cluster.NetworkState, err error) time.Duration {
	if ctx.Err() != nil {
		return idle
	}
	for _, s := range all {
		_, mine := s.On[k.opts.Host]
		if !s.Damaged && (mine || s.Seen != 0 && s.For(k.opts.Host)) {
			// What was made stays so: an engine that restarts is no news.
			if k.lost == 0 && s.On[k.opts.Host].State == cluster.NetworkMade && s.On[k.opts.Host].Revision == Target(k.opts.Host, s) {
				continue
			}
			k.report(ctx, s, cluster.NetworkReport{Revision: Target(k.opts.Host, s), State: cluster.NetworkWaiting, Why: "Docker's API: " + err.Error()})
		}
	}
	k.lost = min(max(2*k.lost, minRetry), maxRetry)
	return k.lost
}

// keep does the next step about a network, and returns when the one after it is due.
func (k *Keeper) keep(ctx context.Context, s cluster.NetworkState, have []engine.Held) time.Duration {
	st := decide(k.opts.Name, k.opts.Host, s, have)
	if r, ok := k.retry[s.Name]; ok && (st.verb != create && st.verb != remove || r.revision != st.report.Revision) {
		delete(k.retry, s.Name)
	} else if left := time.Until(r.due); ok && left > 0 {
		return left
	}
	switch st.verb {
	case forget:
		return k.forget(ctx, s)
	case create, remove:
		return k.change(ctx, s, st)
	}
	if s.Damaged {
		return idle
	}
	if st.report.State == cluster.NetworkMade && k.opts.Remarks != nil {
		st.report.Why = k.opts.Remarks()[st.id]
	}
	k.report(ctx, s, st.report)
	if st.report.State == cluster.NetworkWaiting || st.report.State == cluster.NetworkRefused {
		return waiting
	}
	return idle
}

// forget says that this host has nothing of a network, and takes away its record
// if nobody has.
func (k *Keeper) forget(ctx context.Context, s cluster.NetworkState) time.Duration {
	if _, ok := s.On[k.opts.Host]; ok {
		if err := k.opts.Cluster.Unreport(ctx, s.Name); err != nil {
			return k.later(ctx, err)
		}
		delete(s.On, k.opts.Host)
	}
	if s.Removed && len(s.On) == 0 {
		if err := k.opts.Cluster.Retire(ctx, s.Name); err != nil {
			return k.later(ctx, err)
		}
	}
	return idle
}

// change has the engine make or remove a network. That is in etcd before, so that
// the record of a network stays for as long as a host may have it.
func (k *Keeper) change(ctx context.Context, s cluster.NetworkState, st step) time.Duration {
	before := s.On[k.opts.Host]
	if before.State != cluster.NetworkRefused || before.Revision != st.report.Revision {
		if !k.report(ctx, s, st.report) {
			return minRetry
		}
		before = st.report
	}
	log := k.log(s)
	var err error
	if st.verb == create {
		err = k.opts.Engine.Make(ctx, spec(k.opts.Name, s.Network))
	} else {
		err = k.opts.Engine.Remove(ctx, st.id)
	}
	switch {
	case ctx.Err() != nil:
		return idle
	case err == nil && st.verb == create:
		log.WithField(event.Field, event.ClusterMade).Info("cluster: network made, as the cluster wants it")
	case err == nil:
		log.WithField(event.Field, event.ClusterRemoved).Info("cluster: network removed, as the cluster wants it")
	default:
		line, ok := engine.Refusal(err)
		if !ok {
			line = err.Error()
		}
		if s.On == nil {
			s.On = map[string]cluster.NetworkReport{}
		}
		s.On[k.opts.Host] = before
		k.report(ctx, s, cluster.NetworkReport{Revision: st.report.Revision, State: cluster.NetworkRefused, Why: line})
		r := k.retry[s.Name]
		r.revision, r.wait = st.report.Revision, min(max(2*r.wait, minRetry), maxRetry)
		r.due = time.Now().Add(r.wait)
		k.retry[s.Name] = r
		return r.wait
	}
	delete(k.retry, s.Name)
	return 0 // look what there is now
}

// later logs what went wrong with etcd, which says itself when it is back.
func (k *Keeper) later(ctx context.Context, err error) time.Duration {
	if ctx.Err() == nil {
		k.opts.Log.Debug(err)
	}
	return waiting
}

// report tells the cluster how a network is here, unless it knows.
func (k *Keeper) report(ctx context.Context, s cluster.NetworkState, r cluster.NetworkReport) (told bool) {
	before, ok := s.On[k.opts.Host]
	if ok && before == r {
		return true
	}
	if err := k.opts.Cluster.Report(ctx, s.Name, s.Seen, r); err != nil {
		k.later(ctx, err)
		return false
	}
	switch r.State {
	case cluster.NetworkWaiting, cluster.NetworkRefused, cluster.NetworkLeft:
		k.log(s).WithField(event.Field, event.ClusterWaiting).Warn("cluster: network " + s.Name + ": " + r.State + ": " + r.Why)
	}
	return true
}

func (k *Keeper) log(s cluster.NetworkState) *logrus.Entry {
	return k.opts.Log.WithFields(logrus.Fields{"network": s.Name, "segment": s.Segment})
}
