package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"fairway/store"
)

// A Store makes changes durable, in the order of the calls.
type Store interface {
	Begin(changes ...store.Change) <-chan error
}

// Addresses is the allocator that hands out addresses of segments on this host.
type Addresses interface {
	// SetShare says what this host may hand out of a subnet from now on: blocks,
	// claims besides, and none of the addresses foreign.
	SetShare(segment string, subnet netip.Prefix, blocks []netip.Prefix, claims, foreign []netip.Addr)
	// Used reports whether an address of a part of a subnet is in use, or so
	// recently was that nobody else may have it yet.
	Used(segment string, subnet, part netip.Prefix) bool
	// Spare returns how many addresses can be handed out at once, up to most.
	Spare(segment string, subnet netip.Prefix, most int) int
	// Segments returns the names of those of which this host has a pool.
	Segments() []string
}

// A Plane is told what the other hosts have, of segments of which this host has a
// member or not. Calls come one after the other.
type Plane interface {
	// Replace says all that there is of a segment, as of a revision of etcd's. One
	// that is older than before means that etcd was restored from a backup.
	Replace(segment string, all []Remote, revision int64)
	// Change says what was made or changed, then what went, the new first.
	Change(segment string, put, gone []Remote)
}

// Options make a Cluster. All but Plane, TTL, Hold,
// Patience and Log are required.
type Options struct {
	Dial   func() (*clientv3.Client, error)
	Prefix string // of all keys, with a slash at its end
	Self   Host   // this host; its incarnation and time are set when it registers
	// Boot tells this start of this machine from others: /proc/sys/kernel/random/boot_id.
	Boot  string
	Store Store
	// Addresses is told once Run is called.
	Addresses Addresses
	// Endpoints returns this host's endpoints, by segment. It is asked anew after
	// each call of Changed.
	Endpoints func() map[string][]Endpoint
	Plane     Plane
	// TTL is how long a host counts as alive that isn't heard of; 0 for 15 s.
	TTL time.Duration
	// Hold is how long an address outside of this host's blocks stays its claim
	// after it was released; 0 for 10 minutes.
	Hold time.Duration
	// Patience is how long a call waits for etcd or for another host; 0 for 5 s.
	Patience time.Duration
	Log      logrus.FieldLogger
}

// errDown is why nothing can be agreed on.
var errDown = errors.New("etcd can't be reached") //nolint:gochecknoglobals // an error value

// A Cluster is this host's part in it. Its methods may be called concurrently.
type Cluster struct {
	opts Options
	log  logrus.FieldLogger
	self Host

	segment sync.Mutex // held while this host joins or leaves a segment
	push    sync.Mutex // held while the allocator is told its share

	mu      sync.Mutex // guards the following; never held while anything is waited for
	client  *clientv3.Client
	lease   clientv3.LeaseID // 0: none
	synced  bool             // the view has been equal to etcd since this daemon started, and follows it
	joined  bool             // this host is registered
	trouble string           // why nothing is agreed on; "" for nothing
	view    *view
	at      int64                            // etcd's revision that the view is of, at least
	dirty   map[string]bool                  // keys whose entries are to be saved
	recent  map[string]bool                  // keys that this host wrote while the view was being read; nil: it isn't
	held    map[string]map[netip.Prefix]bool // blocks that this host may hand out from, by segment
	giving  map[string]bool                  // keys of blocks and claims that are being given back
	late    map[string]bool                  // keys of claims that were given back, and nobody knows whether etcd knows
	using   map[string]bool                  // segments that this host is a member of, whatever etcd says
	joining map[string]time.Time             // segments joined, of which there may be no pool yet
	idle    map[string]time.Time             // key of a claim → since when nobody has its address
	alarms  map[string]string                // endpoint → what is wrong with it
	changed chan struct{}                    // closed with each change of the view
	version uint64                           // counts these
	plane   []delta
	rewound bool            // etcd was restored, and the plane doesn't know yet
	stale   map[string]bool // segments whose share may have changed

	sent sending // publish's

	kick chan struct{} // this host's records may differ from the view
	tell chan struct{} // there is something for the plane

	networkNews chan struct{}
}

// New returns a cluster that holds the records of the last run. It starts nothing:
// Run does.
func New(opts Options, records store.Records) (*Cluster, error) {
	if opts.Log == nil {
		silent := logrus.New()
		silent.SetOutput(io.Discard)
		opts.Log = silent
	}
	for d, def := range map[*time.Duration]time.Duration{
		&opts.TTL: 15 * time.Second, &opts.Hold: 10 * time.Minute, &opts.Patience: 5 * time.Second,
	} {
		if *d == 0 {
			*d = def
		}
	}
	c := newCluster(opts)
	return c, c.load(records)
}

func newCluster(opts Options) *Cluster {
	return &Cluster{
		opts: opts, log: opts.Log, self: opts.Self, view: newView(10 * opts.Patience),
		dirty: map[string]bool{}, held: map[string]map[netip.Prefix]bool{}, giving: map[string]bool{}, late: map[string]bool{}, using: map[string]bool{},
		joining: map[string]time.Time{}, idle: map[string]time.Time{}, alarms: map[string]string{},
		changed: make(chan struct{}), kick: make(chan struct{}, 1), tell: make(chan struct{}, 1),
		networkNews: make(chan struct{}, 1),
	}
}

