package overlay

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"fairway/link"
)

// A Drift is what a pass over a segment's entries found different from the
// records, and repaired.
type Drift struct {
	Entries int // of MAC addresses and IP addresses, that are wanted
	Missing int
	Wrong   int // led elsewhere
	Strange int // wanted by nobody, and there for two passes
}

// Total is how many entries were not as wanted.
func (d Drift) Total() int { return d.Missing + d.Wrong + d.Strange }

// Run compares the entries of all segments with the records and repairs them,
// until the context ends: a few hundred entries at a time, with pauses that leave
// 99.5% of a core to others, and at least a second between two passes. Every half
// minute it compares the filter's table, too: who sees it changed calls RepairFilter.
func (p *Plane) Run(ctx context.Context) error {
	const every, filter = time.Second, 30 * time.Second
	var filtered time.Time
	timer := time.NewTimer(every)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-p.wake:
			filtered = time.Time{}
		}
		if time.Since(filtered) > filter {
			if _, err := p.RepairFilter(ctx); err != nil {
				p.opts.Log.WithError(err).Error("overlay: who may send VXLAN to this host isn't checked")
			}
			filtered = time.Now()
		}
		for _, vni := range p.vnis() {
			_, err := p.pass(ctx, vni, restful(ctx))
			if err != nil && ctx.Err() == nil && !errors.Is(err, errNone) {
				p.opts.Log.WithError(err).Error("overlay: entries aren't as they should be")
			}
		}
		timer.Reset(every)
	}
}

// RepairFilter compares the filter's table with what is wanted, and returns how
// much of it was different.
func (p *Plane) RepairFilter(ctx context.Context) (repaired int, err error) {
	if p.opts.Filter == nil {
		return 0, nil
	}
	found, err := p.opts.Filter.Repair(ctx)
	for _, r := range found {
		p.opts.Log.Warn("overlay: repaired: " + r.What)
	}
	p.rules.Add(int64(len(found)))
	return len(found), err
}

// restful returns what rests two hundred times as long as the work took that was
// done since it rested last.
func restful(ctx context.Context) func() error {
	begun := time.Now()
	return func() error {
		const share, longest = 200, 2 * time.Second
		timer := time.NewTimer(min(share*time.Since(begun), longest))
		defer timer.Stop()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		}
		begun = time.Now()
		return nil
	}
}

// Wake has Run look at once, as when links came back.
func (p *Plane) Wake() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *Plane) vnis() []uint32 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Sorted(maps.Keys(p.segments))
}

// Compare is one pass over a segment, without pauses.
func (p *Plane) Compare(ctx context.Context, vni uint32) (Drift, error) {
	return p.pass(ctx, vni, func() error { return ctx.Err() })
}

// pass compares, and repairs what differs. What is written meanwhile is as it
// should be.
func (p *Plane) pass(ctx context.Context, vni uint32, rest func() error) (d Drift, err error) {
	p.mu.Lock()
	s, ok := p.segments[vni]
	p.mu.Unlock()
	if !ok {
		return d, fmt.Errorf("overlay: VNI %d: %w", vni, errNone)
	}
	defer s.release()
	s.passing.Lock()
	defer s.passing.Unlock()
	ready, err := s.begin(ctx)
	if !ready || err != nil {
		return d, err
	}
	var wrong keys
	err = s.readMACs(rest, &wrong)
	if err == nil {
		err = s.readIPs(rest, &wrong)
	}
	if errors.Is(err, unix.ENODEV) || errors.Is(err, errHurry) {
		return d, nil // the links are on their way out or back
	}
	if err != nil {
		return d, fmt.Errorf("overlay: VNI %d: %w", vni, err)
	}
	return s.end(ctx, wrong)
}

// begin begins a pass; ready is false if there is nothing to compare.
func (s *segment) begin(ctx context.Context) (ready bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.kernel == nil {
		return false, nil
	}
	if err := s.write(ctx, change{}); err != nil { // if the links were made anew
		return false, err
	}
	s.pass++
	return s.told && s.vxlan != 0, nil
}

// errHurry says that a pass was broken off.
var errHurry = errors.New("broken off")

// A chunk gathers entries, so that the lock is taken once for some hundred.
type chunk[T any] struct {
	s    *segment
	list []T
	see  func(T)
	rest func() error
}

func (c *chunk[T]) add(e T) { c.list = append(c.list, e) }

func (c *chunk[T]) flush() {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	for _, e := range c.list {
		c.see(e)
	}
	c.list = c.list[:0]
}

func (c *chunk[T]) slice() error {
	c.flush()
	if c.s.hurry.Load() {
		return errHurry
	}
	return c.rest()
}

