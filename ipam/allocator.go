package ipam

import (
	"context"
	"crypto/rand"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"fairway/store"
)

// A Store makes changes durable. Begin queues them as one commit and returns at
// once; commits are made in the order in which they began. The channel, which
// has room for it, gets one result: nil, or why nothing of the commit was kept.
type Store interface {
	Begin(changes ...store.Change) <-chan error
}

// Options configure an allocator.
type Options struct {
	Store Store
	// HostSubnets returns the subnets of the host's routes, which automatic pools
	// keep clear of; nil if there are none to heed.
	HostSubnets func(context.Context) ([]netip.Prefix, error)
	// Pools are the default pools of all address spaces; nil for LocalPools and
	// GlobalPools.
	Pools []DefaultPool
	// Leases gets addresses where a pool's option source says dhcp; nil: none can
	// be had that way.
	Leases Leases
	// Segments agrees with other hosts on the pools of segments; nil: there are none.
	Segments Segments
	// ReuseDelay is how long a released address isn't handed out again unless it
	// is asked for or nothing else is left; 0 for 30 seconds, negative for none.
	ReuseDelay time.Duration
	// Grace is how long Docker may not know or not use something of ours before
	// it is given back; 0 for two minutes.
	Grace time.Duration
	// Stale reports whether the endpoint that has the address is positively gone,
	// though Docker never gave the address back (it was killed, or this daemon was
	// away). A container that asks for such an address gets it. It is called
	// without locks; nil for never.
	Stale func(ctx context.Context, space string, subnet netip.Prefix, ip netip.Addr) bool
	// Alive reports whether an endpoint that isn't gone has the address. Docker
	// removes an endpoint before it gives its address back: a release that comes
	// while one has the address is meant for who had it before. It is called
	// without locks; nil for never.
	Alive func(ctx context.Context, space string, subnet netip.Prefix, ip netip.Addr) bool

	// Taken returns who has an address on the LAN of the networks on a pool, before
	// it is given out unasked; "" for nobody. Mac is that of who is to get it, nil if
	// the engine didn't say. It is called without locks; nil for never.
	Taken func(ctx context.Context, space string, subnet netip.Prefix, ip netip.Addr, mac net.HardwareAddr) string

	Instance string // what tells this host's IPv6 default pools from others'
	Now      func() time.Time
	Rand     io.Reader // for the IDs of pools; nil for crypto/rand
	Log      logrus.FieldLogger
}

// An Allocator hands out pools and addresses. Its methods may be called
// concurrently.
type Allocator struct {
	store       Store
	hostSubnets func(context.Context) ([]netip.Prefix, error)
	stale       func(context.Context, string, netip.Prefix, netip.Addr) bool
	alive       func(context.Context, string, netip.Prefix, netip.Addr) bool
	taken       func(context.Context, string, netip.Prefix, netip.Addr, net.HardwareAddr) string
	leases      Leases
	segments    Segments
	delay       time.Duration
	grace       time.Duration
	now         func() time.Time
	rand        io.Reader
	log         logrus.FieldLogger

	instance string

	mu       sync.Mutex               // never held while anything is waited for
	defaults map[string][]DefaultPool // by address space
	seq      uint64                   // of the newest lease
	spaces   map[string]*subnets
	handles  map[string]*handle
	cuts     map[DefaultPool]*cut
	useless  []address // may still have a record, but need none
}

// New returns an allocator that goes on where the records end.
func New(opts Options, records store.Records) (*Allocator, error) {
	a := &Allocator{
		store:       opts.Store,
		hostSubnets: opts.HostSubnets,
		stale:       opts.Stale,
		alive:       opts.Alive,
		leases:      opts.Leases,
		segments:    opts.Segments,
		taken:       opts.Taken,
		delay:       opts.ReuseDelay,
		grace:       opts.Grace,
		now:         opts.Now,
		rand:        opts.Rand,
		log:         opts.Log,
		instance:    opts.Instance,
		spaces:      map[string]*subnets{},
		handles:     map[string]*handle{},
		cuts:        map[DefaultPool]*cut{},
	}
	for _, name := range spaceNames() {
		a.spaces[name] = newSubnets()
	}
	if a.delay == 0 {
		a.delay = 30 * time.Second
	}
	if a.grace == 0 {
		a.grace = 2 * time.Minute
	}
	if a.now == nil {
		a.now = time.Now
	}
	if a.rand == nil {
		a.rand = rand.Reader
	}
	if a.log == nil {
		silent := logrus.New()
		silent.SetOutput(io.Discard)
		a.log = silent
	}
	if err := a.SetDefaultPools(opts.Pools); err != nil {
		return nil, err
	}
	if err := a.load(records); err != nil {
		return nil, err
	}
	return a, nil
}

// await waits until the commit is done, then calls finish with its outcome
// under the lock. It gives up waiting, but not the change, when ctx ends.
func (a *Allocator) await(ctx context.Context, commit <-chan error, finish func(error)) error {
	settle := func(err error) {
		a.mu.Lock()
		defer a.mu.Unlock()
		finish(err)
	}
	select {
	case err := <-commit:
		settle(err)
		return err
	case <-ctx.Done():
		go func() { settle(<-commit) }()
		return context.Cause(ctx)
	}
}
