package resolver

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
	"github.com/sirupsen/logrus"
)

// A Segment is a network whose containers' questions are answered.
type Segment struct {
	Name     string // in the cluster: names are found below it
	Bridge   string // the link by which the questions come
	Gateways []netip.Addr
	Subnets  []netip.Prefix
	// Internal: what isn't a name of the segment isn't asked for elsewhere.
	Internal bool
}

// Options make a Resolver.
type Options struct {
	Instance string // of the store: marks the rules
	// Servers returns who is asked for what comes to a gateway and isn't a name of its
	// segment, as ADDRESS:PORT. It is called for each such question.
	Servers func() ([]string, error)
	Log     logrus.FieldLogger
}

// A Resolver answers for all segments of a host. Its methods may be called
// concurrently; rules and sockets are of the network namespace that the callers of
// Open, Close and Repair are in.
type Resolver struct {
	opts  Options
	rules rules
	busy  chan struct{}  // holds one for each question that others are asked
	tasks sync.WaitGroup // of the reader, the servers and busy ones

	repairing sync.Mutex                 // held while rules and sockets are made
	tcp       map[netip.Addr]*dns.Server // by gateway

	mu       sync.Mutex         // guards the following; never held while anything is waited for
	segments map[string]*served // by name
	byLink   map[int]*served    // by the bridge's index
	parts    *parts             // nil: none are open
	stopped  bool
	trouble  string // the last thing that went wrong with rules or sockets
}

// served is a segment with its names.
type served struct {
	Segment
	zone *zone
}

// parts are what is open while there are segments.
type parts struct {
	queue *queue
	out   *sender
}

// atOnce bounds the questions that wait for other servers.
const atOnce = 256

// New returns a resolver that serves nothing yet.
func New(opts Options) *Resolver {
	return &Resolver{
		opts: opts, rules: rules{comment: "fairway:" + opts.Instance}, busy: make(chan struct{}, atOnce),
		segments: map[string]*served{}, byLink: map[int]*served{}, tcp: map[netip.Addr]*dns.Server{},
	}
}

// Open serves a segment from now on; one of the same name as it is now. That
// questions can't be had at the moment is logged, and tried again by Repair.
func (r *Resolver) Open(s Segment) {
	r.mu.Lock()
	if old := r.segments[s.Name]; r.stopped {
		r.mu.Unlock()
		return
	} else if old != nil {
		r.segments[s.Name] = &served{s, old.zone}
	} else {
		r.segments[s.Name] = &served{s, newZone(s.Name)}
	}
	r.mu.Unlock()
	r.Repair()
}

// Close serves a segment no longer, and forgets its names.
func (r *Resolver) Close(name string) {
	r.mu.Lock()
	_, ok := r.segments[name]
	delete(r.segments, name)
	r.mu.Unlock()
	if ok {
		r.Repair()
	}
}

func (r *Resolver) zone(name string) *zone {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.segments[name]; s != nil {
		return s.zone
	}
	return nil
}

// remote tells the IDs of records of other hosts, HOST/ID, from this host's.
func remote(id string) bool { return strings.Contains(id, "/") }

// SetLocals says all that this host has in a segment. The IDs have no slash.
func (r *Resolver) SetLocals(segment string, all []Record) {
	if z := r.zone(segment); z != nil {
		z.replace(func(id string) bool { return !remote(id) }, all)
	}
}

// SetRemotes says all that other hosts have in a segment. The IDs have a slash.
func (r *Resolver) SetRemotes(segment string, all []Record) {
	if z := r.zone(segment); z != nil {
		z.replace(remote, all)
	}
}

// Put says what is new of one record of a segment.
func (r *Resolver) Put(segment string, rec Record) {
	if z := r.zone(segment); z != nil {
		z.put(rec)
	}
}

// Remove forgets one record of a segment.
func (r *Resolver) Remove(segment, id string) {
	if z := r.zone(segment); z != nil {
		z.remove(id)
	}
}

// Trouble says why questions can't be had; "" if they can.
func (r *Resolver) Trouble() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.trouble
}

