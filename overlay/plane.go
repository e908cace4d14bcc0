package overlay

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"fairway/link"
)

// Kernel is what a Plane needs of the host.
type Kernel interface {
	// Remotes opens the tables of a VXLAN and its bridge.
	Remotes(namespace, vxlan, bridge string) (*link.Remotes, error)
}

// PlaneOptions make a Plane.
type PlaneOptions struct {
	Kernel Kernel
	Filter *Filter // who may send VXLAN to this host; nil: anybody
	Log    logrus.FieldLogger
}

// A Plane keeps the entries of segments in the kernel equal to the records. Its
// methods may be called concurrently, and each may be repeated. Entries that can't
// be written, since their links aren't there, are written when these are back.
type Plane struct {
	opts     PlaneOptions
	mu       sync.Mutex // the map
	segments map[uint32]*segment
	wake     chan struct{}
	repaired atomic.Int64 // entries
	rules    atomic.Int64 // repaired, of the filter
}

// A segment is one of a Plane's.
type segment struct {
	plane   *Plane
	passing sync.Mutex  // one pass at a time; before mu
	hurry   atomic.Bool // a pass is to end

	multicast atomic.Bool // seg.Multicast
	mu        sync.Mutex  // all below, and what is written
	*table
	kernel   *link.Remotes
	vxlan    int // index of the link that has the entries; 0: none
	closed   bool
	told     bool           // of all records: before, what is in the kernel is an earlier daemon's
	strange  map[any]uint32 // entries that nobody wants → the pass that saw it
	last     Drift
	repaired int
}

// NewPlane returns a Plane without segments.
func NewPlane(opts PlaneOptions) *Plane {
	if opts.Log == nil {
		l := logrus.New()
		l.SetLevel(logrus.PanicLevel)
		opts.Log = l
	}
	return &Plane{opts: opts, segments: map[uint32]*segment{}, wake: make(chan struct{}, 1)}
}

// Open serves a segment from now on, whose links were made; or goes on with
// settings that have changed. Until the first Set, what an earlier daemon left in
// the kernel stays.
func (p *Plane) Open(ctx context.Context, seg Segment) error {
	p.mu.Lock()
	s, there := p.segments[seg.VNI]
	if !there {
		s = &segment{plane: p, table: newTable(seg), strange: map[any]uint32{}}
		p.segments[seg.VNI] = s
	}
	p.mu.Unlock()
	err := s.turn(seg)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fmt.Errorf("overlay: %s: %w", seg, errNone)
	}
	if p.opts.Filter != nil && !s.told {
		err = p.opts.Filter.Open(ctx, seg)
	}
	if p.opts.Filter != nil && seg.Multicast {
		err = errors.Join(err, p.opts.Filter.Groups(ctx, true))
	}
	return errors.Join(err, s.admit(ctx), s.write(ctx, change{}))
}

