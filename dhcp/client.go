package dhcp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"fairway/store"
)

// A Store makes changes durable, in the order of the calls.
type Store interface {
	Begin(changes ...store.Change) <-chan error
}

// Options configure a Client.
type Options struct {
	Store    Store
	Instance string // tells this host's clients from others'
	// Timeout is how long servers have to answer Acquire; 0 for 10 seconds.
	Timeout time.Duration
	// Open opens the packet socket of a link; nil for one in the namespace of
	// this process.
	Open func(link string) (*Socket, error)
	Log  logrus.FieldLogger
}

// A Client holds the leases of all endpoints. Its methods may be called
// concurrently.
type Client struct {
	store    Store
	instance string
	timeout  time.Duration
	open     func(string) (*Socket, error)
	log      logrus.FieldLogger

	wake   chan struct{} // the first timer may have changed
	events chan received
	done   chan struct{} // closed when Run ends
	read   sync.WaitGroup

	mu      sync.Mutex // the rest; never held while anything is waited for
	closed  bool
	xids    map[uint32]*session
	held    map[key]*session
	ids     map[identity]*session
	due     timers
	parents map[string]*parent
	users   map[string]int           // sessions by their parent
	rooms   map[string]chan struct{} // see enter
	lost    uint64
	useless []store.Change // of records that Run is to take away
}

// A key is the address that a lease is of.
type key struct {
	space  string
	subnet netip.Prefix
	ip     netip.Addr
}

func keyOf(l store.Lease) key { return key{l.Space, l.Subnet, l.IP} }

// An identity is what a server knows a client by.
type identity struct {
	parent string
	v6     bool
	id     string
}

func identityOf(l store.Lease) identity {
	return identity{l.Parent, l.Subnet.Addr().Is6(), string(l.ClientID)}
}

// New returns a client that holds the recorded leases. It touches nothing: Run
// does.
func New(opts Options, records store.Records) *Client {
	c := &Client{
		store: opts.Store, instance: opts.Instance, timeout: opts.Timeout, open: opts.Open, log: opts.Log,
		wake: make(chan struct{}, 1), events: make(chan received, 256), done: make(chan struct{}),
		xids: map[uint32]*session{}, held: map[key]*session{}, ids: map[identity]*session{}, parents: map[string]*parent{}, users: map[string]int{}, rooms: map[string]chan struct{}{},
	}
	if c.timeout == 0 {
		c.timeout = 10 * time.Second
	}
	if c.open == nil {
		c.open = Open
	}
	if c.log == nil {
		silent := logrus.New()
		silent.SetOutput(io.Discard)
		c.log = silent
	}
	used := map[key]bool{}
	for _, a := range records.Addresses {
		if a.Released.IsZero() {
			used[key{a.Space, a.Subnet, a.IP}] = true
		}
	}
	now, n := time.Now(), 0
	for _, l := range records.Leases {
		if !used[keyOf(l)] { // a renewal was written behind the release
			c.useless = append(c.useless, store.DeleteLease(l.Space, l.Subnet, l.IP))
			continue
		}
		s := newSession(l)
		c.add(s)
		c.held[keyOf(l)] = s
		c.begin(s, verifying)
		c.at(s, now.Add(time.Duration(n)*pace))
		n++
	}
	return c
}

// pace is the time between leases that are verified after a start.
const pace = 5 * time.Millisecond

// errClosed is what calls get once the client has ended.
var errClosed = errors.New("dhcp: the daemon is ending") //nolint:gochecknoglobals // an error value

