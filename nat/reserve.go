package nat

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// A reservation is one call of Reserve under way.
type reservation struct {
	*Ports
	owner string
	want  []Request
	ports []uint16 // settled, by request

	chosen [][]*hold                // by request
	old    []*hold                  // what the owner held before
	kept   map[*hold]bool           // of old: chosen again
	lent   []*hold                  // of old: closed to make way for one of the owner's new ports
	made   map[protoPort][]*hold    // bound by this call
	former map[*hold]netip.AddrPort // targets that this call changed
}

// attempts bounds how often an ephemeral port is looked for that is free on
// all of a request's addresses.
const attempts = 64

func newReservation(p *Ports, owner string, want []Request) *reservation {
	return &reservation{
		Ports: p, owner: owner, want: want,
		ports: make([]uint16, len(want)), chosen: make([][]*hold, len(want)),
		old: p.owners[owner], kept: map[*hold]bool{}, made: map[protoPort][]*hold{},
		former: map[*hold]netip.AddrPort{},
	}
}

// run settles every request: first those for one port, then ranges, then
// ephemeral ones, so that none takes what another has no choice about; and
// within each kind, first those that the owner has the port of already.
func (r *reservation) run(ctx context.Context) error {
	kinds := []func(Request) bool{
		Request.single,
		func(w Request) bool { return w.First != 0 && w.last() != w.First },
		func(w Request) bool { return w.First == 0 },
	}
	for _, is := range kinds {
		for i, w := range r.want {
			if is(w) {
				r.keep(i)
			}
		}
	}
	if err := r.takeSingle(); err != nil {
		return err
	}
	for _, is := range kinds[1:] {
		for i, w := range r.want {
			if !is(w) || r.chosen[i] != nil {
				continue
			}
			if err := ctx.Err(); err != nil {
				return fmt.Errorf("ports: reserve for %s: %w", r.owner, err)
			}
			if err := r.take(i); err != nil {
				return err
			}
		}
	}
	return r.retargetKept()
}

