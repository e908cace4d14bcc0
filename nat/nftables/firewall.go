package nftables

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"github.com/sirupsen/logrus"

	"fairway/nat"
	"fairway/nat/iptables"
)

// Options make a Firewall.
type Options struct {
	Instance string             // of the store: marks the rules that are ours
	Log      logrus.FieldLogger // nil: silent
	Step     func(string)       // told of every change before it is made; may be nil
	Mark     uint32             // the bits that let packets be routed to our subnets; 0: nat.DefaultMark
}

// A Firewall holds what it was last told in the kernel's table inet fairway.
// Its methods may be called concurrently; they change the kernel one after the
// other.
type Firewall struct {
	opts    Options
	table   *nftables.Table
	accepts *iptables.Firewall // nil on a host without iptables
	around  func(ours map[string]bool) (nat.Around, error)
	busy    chan struct{} // holds a token while the fields below are used

	conn      *nftables.Conn         // lasting; nil after an error
	networks  map[string]nat.Network // what is wanted, by ID
	endpoints map[string]nat.Endpoint
	kept      kept
}

// kept is what the kernel holds, as far as f left it so.
type kept struct {
	known    bool // else the kernel must be asked
	there    bool // the table
	all      *fill
	networks *fill   // the part that is of no endpoint
	own      []chain // and its chains
}

