package unroutable

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"fairway/nat"
)

// DefaultPriority is that of the first rule. Tailscale's begin at 5210, wg-quick's
// and those of most others at 32000.
const DefaultPriority = 4000

// Protocol marks rules and routes as ours (rtm_protocol; see rtnetlink(7)).
const Protocol = 102

// Options make a Table.
type Options struct {
	nat.Options
	Priority int // of the first of the rules, and the number of the first of two tables; 0: DefaultPriority
}

// A Table keeps what it was last told in the kernel. Its methods may be called
// concurrently; they change the kernel one after the other.
type Table struct {
	opts     Options
	around   func(ours map[string]bool) (nat.Around, error)
	families []int
	busy     chan struct{} // holds a token while the fields below are used

	networks map[string]nat.Network // what is wanted, by ID
	reported bool                   // what clashes with ours
}

// New returns a Table that has applied nothing yet: Reconcile takes over what an
// earlier one left.
func New(opts Options) (t *Table, err error) {
	if opts.Options, err = opts.Complete(); err != nil {
		return nil, err
	}
	if opts.Priority == 0 {
		opts.Priority = DefaultPriority
	}
	families := []int{unix.AF_INET}
	if _, err := os.Stat("/proc/sys/net/ipv6"); err == nil {
		families = append(families, unix.AF_INET6)
	}
	return &Table{
		opts: opts, families: families, busy: make(chan struct{}, 1), networks: map[string]nat.Network{},
		around: func(ours map[string]bool) (nat.Around, error) { return nat.LookAround(opts.Options, ours) },
	}, nil
}

// Apply closes the subnets of networks, in the place of those with the same ID.
// It may be repeated. If it fails, the next call makes up for it.
func (t *Table) Apply(ctx context.Context, put []nat.Network) error {
	return t.change(ctx, len(put), func() {
		for _, n := range put {
			t.networks[n.ID] = n
		}
	})
}

// split returns what t was told before of some networks, and those of them that
// it wasn't told of.
func (t *Table) split(ctx context.Context, networks []nat.Network) (before, fresh []nat.Network, err error) {
	if err := t.lock(ctx); err != nil {
		return nil, nil, err
	}
	defer t.unlock()
	for _, n := range networks {
		if old, ok := t.networks[n.ID]; ok {
			before = append(before, old)
		} else {
			fresh = append(fresh, n)
		}
	}
	return before, fresh, nil
}

// Remove takes away what is for networks, by their ID. It may be repeated.
func (t *Table) Remove(ctx context.Context, gone []nat.Network) error {
	return t.change(ctx, len(gone), func() {
		for _, n := range gone {
			delete(t.networks, n.ID)
		}
	})
}

func (t *Table) change(ctx context.Context, n int, change func()) error {
	if n == 0 {
		return nil // endpoints are nothing to us
	}
	if err := t.lock(ctx); err != nil {
		return err
	}
	defer t.unlock()
	before := maps.Clone(t.networks)
	change()
	_, err := t.equalize()
	if err != nil {
		t.networks = before
	}
	return err
}

// Reconcile makes all that is ours in the kernel equal to what networks need,
// whoever changed it, and says what was different. The first one also reports
// what others have that ours doesn't go with.
func (t *Table) Reconcile(ctx context.Context, want []nat.Network) ([]nat.Repair, error) {
	if err := t.lock(ctx); err != nil {
		return nil, err
	}
	defer t.unlock()
	clear(t.networks)
	for _, n := range want {
		t.networks[n.ID] = n
	}
	if !t.reported {
		t.reported = true
		for _, family := range t.families {
			if err := t.reportClashes(family); err != nil {
				return nil, err
			}
		}
	}
	return t.equalize()
}

// Repair is Reconcile with what t was told last.
func (t *Table) Repair(ctx context.Context) ([]nat.Repair, error) {
	if err := t.lock(ctx); err != nil {
		return nil, err
	}
	defer t.unlock()
	return t.equalize()
}

func (t *Table) lock(ctx context.Context) error {
	select {
	case t.busy <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("unroutable: wait for another change: %w", ctx.Err())
	}
}

func (t *Table) unlock() { <-t.busy }

// equalize compares the kernel with what is wanted, and repairs it.
func (t *Table) equalize() (found []nat.Repair, err error) {
	ours, state := map[string]bool{}, nat.State{}
	for _, n := range t.networks {
		ours[n.Link] = true
		state.Networks = append(state.Networks, n)
	}
	a, err := t.around(ours)
	if err != nil {
		return nil, err
	}
	for _, family := range t.families {
		more, err := t.equalizeFamily(family, t.wanted(state, a, family))
		found = append(found, more...)
		if err != nil {
			return found, err
		}
	}
	return found, nil
}

// equalizeFamily adds what the host's own packets need before what closes, and
// takes away in the reverse order.
func (t *Table) equalizeFamily(family int, want wanted) (found []nat.Repair, err error) {
	have, err := t.read(family)
	if err != nil {
		return nil, err
	}
	steps := t.plan(family, have, want)
	for _, s := range steps {
		t.opts.Step("unroutable." + s.what)
		if err := s.make(); err != nil && !errors.Is(err, unix.EEXIST) && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ESRCH) {
			return found, fmt.Errorf("unroutable: %s %s: %w", name(family), s.what, err)
		}
		found = append(found, nat.Repair{What: name(family) + " " + s.what + " was " + s.was})
	}
	return found, nil
}

func name(family int) string {
	if family == unix.AF_INET6 {
		return "ip6"
	}
	return "ip"
}

// wanted returns what state needs in a family.
func (t *Table) wanted(state nat.State, a nat.Around, family int) wanted {
	v6 := family == unix.AF_INET6
	return wanted{
		closed:  slices.DeleteFunc(state.Unroutable(a), func(p netip.Prefix) bool { return p.Addr().Is6() != v6 }),
		carries: state.Carries(v6),
	}
}

// A wanted is what is to be there in a family.
type wanted struct {
	closed  []netip.Prefix
	carries bool // ports may be carried under clients' own addresses
}

// any reports whether there are to be rules.
func (w wanted) any() bool { return w.carries || len(w.closed) > 0 }

// A held is what the kernel holds of ours in a family.
type held struct {
	rules  []netlink.Rule
	routes []netlink.Route
	lowest int // the lowest priority of others' rules; 0 if there is none
}

// read returns what is ours, also under other numbers than those wanted now.
func (t *Table) read(family int) (h held, err error) {
	rules, err := netlink.RuleList(family)
	if err != nil {
		return h, fmt.Errorf("unroutable: list rules: %w", err)
	}
	tables := map[int]bool{t.opts.Priority: true, t.answers(): true}
	for _, r := range rules {
		if r.Protocol != Protocol {
			if r.Protocol != unix.RTPROT_KERNEL && r.Priority > 0 && (h.lowest == 0 || r.Priority < h.lowest) {
				h.lowest = r.Priority
			}
			continue
		}
		r.Family = family
		h.rules = append(h.rules, r)
		if r.Table != 0 {
			tables[r.Table] = true
		}
	}
	for table := range tables {
		routes, err := netlink.RouteListFiltered(family, &netlink.Route{Table: table}, netlink.RT_FILTER_TABLE)
		if err != nil && !errors.Is(err, unix.ENOENT) { // the kernel has no such table yet
			return h, fmt.Errorf("unroutable: list routes of table %d: %w", table, err)
		}
		for _, r := range routes {
			if r.Protocol == Protocol {
				h.routes = append(h.routes, r)
			}
		}
	}
	return h, nil
}

// network returns p as package netlink has it.
func network(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