// Acquire gets a lease. Of want it takes the space, the subnet, the parent, the
// MAC address, the container's name, which may be unknown, and the address that
// is wished for, if any; if it must be that one, another is none. The same client
// that asks again while it has a lease gets that one. If no server answers in
// time, the error says in one line which server did what.
//
// The lease isn't recorded yet: that is the caller's, together with what it uses
// the address for.
func (c *Client) Acquire(ctx context.Context, want store.Lease, must bool) (store.Lease, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	if err := c.identify(&want); err != nil {
		return store.Lease{}, err
	}
	leave, err := c.enter(ctx, want.Parent)
	if err != nil {
		return store.Lease{}, err
	}
	defer leave()
	s := newSession(want)
	answer := make(chan error, 1) // the session forgets its own with the answer
	s.must, s.answer = must, answer
	if had, err := c.start(s); err != nil || had != nil {
		if err != nil {
			return store.Lease{}, err
		}
		return *had, nil
	}
	select {
	case err = <-answer:
	case <-ctx.Done():
	case <-c.done:
		err = errClosed
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s.answer = nil
	if s.state == bound && err == nil {
		return s.lease, nil
	}
	c.drop(s)
	if err == nil {
		err = s.silence(c.timeout)
	}
	return store.Lease{}, err
}

// crowd is how many clients of a parent ask at the same time: more would drown a
// server, whose socket takes some 200 messages, and be heard later, not earlier.
const crowd = 64

// enter waits until a client may ask on a parent.
func (c *Client) enter(ctx context.Context, name string) (leave func(), err error) {
	c.mu.Lock()
	room := c.rooms[name]
	if room == nil {
		room = make(chan struct{}, crowd)
		c.rooms[name] = room
	}
	c.mu.Unlock()
	select {
	case room <- struct{}{}:
		return func() { <-room }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("parent %s: no DHCP server answered %d others within %s", name, crowd, c.timeout)
	}
}

// start begins a session, unless its client has a lease already.
func (c *Client) start(s *session) (had *store.Lease, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, errClosed
	}
	if old := c.ids[identityOf(s.lease)]; old != nil {
		same := old.lease.MAC == s.lease.MAC && (!s.lease.IP.IsValid() || !s.must || old.lease.IP == s.lease.IP)
		if same && old.answer == nil && old.lease.Lost.IsZero() {
			l := old.lease
			return &l, nil
		}
		old.tell(errors.New("dhcp: the same client asked anew"))
		c.drop(old) // the server takes both for the same
	}
	c.add(s)
	c.begin(s, selecting)
	if err := c.step(s, time.Now()); err != nil {
		c.drop(s)
		return nil, err
	}
	return nil, nil
}

// Release gives a lease back. It succeeds if there is none.
func (c *Client) Release(space string, subnet netip.Prefix, ip netip.Addr) {
	c.giveBack(key{space, subnet, ip}, release)
}

// Decline gives a lease back and tells the server that somebody else has the
// address, so that it offers another one.
func (c *Client) Decline(space string, subnet netip.Prefix, ip netip.Addr) {
	c.giveBack(key{space, subnet, ip}, decline)
}

func (c *Client) giveBack(k key, how kind) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.held[k]
	if s == nil {
		return
	}
	if s.lease.Lost.IsZero() && !c.closed {
		c.begin(s, bound) // a transaction of its own
		if err := c.send(s, how); err != nil {
			c.logOf(s).Warnf("address not given back to the DHCP server: %v", err)
		}
	}
	c.drop(s)
}

// A Status is a lease and how it is.
type Status struct {
	store.Lease
	State string // "bound", "renewing", "rebinding", "verifying", "lost", or "requesting"
	Why   string // it isn't bound; "" nothing to say
	// Renewed is how many times a server has renewed it, and Losses how many times
	// it was lost, since the client began with it.
	Renewed, Losses uint64
}

// Leases returns all leases, and those that are being asked for.
func (c *Client) Leases() []Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]Status, 0, len(c.ids))
	for _, s := range c.ids {
		out = append(out, Status{s.lease, s.shown(), s.why, s.renewed, s.losses})
	}
	return out
}

// Lease returns the lease of an address.
func (c *Client) Lease(space string, subnet netip.Prefix, ip netip.Addr) (store.Lease, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.held[key{space, subnet, ip}]
	if s == nil {
		return store.Lease{}, false
	}
	return s.lease, true
}

// Lost returns how many times a lease was lost since the client was made.
func (c *Client) Lost() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lost
}

// Name tells the servers the names of containers whose names weren't known when
// they got their leases: engines before 29 tell it later, in the background.
func (c *Client) Name(nameOf func(mac string, ip netip.Addr) string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.held {
		if s.state != bound || s.lease.Name != "" {
			continue
		}
		name := nameOf(s.lease.MAC, s.lease.IP)
		if name == "" {
			continue
		}
		s.lease.Name, s.lease.Hostname = name, hostname(name)
		if s.lease.Hostname != "" {
			c.begin(s, verifying)
			c.at(s, time.Now())
		}
	}
}

func (c *Client) logOf(s *session) logrus.FieldLogger {
	return c.log.WithFields(logrus.Fields{
		"parent": s.lease.Parent, "address": s.lease.IP, "container": s.lease.Name, "server": s.lease.Server,
	})
}

// silence says in one line why a session has got nothing within a time.
func (s *session) silence(within time.Duration) error {
	if s.why != "" {
		return fmt.Errorf("parent %s: no lease within %s: %s", s.lease.Parent, within, s.why)
	}
	return fmt.Errorf("parent %s: no DHCP server answered within %s", s.lease.Parent, within)
}