// repairEvery is how often Run compares the rules with what they should be.
const repairEvery = 5 * time.Second

// Run keeps rules and sockets as they should be until ctx ends. Then it removes
// them: with nobody to answer they would be for nothing.
func (r *Resolver) Run(ctx context.Context) error {
	tick := time.NewTicker(repairEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			r.Stop()
			return ctx.Err()
		case <-tick.C:
			r.Repair()
		}
	}
}

// Stop ends all that serves, for good, and waits for it.
func (r *Resolver) Stop() {
	r.mu.Lock()
	r.stopped = true
	clear(r.segments)
	r.mu.Unlock()
	r.Repair()
	r.tasks.Wait()
}

// Repair makes rules and sockets what the segments need, whatever there is.
func (r *Resolver) Repair() {
	r.repairing.Lock()
	defer r.repairing.Unlock()
	err := r.repair()
	r.mu.Lock()
	text := ""
	if err != nil {
		text = err.Error()
	}
	news := text != r.trouble
	r.trouble = text
	r.mu.Unlock()
	if news && err != nil {
		r.opts.Log.Warnf("%v; names of other hosts' containers aren't answered as far as that goes", err)
	}
}

func (r *Resolver) repair() error {
	r.mu.Lock()
	bridges := map[string][]netip.Addr{}
	for _, s := range r.segments {
		bridges[s.Bridge] = s.Gateways
	}
	p := r.parts
	r.mu.Unlock()
	if len(bridges) == 0 {
		err := r.rules.remove()
		if p != nil {
			r.shut(p)
		}
		return errors.Join(err, r.serve(nil))
	}
	r.findLinks()
	var err error
	if p == nil {
		if p, err = r.open(); err != nil {
			return err
		}
	}
	var gateways []netip.Addr
	for _, of := range bridges {
		gateways = append(gateways, of...)
	}
	trouble := r.serve(gateways)
	repaired, err := r.rules.make(wanted{queue: p.queue.number, bridges: bridges})
	if repaired {
		r.opts.Log.Warn("resolver: table inet " + tableName + " was not as left, written again")
	}
	return errors.Join(err, trouble)
}

// findLinks notes which links the bridges are by now.
func (r *Resolver) findLinks() {
	all, err := net.Interfaces()
	if err != nil {
		return // as before
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.byLink)
	for _, s := range r.segments {
		if i := slices.IndexFunc(all, func(l net.Interface) bool { return l.Name == s.Bridge }); i >= 0 {
			r.byLink[all[i].Index] = s
		}
	}
}

// open opens the sockets and starts what reads them.
func (r *Resolver) open() (*parts, error) {
	out, err := newSender()
	if err != nil {
		return nil, err
	}
	q, err := openQueue()
	if err != nil {
		return nil, errors.Join(err, out.close())
	}
	p := &parts{queue: q, out: out}
	r.mu.Lock()
	r.parts = p
	r.mu.Unlock()
	r.tasks.Go(func() {
		err := q.run(func(h held) bool { return r.handle(p.out, h) })
		r.mu.Lock()
		lost := r.parts == p
		r.mu.Unlock()
		if lost {
			r.opts.Log.Warnf("resolver: read netfilter queue %d: %v", q.number, err)
			r.shut(p) // Repair opens another one
		}
	})
	return p, nil
}

// shut closes what is open.
func (r *Resolver) shut(p *parts) {
	r.mu.Lock()
	if r.parts != p {
		r.mu.Unlock()
		return
	}
	r.parts = nil
	r.mu.Unlock()
	if err := errors.Join(p.queue.close(), p.out.close()); err != nil {
		r.opts.Log.Warnf("resolver: close: %v", err)
	}
}

// byIndex returns the segment whose bridge a packet came by.
func (r *Resolver) byIndex(link int) *served {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.byLink[link]
}

// byGateway returns the segment of a gateway.
func (r *Resolver) byGateway(ip netip.Addr) *served {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.segments {
		if slices.Contains(s.Gateways, ip) {
			return s
		}
	}
	return nil
}
