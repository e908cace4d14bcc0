package nftables

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/nftables"

	"fairway/nat"
	"fairway/nat/iptables"
)

// A Firewall holds what it was last told in the kernel's table inet fairway.
// Its methods may be called concurrently; they change the kernel one after the
// other.
type Firewall struct {
	opts    nat.Options
	table   *nftables.Table
	owned   bool               // the table belongs to conn; the kernel knows that
	accepts *iptables.Firewall // nil on a host without iptables
	around  func(ours map[string]bool) (nat.Around, error)
	busy    chan struct{} // holds a token while the fields below are used

	conn *socket // nil after an error
	want nat.Applied
	kept kept
}

// kept is what the kernel holds, as far as f left it so.
type kept struct {
	known    bool // else the kernel must be asked
	there    bool // the table
	all      *fill
	networks *fill   // the part that is of no endpoint
	own      []chain // and its chains
}

// Options make a Firewall.
type Options struct {
	nat.Options
	// Open: everybody may change the table, as before Linux 6.9.
	Open bool
}

// New returns a Firewall that has applied nothing yet: Reconcile takes over
// what an earlier one left, in nftables and iptables. It fails if the kernel can't
// hold our table.
func New(ctx context.Context, options Options) (*Firewall, error) {
	opts, err := options.Complete()
	if err != nil {
		return nil, err
	}
	if opts.Marks, err = able(opts.Marks); err != nil {
		return nil, err
	}
	f := &Firewall{
		opts: opts, table: inetTable(), busy: make(chan struct{}, 1), want: nat.NewApplied(),
		around: func(ours map[string]bool) (nat.Around, error) { return nat.LookAround(opts, ours) },
	}
	if f.accepts, err = iptables.NewAccepts(ctx, opts); err != nil {
		return nil, err
	}
	if f.conn, err = dialLasting(); err != nil {
		return nil, err
	}
	if !options.Open {
		f.owned, err = f.conn.canOwn()
	}
	if err != nil {
		f.hangUp()
		return nil, err
	}
	return f, nil
}

func inetTable() *nftables.Table {
	return &nftables.Table{Name: tableName, Family: nftables.TableFamilyINet}
}

// Apply puts networks and endpoints into the kernel, in the place of those with
// the same ID. It may be repeated. If it fails, the kernel holds what it held
// before. An endpoint is one transaction, whatever else there is.
func (f *Firewall) Apply(ctx context.Context, put nat.State) error {
	if err := put.Check(); err != nil {
		return err
	}
	if err := f.checkCarried(put); err != nil {
		return err
	}
	if err := f.lock(ctx); err != nil {
		return err
	}
	defer f.unlock()
	return f.change(ctx, put.Put(), func(ctx context.Context) error {
		if f.accepts == nil || len(put.Networks) == 0 {
			return nil
		}
		return f.accepts.Apply(ctx, nat.State{Networks: put.Networks})
	})
}

// checkCarried refuses what would get no answers.
func (f *Firewall) checkCarried(s nat.State) error {
	if f.opts.Marks.Carry != 0 {
		return nil
	}
	for _, e := range s.Endpoints {
		if len(e.Carried) > 0 {
			return fmt.Errorf("nftables: endpoint %s: publish=host-firewall: the kernel has no nft_socket", e.ID)
		}
	}
	return nil
}

// Remove takes networks and endpoints out of the kernel, by their ID. It may be
// repeated. What lets a network's packets pass goes before what drops some.
func (f *Firewall) Remove(ctx context.Context, gone nat.State) error {
	if err := f.lock(ctx); err != nil {
		return err
	}
	defer f.unlock() // both, or a repair between them puts back the first
	if f.accepts != nil && len(gone.Networks) > 0 {
		if err := f.accepts.Remove(ctx, nat.State{Networks: gone.Networks}); err != nil {
			return err
		}
	}
	return f.change(ctx, gone.Gone(), func(context.Context) error { return nil })
}

// change makes d so, and then does what completes it; or nothing at all. The
// caller holds the lock.
func (f *Firewall) change(ctx context.Context, d nat.Delta, complete func(context.Context) error) error {
	undo := f.want.Swap(d)
	err := f.move(ctx, undo, d)
	if err != nil { // a transaction: nothing of it is there
		f.want.Swap(undo)
		return err
	}
	if err = complete(ctx); err != nil {
		f.want.Swap(undo)
		return errors.Join(err, f.move(context.WithoutCancel(ctx), d, undo))
	}
	return nil
}

// move takes the kernel from before to after: by their elements alone, or by
// reading and comparing all.
func (f *Firewall) move(ctx context.Context, before, after nat.Delta) error {
	if len(before.Networks)+len(before.Endpoints) == 0 && f.kept.known {
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
	if err = sendElements(conn.Conn, f.table, c); err != nil {
		f.hangUp() // a part of it waits to be sent
	} else if err = conn.Flush(); err != nil {
		f.settle()
	}
	if err != nil {
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
	f.want.Set(want) // whatever fails: changes that come are to all of this
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
	more, err := f.accepts.Reconcile(ctx, nat.State{Networks: f.want.State().Networks})
	return append(found, more...), err
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
	return f.accepts.Apply(ctx, nat.State{Networks: f.want.State().Networks})
}

// Close ends the use of f. Its table stays, and belongs to nobody.
func (f *Firewall) Close() error {
	f.busy <- struct{}{}
	defer f.unlock()
	f.hangUp()
	return nil
}

// lasting returns the connection, a new one after an error.
func (f *Firewall) lasting() (*socket, error) {
	if f.conn == nil {
		conn, err := dialLasting()
		if err != nil {
			return nil, err
		}
		f.conn = conn
	}
	return f.conn, nil
}

// settle makes the connection of use again after the kernel refused something:
// answers may still wait in it. To drop it would make the table an orphan.
func (f *Firewall) settle() {
	if f.conn != nil && f.conn.drain() != nil {
		f.hangUp()
	}
}

// hangUp drops the connection.
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