// turn has a segment use the tables of its links, once no pass reads others.
func (s *segment) turn(seg Segment) error {
	s.mu.Lock()
	same := s.kernel != nil && s.seg.same(seg)
	s.mu.Unlock()
	if same {
		return nil
	}
	s.hurry.Store(true)
	s.passing.Lock()
	defer s.passing.Unlock()
	s.hurry.Store(false)
	tables, err := s.plane.opts.Kernel.Remotes(seg.Namespace, seg.VXLAN, seg.Bridge)
	if err != nil {
		return fmt.Errorf("overlay: open %s: %w", seg, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kernel != nil {
		s.kernel.Close()
	}
	s.kernel, s.seg, s.vxlan = tables, seg, 0
	s.multicast.Store(seg.Multicast)
	return nil
}

// release closes the tables of a segment that is closed, unless a pass reads them:
// then it is that pass's to do.
func (s *segment) release() {
	if !s.passing.TryLock() {
		return
	}
	defer s.passing.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed && s.kernel != nil {
		s.kernel.Close()
		s.kernel = nil
	}
}

// Close forgets a segment. Its entries go with its links.
func (p *Plane) Close(ctx context.Context, vni uint32) error {
	p.mu.Lock()
	s, there := p.segments[vni]
	delete(p.segments, vni)
	p.mu.Unlock()
	if !there {
		return nil
	}
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.hurry.Store(true)
	s.release()
	if p.opts.Filter == nil {
		return nil
	}
	err := p.opts.Filter.Remove(ctx, vni)
	if !p.crosses() {
		err = errors.Join(err, p.opts.Filter.Groups(ctx, false))
	}
	return err
}

// crosses reports whether multicast crosses hosts in any segment.
func (p *Plane) crosses() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.segments {
		if s.multicast.Load() {
			return true
		}
	}
	return false
}

// errNone says that a segment isn't served.
var errNone = errors.New("is no segment of this host")

// change takes what f does to the records of a segment to the kernel.
func (p *Plane) change(ctx context.Context, vni uint32, f func(s *segment, k *keys) error) error {
	p.mu.Lock()
	s, ok := p.segments[vni]
	p.mu.Unlock()
	if !ok {
		return fmt.Errorf("overlay: VNI %d: %w", vni, errNone)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fmt.Errorf("overlay: VNI %d: %w", vni, errNone)
	}
	hosts, told := maps.Clone(s.hosts), s.told
	var k keys
	refused := f(s, &k)
	c := s.difference(k)
	var admitted error
	if came := !contains(hosts, s.hosts) || told != s.told; came { // before it is sent to, and anything may come from there
		admitted = s.admit(ctx)
	}
	err := errors.Join(refused, admitted, s.write(ctx, c))
	if !contains(s.hosts, hosts) {
		err = errors.Join(err, s.admit(ctx))
	}
	return err
}

// contains reports whether all keys of b are in a.
func contains(a, b map[netip.Addr]int) bool {
	for h := range b {
		if _, ok := a[h]; !ok {
			return false
		}
	}
	return true
}

// Set makes records all that there are of a segment on other hosts, as of a
// revision; what is newer than that stays, and an older set than the last says
// nothing. A record that can't be is left out, and is an error; the others count.
func (p *Plane) Set(ctx context.Context, vni uint32, records []Record, revision int64) error {
	return p.all(ctx, vni, records, func(t *table, good []Record, k *keys) { t.set(good, revision, k) })
}

// Replace is Set, whatever is known: the cluster's store was made anew, from a
// backup say, and counts its revisions from a lower one. What is the same as
// before stays in the kernel as it is.
func (p *Plane) Replace(ctx context.Context, vni uint32, records []Record, revision int64) error {
	return p.all(ctx, vni, records, func(t *table, good []Record, k *keys) { t.replace(good, revision, k) })
}

func (p *Plane) all(ctx context.Context, vni uint32, records []Record, do func(t *table, good []Record, k *keys)) error {
	return p.change(ctx, vni, func(s *segment, k *keys) error {
		var errs []error
		good := make([]Record, 0, len(records))
		for _, r := range records {
			if err := s.seg.check(r); err != nil {
				errs = append(errs, err)
				continue
			}
			good = append(good, r)
		}
		do(s.table, good, k)
		s.told = true
		return errors.Join(errs...)
	})
}

// Put takes a record of another host, in place of an older one.
func (p *Plane) Put(ctx context.Context, vni uint32, r Record) error {
	return p.change(ctx, vni, func(s *segment, k *keys) error {
		if err := s.seg.check(r); err != nil {
			return err
		}
		s.put(r, k)
		return nil
	})
}

// Remove forgets a record, unless it is newer than the revision of its removal.
func (p *Plane) Remove(ctx context.Context, vni uint32, id string, revision int64) error {
	return p.change(ctx, vni, func(s *segment, k *keys) error {
		s.remove(id, revision, k)
		return nil
	})
}

// Attach says that an endpoint is on this host, whatever the records say of its
// addresses. Its link, and the bridge's entries for it, are somebody else's to
// make, before or after.
func (p *Plane) Attach(ctx context.Context, vni uint32, l Local) error {
	return p.change(ctx, vni, func(s *segment, k *keys) error { s.attach(l, k); return nil })
}

// Detach says that it isn't any more, once its link is removed.
func (p *Plane) Detach(ctx context.Context, vni uint32, id string) error {
	return p.change(ctx, vni, func(s *segment, k *keys) error { s.detach(id, k); return nil })
}

// admit tells the filter from which hosts the segment may come.
func (s *segment) admit(ctx context.Context) error {
	if s.plane.opts.Filter == nil || !s.told {
		return nil
	}
	return s.plane.opts.Filter.Set(ctx, s.seg, slices.Collect(maps.Keys(s.hosts)))
}

// write writes a change, new entries before old ones go; and all there is to a
// VXLAN that was made anew. What fails is tried again by the next pass.
func (s *segment) write(ctx context.Context, c change) (err error) {
	if s.kernel == nil {
		return nil
	}
	vxlan, _, err := s.kernel.Links()
	if errors.Is(err, unix.ENODEV) {
		s.vxlan = 0
		return nil
	}
	if err != nil {
		return err
	}
	if s.vxlan != vxlan {
		drops := c.dropIPs // the bridge may be the same one
		c = s.written()
		c.dropIPs, s.vxlan = drops, vxlan
	}
	err = s.kernel.Put(ctx, c.putMACs, c.putIPs)
	for _, a := range c.announce {
		if e := s.kernel.Announce(a); e != nil {
			s.plane.opts.Log.WithError(e).Warn("overlay: neighbours weren't told of a new MAC address")
		}
	}
	err = errors.Join(err, s.kernel.Flood(ctx, c.putFloods, c.dropFloods), s.kernel.Remove(ctx, c.dropMACs, c.dropIPs))
	if err != nil {
		return fmt.Errorf("overlay: %s: %w", s.seg, err)
	}
	return nil
}
