package iptables

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"

	"fairway/nat"
)

// A Firewall holds what it was last told in the kernel's iptables. Its methods
// may be called concurrently; they change the kernel one after the other.
type Firewall struct {
	opts   nat.Options
	run    runner
	around func(ours map[string]bool) (nat.Around, error)
	no6    error         // why there is no IPv6
	busy   chan struct{} // holds a token while the fields below are used

	want    nat.Applied
	known   bool // the kernel was made equal to that
	accepts bool // only that: see NewAccepts
	used6   bool // there are IPv6 rules of ours
	guarded nat.ForwardGuard
}

// New returns a Firewall that has applied nothing yet: Reconcile takes over
// what an earlier one left. Without ip6tables, or IPv6 in the kernel, only
// networks without IPv6 can be applied.
func New(_ context.Context, opts nat.Options) (*Firewall, error) {
	opts, err := opts.Complete()
	if err != nil {
		return nil, err
	}
	for _, program := range []string{"iptables-save", "iptables-restore"} {
		if _, err := exec.LookPath(program); err != nil {
			return nil, fmt.Errorf("iptables: %w", err)
		}
	}
	look := func(ours map[string]bool) (nat.Around, error) { return nat.LookAround(opts, ours) }
	f := newFirewall(opts, programs{}, look, lacks6())
	f.guarded, err = nat.ReadForwardGuard(opts.ForwardGuard)
	return f, err
}

// NewAccepts returns a Firewall that translates and drops nothing: it only lets
// the networks' packets pass FORWARD and DOCKER-USER, where the host's iptables
// have FORWARD at all, for a firewall made elsewhere that drops what may not
// pass. What New left, its Reconcile removes. On a host without the programs it
// is nil.
func NewAccepts(ctx context.Context, opts nat.Options) (*Firewall, error) {
	f, err := New(ctx, opts)
	if errors.Is(err, exec.ErrNotFound) {
		return nil, nil
	}
	if err == nil {
		f.accepts = true
	}
	return f, err
}

func newFirewall(opts nat.Options, run runner, look func(map[string]bool) (nat.Around, error), no6 error) *Firewall {
	return &Firewall{
		opts: opts, run: run, around: look, no6: no6, busy: make(chan struct{}, 1), want: nat.NewApplied(),
	}
}

// lacks6 says why IPv6 can't be filtered, nil if it can.
func lacks6() error {
	if _, err := os.Stat("/proc/sys/net/ipv6"); err != nil {
		return errors.New("the kernel has no IPv6")
	}
	for _, program := range []string{"ip6tables-save", "ip6tables-restore"} {
		if _, err := exec.LookPath(program); err != nil {
			return err
		}
	}
	return nil
}

// Apply puts networks and endpoints into the kernel, in the place of those with
// the same ID. It may be repeated. If it fails, the kernel holds what it held
// before. An endpoint without ports costs nothing, one with ports a run of
// iptables-restore per family.
func (f *Firewall) Apply(ctx context.Context, put nat.State) error {
	if err := put.Check(); err != nil {
		return err
	}
	if err := f.check6(put); err != nil {
		return err
	}
	return f.change(ctx, put.Put())
}

// Remove takes networks and endpoints out of the kernel, by their ID. It may be
// repeated.
func (f *Firewall) Remove(ctx context.Context, gone nat.State) error {
	return f.change(ctx, gone.Gone())
}

func (f *Firewall) change(ctx context.Context, d nat.Delta) error {
	if err := f.lock(ctx); err != nil {
		return err
	}
	defer f.unlock()
	undo := f.want.Swap(d)
	err := f.move(ctx, undo, d)
	if err != nil {
		f.want.Swap(undo)
		if _, again := f.equalize(context.WithoutCancel(ctx), f.want.State(), false); again != nil {
			f.known = false // whatever is there is compared before the next change
			return errors.Join(err, again)
		}
	}
	return err
}

// move takes the kernel from what it held before, as far as that differed, to
// what d wants: by the endpoints' rules alone, or, if networks differ or the
// rules aren't as they were left, by comparing all.
func (f *Firewall) move(ctx context.Context, before, d nat.Delta) error {
	if f.known && len(before.Networks) == 0 && !before.Restricts() && !d.Restricts() {
		err := f.moveEndpoints(ctx, before, d)
		if err == nil || ctx.Err() != nil {
			return err
		}
		f.opts.Log.WithError(err).Warn("iptables: rules were not as left, comparing all")
	}
	_, err := f.equalize(ctx, f.want.State(), false)
	return err
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
	f.known = false
	repairs, err := f.equalize(ctx, want, true)
	return repairs, errors.Join(err, f.check6(want))
}

// Repair is Reconcile with all that f was told since the last one.
func (f *Firewall) Repair(ctx context.Context) ([]nat.Repair, error) {
	if err := f.lock(ctx); err != nil {
		return nil, err
	}
	defer f.unlock()
	f.known = false
	return f.equalize(ctx, f.want.State(), true)
}

// check6 refuses what needs IPv6 where there is none.
func (f *Firewall) check6(s nat.State) error {
	if f.no6 == nil || f.accepts {
		return nil
	}
	for _, n := range s.Networks {
		if slices.ContainsFunc(n.Families, nat.Family.Is6) {
			return fmt.Errorf("iptables: network %s: IPv6: %w", n.ID, f.no6)
		}
	}
	return nil
}

// moveEndpoints changes the rules of the endpoints that differ.
func (f *Firewall) moveEndpoints(ctx context.Context, before, after nat.Delta) error {
	for _, v6 := range f.families() {
		if err := f.restore(ctx, v6, endpointChange(before, after, v6, f.opts.Instance, f.opts.Marks)); err != nil {
			return err
		}
	}
	return nil
}

// restore runs iptables-restore: each table is changed whole or not at all.
func (f *Firewall) restore(ctx context.Context, v6 bool, script string) error {
	if script == "" {
		return nil
	}
	f.opts.Step("iptables.restore " + familyName(v6))
	_, err := f.run.run(ctx, script, program(v6, "restore"), "--noflush", "--wait", lockWait)
	return err
}

// Close ends the use of f. Its rules stay.
func (f *Firewall) Close() error { return nil }

func (f *Firewall) lock(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("iptables: %w", err)
	}
	select {
	case f.busy <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("iptables: wait for another change: %w", ctx.Err())
	}
}

func (f *Firewall) unlock() { <-f.busy }

func (f *Firewall) families() []bool {
	if f.no6 != nil {
		return []bool{false}
	}
	return []bool{false, true}
}

func familyName(v6 bool) string {
	if v6 {
		return "ip6"
	}
	return "ip"
}

func program(v6 bool, what string) string { return familyName(v6) + "tables-" + what }