func (s *segment) readMACs(rest func() error, wrong *keys) error {
	c := chunk[link.RemoteEntry]{s: s, rest: rest, see: func(e link.RemoteEntry) {
		w, ok := s.macs[e.MAC]
		f, flooded := s.floods[e.Host]
		switch {
		case !e.Bridge && e.MAC == link.MAC{} && flooded:
			f.seen = s.pass
		case !ok:
			s.saw(e, wrong)
		case w.change == s.pass:
		case e.Bridge:
			w.bridge = s.pass
		case e.Host == w.host:
			w.vxlan = s.pass
		default:
			wrong.macs = append(wrong.macs, e.MAC)
		}
	}}
	err := s.kernel.MACs(c.slice, c.add)
	c.flush()
	return err
}

func (s *segment) readIPs(rest func() error, wrong *keys) error {
	c := chunk[link.RemoteIP]{s: s, rest: rest, see: func(e link.RemoteIP) {
		w, ok := s.ips[e.IP]
		_, here := s.localIP[e.IP]
		switch {
		case here:
		case !ok && s.seg.contains(e.IP): // else somebody else's, as an operator's
			s.saw(e, wrong)
		case !ok || w.change == s.pass:
		case e.MAC == w.mac:
			w.seen = s.pass
		default:
			wrong.ips = append(wrong.ips, e.IP)
		}
	}}
	err := s.kernel.IPs(c.slice, c.add)
	c.flush()
	return err
}

// saw remembers an entry that nobody wants. An endpoint of this host may be about
// to: only one that is there for the second time is wrong.
func (s *segment) saw(entry any, wrong *keys) {
	at, known := s.strange[entry]
	s.strange[entry] = s.pass
	if !known || at != s.pass-1 {
		return
	}
	switch e := entry.(type) {
	case link.RemoteEntry:
		if e.MAC == (link.MAC{}) && e.Host.IsValid() {
			wrong.floods = append(wrong.floods, e.Host)
			return
		}
		wrong.macs = append(wrong.macs, e.MAC)
	case link.RemoteIP:
		wrong.ips = append(wrong.ips, e.IP)
	}
}

// end repairs what a pass found.
func (s *segment) end(ctx context.Context, wrong keys) (d Drift, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.strange, func(_ any, at uint32) bool { return at != s.pass })
	if s.closed {
		return d, nil
	}
	var c change
	bad := map[any]bool{}
	for _, m := range wrong.macs {
		w, want := s.macs[m]
		if bad[m] || want && w.change == s.pass {
			continue
		}
		bad[m] = true
		if want {
			d.Wrong++
			c.putMACs = append(c.putMACs, link.RemoteMAC{MAC: m, Host: w.host})
		} else {
			d.Strange++
			c.dropMACs = append(c.dropMACs, m)
		}
	}
	for _, ip := range wrong.ips {
		w, want := s.ips[ip]
		_, here := s.localIP[ip]
		switch {
		case here || want && w.change == s.pass:
			continue
		case want:
			d.Wrong++
			c.putIPs = append(c.putIPs, link.RemoteIP{IP: ip, MAC: w.mac})
		default:
			d.Strange++
			c.dropIPs = append(c.dropIPs, ip)
		}
		bad[ip] = true
	}
	for _, h := range wrong.floods {
		if s.floods[h] == nil {
			d.Strange++
			c.dropFloods = append(c.dropFloods, h)
		}
	}
	s.missing(bad, &c, &d)
	d.Entries = len(s.macs) + len(s.ips) + len(s.floods)
	s.last = d
	if d.Total() == 0 {
		return d, nil
	}
	s.log(d, c)
	if err := s.write(ctx, c); err != nil {
		return d, err
	}
	s.repaired += d.Total()
	s.plane.repaired.Add(int64(d.Total()))
	return d, nil
}

// missing adds what the pass hasn't seen.
func (s *segment) missing(bad map[any]bool, c *change, d *Drift) {
	for m, w := range s.macs {
		if (w.vxlan != s.pass || w.bridge != s.pass) && !bad[m] {
			d.Missing++
			c.putMACs = append(c.putMACs, link.RemoteMAC{MAC: m, Host: w.host})
		}
	}
	for ip, w := range s.ips {
		if w.seen != s.pass && !bad[ip] {
			d.Missing++
			c.putIPs = append(c.putIPs, link.RemoteIP{IP: ip, MAC: w.mac})
		}
	}
	for h, w := range s.floods {
		if w.seen != s.pass {
			d.Missing++
			c.putFloods = append(c.putFloods, h)
		}
	}
}