var instanceName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`) //nolint:gochecknoglobals // a constant

// New returns a Firewall that has applied nothing yet: Reconcile takes over
// what an earlier one left, in nftables and iptables.
func New(ctx context.Context, opts Options) (*Firewall, error) {
	if !instanceName.MatchString(opts.Instance) {
		return nil, fmt.Errorf("nftables: instance %q: want at most 64 of A-Z a-z 0-9 _ . -", opts.Instance)
	}
	if opts.Log == nil {
		l := logrus.New()
		l.SetOutput(io.Discard)
		opts.Log = l
	}
	if opts.Step == nil {
		opts.Step = func(string) {}
	}
	if opts.Mark == 0 {
		opts.Mark = nat.DefaultMark
	}
	f := &Firewall{
		opts: opts, table: inetTable(), busy: make(chan struct{}, 1),
		around:   func(ours map[string]bool) (nat.Around, error) { return nat.LookAround(opts.Instance, ours) },
		networks: map[string]nat.Network{}, endpoints: map[string]nat.Endpoint{},
	}
	var err error
	f.accepts, err = iptables.NewAccepts(ctx, iptables.Options{Instance: opts.Instance, Log: opts.Log, Step: opts.Step})
	if err != nil {
		return nil, err
	}
	f.conn, err = dial(nftables.AsLasting())
	return f, err
}

func inetTable() *nftables.Table {
	return &nftables.Table{Name: tableName, Family: nftables.TableFamilyINet}
}

// buffer is how much one transaction may take: 10,000 ports are 1 MB.
const buffer = 32 << 20

func dial(opts ...nftables.ConnOption) (*nftables.Conn, error) {
	c, err := nftables.New(append(opts, nftables.WithSockOptions(
		func(c *netlink.Conn) error { return c.SetWriteBuffer(buffer) },
		func(c *netlink.Conn) error { return c.SetReadBuffer(buffer) },
	))...)
	if err != nil {
		return nil, fmt.Errorf("nftables: open netlink: %w", err)
	}
	return c, nil
}

// Apply puts networks and endpoints into the kernel, in the place of those with
// the same ID. It may be repeated. If it fails, the kernel holds what it held
// before. An endpoint is one transaction, whatever else there is.
func (f *Firewall) Apply(ctx context.Context, put nat.State) error {
	if err := put.Check(); err != nil {
		return err
	}
	d := newDelta()
	for _, n := range put.Networks {
		d.networks[n.ID] = &n
	}
	for _, e := range put.Endpoints {
		d.endpoints[e.ID] = &e
	}
	if err := f.lock(ctx); err != nil {
		return err
	}
	defer f.unlock()
	return f.change(ctx, d, func(ctx context.Context) error {
		if f.accepts == nil || len(put.Networks) == 0 {
			return nil
		}
		return f.accepts.Apply(ctx, nat.State{Networks: put.Networks})
	})
}

// Remove takes networks and endpoints out of the kernel, by their ID. It may be
// repeated. What lets a network's packets pass goes before what drops some.
func (f *Firewall) Remove(ctx context.Context, gone nat.State) error {
	d := newDelta()
	for _, n := range gone.Networks {
		d.networks[n.ID] = nil
	}
	for _, e := range gone.Endpoints {
		d.endpoints[e.ID] = nil
	}
	if err := f.lock(ctx); err != nil {
		return err
	}
	defer f.unlock() // both, or a repair between them puts back the first
	if f.accepts != nil && len(gone.Networks) > 0 {
		if err := f.accepts.Remove(ctx, nat.State{Networks: gone.Networks}); err != nil {
			return err
		}
	}
	return f.change(ctx, d, func(context.Context) error { return nil })
}

// change makes d so, and then does what completes it; or nothing at all. The
// caller holds the lock.
func (f *Firewall) change(ctx context.Context, d delta, complete func(context.Context) error) error {
	undo := f.swap(d)
	err := f.move(ctx, undo, d)
	if err != nil { // a transaction: nothing of it is there
		f.swap(undo)
		return err
	}
	if err = complete(ctx); err != nil {
		f.swap(undo)
		return errors.Join(err, f.move(context.WithoutCancel(ctx), d, undo))
	}
	return nil
}

// move takes the kernel from before to after: by their elements alone, or by
// reading and comparing all.
func (f *Firewall) move(ctx context.Context, before, after delta) error {
	if len(before.networks)+len(before.endpoints) == 0 && f.kept.known {
		return nil
	}
	if plan, ok, err := f.plan(before, after); err != nil {
		return err
	} else if ok {
		err := f.write(plan.change)
		if err == nil {
			f.keep(plan)
			return nil
		}
		f.opts.Log.WithError(err).Warn("nftables: the table was not as left, comparing all")
	}
	_, err := f.equalize(ctx)
	return err
}

// A plan is a change of elements, and the part of no endpoint after it.
type plan struct {
	change   change
	networks *fill
}

// plan returns the elements to write; ok is false if more than elements differs
// or it isn't sure what the kernel holds.
func (f *Firewall) plan(before, after delta) (p plan, ok bool, err error) {
	if !f.kept.known || !f.kept.there || f.kept.all.contested || len(f.networks) == 0 {
		return p, false, nil
	}
	old, now := newFill(), newFill()
	for id, e := range before.endpoints {
		old.endpoint(e)
		now.endpoint(after.endpoints[id])
	}
	p.networks = f.kept.networks
	if len(before.networks) > 0 || before.restricts() || after.restricts() {
		a, err := f.around(f.bridges())
		if err != nil {
			return p, false, err
		}
		p.networks = newFill()
		if own := p.networks.shared(f.state(), a); !sameChains(own, f.kept.own, f.opts.Instance) {
			return p, false, nil
		}
	}
	p.change = difference(old.elements, now.elements)
	if p.networks != f.kept.networks {
		c := difference(f.kept.networks.elements, p.networks.elements)
		for e, v := range c.gone {
			p.change.gone[e] = v
		}
		for e, v := range c.put {
			p.change.put[e] = v
		}
	}
	if old.contested || now.contested || p.networks.contested {
		return p, false, nil
	}
	for e, v := range p.change.gone {
		if held, there := f.kept.all.elements[e]; !there || held != v {
			return p, false, nil
		}
	}
	for e := range p.change.put {
		_, there := f.kept.all.elements[e]
		if _, goes := p.change.gone[e]; there && !goes {
			return p, false, nil // another's
		}
	}
	return p, true, nil
}

// keep remembers that a plan was carried out.
func (f *Firewall) keep(p plan) {
	for e := range p.change.gone {
		delete(f.kept.all.elements, e)
	}
	for e, v := range p.change.put {
		f.kept.all.elements[e] = v
	}
	f.kept.networks = p.networks
}

// write changes elements in one transaction.
func (f *Firewall) write(c change) error {
	if c.empty() {
		return nil
	}
	conn, err := f.lasting()
	if err != nil {
		return err
	}
	f.opts.Step("nftables.elements")
	if err = sendElements(conn, f.table, c); err == nil {
		err = conn.Flush()
	}
	if err != nil {
		f.hangUp()
		return fmt.Errorf("nftables: change elements of table inet %s: %w", tableName, err)
	}
	return nil
}

// Reconcile makes all that is ours in the kernel equal to want, whoever changed
// it, and says what was different. It writes nothing if nothing was.
func (f *Firewall) Reconcile(ctx context.Context, want nat.State) ([]nat.Repair, error) {
	if err := want.Check(); err != nil {
		return nil, err
	}
	if err := f.lock(ctx); err != nil {
		return nil, err
	}
	defer f.unlock()
	f.remember(want) // whatever fails: changes that come are to all of this
	return f.repair(ctx)
}

// Repair is Reconcile with all that f was told since the last one.
func (f *Firewall) Repair(ctx context.Context) ([]nat.Repair, error) {
	if err := f.lock(ctx); err != nil {
		return nil, err
	}
	defer f.unlock()
	return f.repair(ctx)
}

func (f *Firewall) repair(ctx context.Context) ([]nat.Repair, error) {
	found, err := f.equalize(ctx)
	if err != nil || f.accepts == nil {
		return found, err
	}
	more, err := f.accepts.Reconcile(ctx, nat.State{Networks: f.state().Networks})
	return append(found, more...), err
}

// tries bounds how often the table is compared again because somebody else
// changed it between reading and writing.
const tries = 3

// equalize compares the kernel with what is wanted and repairs it.
func (f *Firewall) equalize(ctx context.Context) (found []nat.Repair, err error) {
	f.kept = kept{}
	a, err := f.around(f.bridges())
	if err != nil {
		return nil, err
	}
	s := f.state()
	all, own := render(s, a)
	networks := newFill()
	networks.shared(s, a)
	empty := all.empty()
	for range tries {
		if err = ctx.Err(); err != nil {
			return nil, fmt.Errorf("nftables: %w", err)
		}
		if found, err = f.compare(all, own, empty); err == nil {
			f.kept = kept{known: true, there: !empty, all: all, networks: networks, own: own}
			return found, nil
		}
		f.hangUp()
	}
	return nil, err
}

func (f *Firewall) compare(all *fill, own []chain, empty bool) ([]nat.Repair, error) {
	conn, err := f.lasting()
	if err != nil {
		return nil, err
	}
	have, there, err := read(conn, f.table)
	if err != nil {
		return nil, fmt.Errorf("nftables: read table inet %s: %w", tableName, err)
	}
	every := slices.Concat(own, chains(f.opts.Mark))
	want := wanted(every, all, f.opts.Instance)
	switch {
	case empty && !there:
		return nil, nil
	case empty:
		return []nat.Repair{{What: "inet " + tableName + ": the table was not wanted"}}, f.whole(nil, nil)
	case !there:
		return []nat.Repair{{What: "inet " + tableName + ": the table was missing"}}, f.whole(every, all.elements)
	case !sameShape(have, want):
		return repairs(have, want), f.whole(every, all.elements)
	}
	return repairs(have, want), f.write(difference(have.elements, all.elements))
}

// whole puts the table into the place of what is there; without chains, none.
// Its socket is not the lasting one: the kernel echoes rules.
func (f *Firewall) whole(every []chain, elements map[element]value) error {
	conn, err := dial()
	if err != nil {
		return err
	}
	f.opts.Step("nftables.table")
	if every == nil {
		conn.AddTable(f.table)
		conn.DelTable(f.table)
	} else if err := sendTable(conn, f.table, every, elements, f.opts.Instance); err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("nftables: set table inet %s: %w", tableName, err)
	}
	return nil
}

// GuardForward makes DROP the policy of the iptables' FORWARD in a family, as
// Docker does when it turns forwarding on: what neither enters nor leaves by
// one of our bridges is not forwarded for its sake. A policy in a table of ours
// would drop what other rules let pass.
func (f *Firewall) GuardForward(ctx context.Context, v6 bool) error {
	if f.accepts == nil {
		return errors.New("nftables: policy of FORWARD: no iptables on this host: turn IP forwarding on by hand, or install iptables")
	}
	if err := f.accepts.GuardForward(ctx, v6); err != nil {
		return err
	}
	if err := f.lock(ctx); err != nil {
		return err
	}
	defer f.unlock() // now there is a FORWARD that drops
	return f.accepts.Apply(ctx, nat.State{Networks: f.state().Networks})
}

// Close ends the use of f. Its table stays.
func (f *Firewall) Close() error {
	f.busy <- struct{}{}
	defer f.unlock()
	f.hangUp()
	return nil
}

// lasting returns the connection, a new one after an error.
func (f *Firewall) lasting() (*nftables.Conn, error) {
	if f.conn == nil {
		var err error
		if f.conn, err = dial(nftables.AsLasting()); err != nil {
			return nil, err
		}
	}
	return f.conn, nil
}

// hangUp drops the connection: answers may still wait in it.
func (f *Firewall) hangUp() {
	if f.conn != nil {
		_ = f.conn.CloseLasting()
		f.conn = nil
	}
}

func (f *Firewall) lock(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	select {
	case f.busy <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("nftables: wait for another change: %w", ctx.Err())
	}
}

func (f *Firewall) unlock() { <-f.busy }
