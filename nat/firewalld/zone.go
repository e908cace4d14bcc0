package firewalld

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vishvananda/netlink"

	"fairway/nat"
)

// Options make a Zone.
type Options struct {
	nat.Options
	Address string // of the bus; "" for the system's
}

const (
	patience = 2 * time.Second  // what a call to fairway may wait for firewalld
	slow     = 30 * time.Second // what a reload may take
	again    = 10 * time.Second // between tries to find a bus
)

// A Zone keeps the bridges of the networks that it was told of in firewalld's
// zone, as long as there is a firewalld. Its methods may be called concurrently.
// Without D-Bus, or firewalld on it, they do nothing.
type Zone struct {
	opts Options

	mu       sync.Mutex        // the fields up to the next blank line; held shortly
	networks map[string]string // ID → link
	bus      *bus              // nil while there is none
	dialled  chan struct{}     // there is a new bus
	trouble  string            // what was logged last

	busy      chan struct{}   // holds a token while firewalld is talked to
	put       map[string]bool // links that this process put in
	left      map[string]bool // links that were reported as left in another zone
	reloading bool            // it was told to reload, for our configuration
}

// New returns a Zone that has told firewalld nothing yet.
func New(opts Options) (z *Zone, err error) {
	if opts.Options, err = opts.Complete(); err != nil {
		return nil, err
	}
	return &Zone{
		opts: opts, networks: map[string]string{}, dialled: make(chan struct{}, 1),
		busy: make(chan struct{}, 1), put: map[string]bool{}, left: map[string]bool{},
	}, nil
}

// Apply puts the bridges of networks into the zone. What takes too long or fails
// is logged and made up for by Run.
func (z *Zone) Apply(ctx context.Context, put []nat.Network) {
	z.change(ctx, len(put), func() {
		z.add(put)
	})
}

// add notes the bridges that are to be in the zone: somebody else's that packets
// are only bridged on isn't. The caller holds z.mu.
func (z *Zone) add(networks []nat.Network) {
	for _, n := range networks {
		if !n.Bridged {
			z.networks[n.ID] = n.Link
		}
	}
}

// Remove takes the bridges of networks out of the zone, if no other network is
// on them; as Apply does.
func (z *Zone) Remove(ctx context.Context, gone []nat.Network) {
	z.change(ctx, len(gone), func() {
		for _, n := range gone {
			delete(z.networks, n.ID)
		}
	})
}

// Reconcile makes the zone hold the bridges of networks and no others of ours,
// and says what somebody else took out.
func (z *Zone) Reconcile(ctx context.Context, want []nat.Network) (repairs []nat.Repair) {
	z.change(ctx, 1, func() {
		clear(z.networks)
		z.add(want)
	}, func(link string) {
		repairs = append(repairs, nat.Repair{What: "firewalld: link " + link + " was not in zone " + zone})
	})
	return repairs
}

// Close ends the connection to the bus. What firewalld was told stays.
func (z *Zone) Close() error {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.bus == nil {
		return nil
	}
	err := z.bus.conn.Close()
	z.bus = nil
	return err
}

func (z *Zone) change(ctx context.Context, n int, change func(), repaired ...func(link string)) {
	if n == 0 {
		return
	}
	z.mu.Lock()
	change()
	z.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	z.note(z.sync(ctx, repaired...))
}

// note logs what went wrong, once as long as it stays the same.
func (z *Zone) note(err error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != "" && text != z.trouble {
		z.opts.Log.WithError(err).Warn("firewalld may reject what is forwarded to and from containers")
	}
	z.trouble = text
}

// sync makes firewalld's zone hold what is wanted.
func (z *Zone) sync(ctx context.Context, repaired ...func(link string)) error {
	select {
	case z.busy <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("firewalld: wait for another change: %w", ctx.Err())
	}
	defer func() { <-z.busy }()
	b := z.connect(ctx)
	if b == nil {
		return nil
	}
	if there, err := b.running(ctx); err != nil || !there {
		return err
	}
	want, err := z.wanted()
	if err != nil || len(want)+len(z.put) == 0 {
		return err
	}
	if b.elsewhere(ctx) {
		return nil
	}
	if ready, err := z.configure(ctx, b); err != nil || !ready {
		return err
	}
	have, err := b.list(ctx, "zone.getInterfaces", zone)
	if err != nil {
		return err
	}
	return z.equalize(ctx, b, want, have, repaired)
}

// equalize puts links in and takes those of ours out.
func (z *Zone) equalize(ctx context.Context, b *bus, want, have []string, repaired []func(string)) error {
	var errs []error
	for _, link := range have {
		if !slices.Contains(want, link) && (z.put[link] || strings.HasPrefix(link, "fwb")) {
			err := b.call(ctx, path, "zone.removeInterface", zone, link)
			if err == nil || is(err, "UNKNOWN_INTERFACE", "NOT_ENABLED") {
				delete(z.put, link)
				continue
			}
			errs = append(errs, err)
		}
	}
	for link := range z.put {
		if !slices.Contains(want, link) && !slices.Contains(have, link) {
			delete(z.put, link)
		}
	}
	for _, link := range want {
		if slices.Contains(have, link) {
			z.put[link] = true
			continue
		}
		err := b.call(ctx, path, "zone.addInterface", zone, link)
		switch {
		case err == nil || is(err, "ZONE_ALREADY_SET", "ALREADY_ENABLED"):
			for _, f := range repaired {
				if z.put[link] {
					f(link)
				}
			}
			z.put[link] = true
			delete(z.left, link)
		case is(err, "ZONE_CONFLICT"):
			if !z.left[link] {
				z.opts.Log.WithField("link", link).Warn("firewalld: somebody put the bridge into another zone than fairway: left there, that zone decides")
			}
			z.left[link] = true
		default:
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// connect returns the bus, nil if there is none.
func (z *Zone) connect(ctx context.Context) *bus {
	z.mu.Lock()
	b := z.bus
	z.mu.Unlock()
	if b.alive() {
		return b
	}
	b, err := dial(ctx, z.opts.Address)
	if err != nil {
		b = nil // as on a host without one; who wants to know looks at the zone
	}
	z.mu.Lock()
	old := z.bus
	z.bus = b
	z.mu.Unlock()
	if old != nil {
		_ = old.conn.Close()
	}
	if b != nil {
		select {
		case z.dialled <- struct{}{}:
		default:
		}
	}
	return b
}

// wanted returns the links that must be in the zone: bridges that carry the
// instance's mark, so that fairway made them, and don't lead to the outside.
func (z *Zone) wanted() (links []string, err error) {
	ours := map[string]bool{}
	z.mu.Lock()
	for _, link := range z.networks {
		ours[link] = true
	}
	z.mu.Unlock()
	if len(ours) == 0 {
		return nil, nil
	}
	around, err := nat.LookAround(z.opts.Options, ours)
	if err != nil {
		return nil, err
	}
	for link := range ours {
		l, err := netlink.LinkByName(link)
		if err == nil && !around.Uplinks[link] && strings.HasPrefix(l.Attrs().Alias, "fairway:"+z.opts.Instance+":") {
			links = append(links, link)
		}
	}
	slices.Sort(links)
	return links, nil
}