// Run takes part in the cluster until ctx ends.
func (c *Cluster) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, f := range []func(context.Context) error{c.connect, c.publish, c.answer, c.save, c.tellPlane} {
		g.Go(func() error { return f(ctx) })
	}
	return g.Wait()
}

// connect reads all of etcd and follows it, anew whenever that ends.
func (c *Cluster) connect(ctx context.Context) error {
	defer func() {
		if client := c.etcd(); client != nil {
			client.Close()
		}
	}()
	wait := 100 * time.Millisecond
	for ctx.Err() == nil {
		began := time.Now()
		err := c.session(ctx)
		if ctx.Err() != nil {
			break
		}
		c.lost(err)
		if time.Since(began) > 10*time.Second {
			wait = 100 * time.Millisecond
		}
		sleep(ctx, wait)
		wait = min(2*wait, 3*time.Second)
	}
	return ctx.Err()
}

// session registers this host and follows etcd until something fails.
func (c *Cluster) session(ctx context.Context) error {
	if c.etcd() == nil {
		client, err := c.opts.Dial()
		if err != nil {
			return err
		}
		c.mu.Lock()
		c.client = client
		c.mu.Unlock()
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	revision, err := c.read(ctx)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return c.follow(ctx, revision+1) })
	g.Go(func() error { return c.recheck(ctx) })
	g.Go(func() error { return c.present(ctx) })
	return g.Wait()
}

// lost notes that etcd can't be reached, or doesn't let this host in.
func (c *Cluster) lost(err error) {
	why := errDown.Error()
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		why = err.Error()
	}
	c.mu.Lock()
	news := c.trouble != why
	c.trouble, c.synced = why, false
	c.mu.Unlock()
	if news {
		c.log.Warnf("cluster: %s; what runs here goes on", strings.TrimPrefix(why, "cluster: "))
	}
}

// well notes that this host takes part.
func (c *Cluster) well() {
	c.mu.Lock()
	was := c.trouble
	c.trouble, c.joined = "", true
	c.mu.Unlock()
	if was != "" {
		c.log.Info("cluster: etcd is back")
	}
	c.Changed()
	c.tellNetworks()
}

// etcd returns the client; nil before there is one.
func (c *Cluster) etcd() *clientv3.Client {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.client
}

// Changed says that Options.Endpoints may return something else than before. It
// doesn't wait.
func (c *Cluster) Changed() {
	select {
	case c.kick <- struct{}{}:
	default:
	}
}

// commit sends a transaction, and takes what it did into the view. Ok is whether
// its conditions held; if not, the entries that otherwise read are in the view.
func (c *Cluster) commit(ctx context.Context, conditions []clientv3.Cmp, then []clientv3.Op, otherwise ...clientv3.Op) (ok bool, err error) {
	client := c.etcd()
	if client == nil {
		return false, errDown
	}
	ctx, cancel := context.WithTimeout(ctx, c.opts.Patience)
	defer cancel()
	r, err := client.Txn(clientv3.WithRequireLeader(ctx)).If(conditions...).Then(then...).Else(otherwise...).Commit()
	if err != nil {
		if ctx.Err() != nil {
			err = errDown
		}
		return false, err
	}
	ops := then
	if !r.Succeeded {
		ops = otherwise
	}
	c.mu.Lock()
	for i, op := range ops {
		key := strings.TrimPrefix(string(op.KeyBytes()), c.opts.Prefix)
		switch {
		case op.IsPut():
			c.take(c.written(key, op.ValueBytes(), r.Header.Revision))
		case op.IsDelete() && len(op.RangeBytes()) == 0:
			c.drop(key, r.Header.Revision)
			c.view.gone.add(key, r.Header.Revision)
			if c.recent != nil {
				c.recent[key] = true
			}
		case op.IsGet():
			for _, kv := range r.Responses[i].GetResponseRange().Kvs {
				c.take(c.entry(kv.Key, kv.Value, kv.CreateRevision, kv.ModRevision))
			}
		}
	}
	c.notice()
	c.mu.Unlock()
	return r.Succeeded, nil
}

// written is the entry that a put of this host made. The caller holds c.mu.
func (c *Cluster) written(key string, value []byte, revision int64) store.ClusterEntry {
	if c.recent != nil {
		c.recent[key] = true
	}
	created := revision
	if old, ok := c.view.entries[key]; ok && old.Revision != 0 {
		created = old.Created
	}
	return store.ClusterEntry{Key: key, Value: value, Created: created, Revision: revision}
}

func (c *Cluster) entry(key, value []byte, created, revision int64) store.ClusterEntry {
	return store.ClusterEntry{
		Key: strings.TrimPrefix(string(key), c.opts.Prefix), Value: value, Created: created, Revision: revision,
	}
}

// key is a key of ours as it stands in etcd.
func (c *Cluster) key(k string) string { return c.opts.Prefix + k }

// absent is the condition that there is no such key.
func (c *Cluster) absent(k string) clientv3.Cmp {
	return clientv3.Compare(clientv3.CreateRevision(c.key(k)), "=", 0)
}

// unchanged is the condition that a key is as the view has it. The caller holds
// c.mu.
func (c *Cluster) unchanged(k string) clientv3.Cmp {
	return clientv3.Compare(clientv3.ModRevision(c.key(k)), "=", c.view.entries[k].Revision)
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// wrap says what an error of etcd's is about.
func wrap(err error, format string, args ...any) error {
	return fmt.Errorf("cluster: "+format+": %w", append(args, err)...)
}