// retargetKept gives what was kept its new targets.
func (r *reservation) retargetKept() error {
	for i, holds := range r.chosen {
		for j, h := range holds {
			if to := r.want[i].target(j); h.target != to {
				r.former[h] = h.target
				if err := r.retarget(h, to); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// target returns where what comes to the i-th host address is carried.
func (w Request) target(i int) netip.AddrPort {
	if w.Targets == nil {
		return netip.AddrPort{}
	}
	return w.Targets[i]
}

func (w Request) last() uint16 { return max(w.First, w.Last) }

// single reports whether w leaves no choice.
func (w Request) single() bool { return w.First != 0 && w.last() == w.First }

// keep settles request i by what the owner holds already, if it can.
func (r *reservation) keep(i int) {
	w := r.want[i]
	if w.single() {
		r.keepPort(i, w.First)
		return
	}
	for _, h := range r.old {
		if !r.kept[h] && h.proto == w.Proto && (w.First == 0 || w.First <= h.port && h.port <= w.last()) && r.keepPort(i, h.port) {
			return
		}
	}
}

// keepPort settles request i by port, if the owner holds it on all addresses.
func (r *reservation) keepPort(i int, port uint16) bool {
	var holds []*hold
	for _, ip := range r.want[i].HostIPs {
		k := newKey(r.want[i].Proto, ip, port)
		same := r.byPort[k.protoPort]
		j := slices.IndexFunc(same, func(o *hold) bool {
			return o.owner == r.owner && o.key == k && !r.kept[o] && !slices.Contains(holds, o)
		})
		if j < 0 {
			return false
		}
		holds = append(holds, same[j])
	}
	for _, h := range holds {
		r.kept[h] = true
	}
	r.chosen[i], r.ports[i] = holds, port
	return true
}

// takeSingle settles the requests for one port. All are claimed before any is
// bound, and they are bound by several threads: 10,000 sockets are many system
// calls.
func (r *reservation) takeSingle() error {
	var claimed [][]*hold
	for i, w := range r.want {
		if !w.single() || r.chosen[i] != nil {
			continue
		}
		holds, err := r.claim(i, w.First)
		if err != nil {
			return err
		}
		r.chosen[i], r.ports[i] = holds, w.First
		claimed = append(claimed, holds)
	}
	return r.bindAll(claimed)
}

// take settles request i, for a range or an ephemeral port, by binding.
func (r *reservation) take(i int) error {
	w := r.want[i]
	if w.First == 0 {
		return r.takeEphemeral(i)
	}
	for port := int(w.First); port <= int(w.last()); port++ {
		if err := r.takePort(i, uint16(port)); err == nil || !errors.Is(err, ErrAllocated) {
			return err
		}
	}
	return fmt.Errorf("Bind for %s:%d-%d failed: %w", w.HostIPs[0], w.First, w.last(), ErrAllocated) //nolint:staticcheck // Docker's words
}

func (r *reservation) takeEphemeral(i int) error {
	w := r.want[i]
	if w.Proto == unix.IPPROTO_SCTP {
		ports, err := ephemeralRange()
		if err != nil {
			return err
		}
		for _, port := range ports {
			if err = r.takePort(i, port); !errors.Is(err, ErrAllocated) {
				return err
			}
		}
		return err
	}
	var err error
	for range attempts {
		var port uint16
		if port, err = freePort(w.Proto, w.HostIPs[0].Unmap()); err != nil {
			return err
		}
		if err = r.takePort(i, port); !errors.Is(err, ErrAllocated) {
			return err
		}
	}
	return err
}

// takePort claims and binds port on every address of request i, or on none.
func (r *reservation) takePort(i int, port uint16) error {
	holds, err := r.claim(i, port)
	if err != nil {
		return err
	}
	if err = r.bind(holds); err != nil {
		r.unmake(holds)
		return err
	}
	r.chosen[i], r.ports[i] = holds, port
	return nil
}

// claim returns holds of port for every address of request i, without sockets
// yet, if nobody known has one of them.
func (r *reservation) claim(i int, port uint16) ([]*hold, error) {
	w := r.want[i]
	holds := make([]*hold, 0, len(w.HostIPs))
	for j, ip := range w.HostIPs {
		h := &hold{key: newKey(w.Proto, ip, port), owner: r.owner, target: w.target(j), fd: -1}
		if err := r.makeWay(h); err != nil {
			r.unmake(holds)
			return nil, err
		}
		holds = append(holds, h)
		r.made[h.protoPort] = append(r.made[h.protoPort], h)
	}
	return holds, nil
}

// bindAll gives the holds of requests their sockets, in the caller's network
// namespace.
func (r *reservation) bindAll(requests [][]*hold) error {
	here, err := netns.Get()
	if err != nil {
		return inTurn(requests, r.bind) // too many open files, and bind says it better
	}
	defer here.Close()
	return atOnce(requests, func() error { return stayIn(here) }, r.bind)
}

// bind gives the holds of a request their sockets.
func (r *reservation) bind(holds []*hold) error {
	for j, h := range holds {
		if !h.bound() && j+1 < len(holds) && pairable(h, holds[j+1]) {
			_ = r.openBoth(h, holds[j+1]) // else one by one, which says what is taken
		}
		if !h.bound() {
			if err := r.open(h, false); err != nil {
				return err
			}
		}
	}
	return nil
}

// unmake takes claims back.
func (r *reservation) unmake(holds []*hold) {
	for _, h := range holds {
		h.close()
		r.made[h.protoPort] = slices.DeleteFunc(r.made[h.protoPort], func(m *hold) bool { return m == h })
	}
}

// makeWay reports who else has the port of h. What the owner held of that port and
// didn't choose again makes way: it is taken back by undo.
func (r *reservation) makeWay(h *hold) error {
	except := map[*hold]bool{}
	for _, o := range r.byPort[h.protoPort] {
		if o.owner != r.owner || r.kept[o] || !overlap(o.ip, h.ip) {
			continue
		}
		except[o] = true
		if o.bound() {
			r.drop(o)
			r.lent = append(r.lent, o)
		}
	}
	if err := r.conflict(h.key, except); err != nil {
		return err
	}
	if slices.ContainsFunc(r.made[h.protoPort], func(m *hold) bool { return overlap(m.ip, h.ip) }) {
		return conflictOf(h.key, r.owner)
	}
	return nil
}

// finish makes what was chosen the owner's, in the order of the requests.
func (r *reservation) finish() {
	for _, o := range r.old {
		if !r.kept[o] && (o.twin == nil || r.kept[o.twin]) {
			r.drop(o)
		} else if !r.kept[o] {
			o.close()
		}
	}
	r.set(r.owner, slices.Concat(r.chosen...))
}

// undo lets go what this call bound and takes back what it lent.
func (r *reservation) undo() {
	for _, holds := range r.made {
		for _, h := range holds {
			h.close()
		}
	}
	for h, to := range r.former {
		if r.retarget(h, to) != nil {
			h.err = r.open(h, true)
		}
	}
	for _, o := range r.lent {
		o.err = r.open(o, true)
	}
}
