package nat

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// A reservation is one call of Reserve under way.
type reservation struct {
	*Ports
	owner string
	want  []Request
	ports []uint16 // settled, by request

	chosen [][]*hold      // by request
	old    []*hold        // what the owner held before
	kept   map[*hold]bool // of old: chosen again
	lent   map[*hold]bool // of old: closed to make way for one of the owner's new ports
	made   map[*hold]bool // bound by this call
}

// attempts bounds how often an ephemeral port is looked for that is free on
// all of a request's addresses.
const attempts = 64

func newReservation(p *Ports, owner string, want []Request) *reservation {
	return &reservation{
		Ports: p, owner: owner, want: want,
		ports: make([]uint16, len(want)), chosen: make([][]*hold, len(want)),
		old: p.owners[owner], kept: map[*hold]bool{}, lent: map[*hold]bool{}, made: map[*hold]bool{},
	}
}

// run settles every request: first those for one port, then ranges, then
// ephemeral ones, so that none takes what another has no choice about; and
// within each kind, first those that the owner has the port of already.
func (r *reservation) run(ctx context.Context) error {
	kinds := []func(Request) bool{
		func(w Request) bool { return w.First != 0 && w.last() == w.First },
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
	for _, is := range kinds {
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
	return nil
}

func (w Request) last() uint16 { return max(w.First, w.Last) }

// keep settles request i by what the owner holds already, if it can.
func (r *reservation) keep(i int) {
	w := r.want[i]
	for _, h := range r.old {
		if w.First != 0 && (h.port < w.First || h.port > w.last()) {
			continue
		}
		var holds []*hold
		for _, ip := range w.HostIPs {
			k := key{w.Proto, ip.Unmap(), h.port}
			j := slices.IndexFunc(r.old, func(o *hold) bool { return o.key == k && !r.kept[o] && !slices.Contains(holds, o) })
			if j < 0 {
				break
			}
			holds = append(holds, r.old[j])
		}
		if len(holds) < len(w.HostIPs) {
			continue
		}
		r.chosen[i], r.ports[i] = holds, h.port
		for _, o := range holds {
			r.kept[o] = true
		}
		return
	}
}

// take settles request i by binding.
func (r *reservation) take(i int) error {
	w := r.want[i]
	if w.First == 0 {
		return r.takeEphemeral(i)
	}
	var err error
	for port := int(w.First); port <= int(w.last()); port++ {
		if err = r.takePort(i, uint16(port)); err == nil || !errors.Is(err, ErrAllocated) {
			return err
		}
	}
	if w.last() != w.First {
		return fmt.Errorf("Bind for %s:%d-%d failed: %w", w.HostIPs[0], w.First, w.last(), ErrAllocated) //nolint:staticcheck // Docker's words
	}
	return err
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

// takePort binds port on every address of request i, or on none.
func (r *reservation) takePort(i int, port uint16) error {
	w := r.want[i]
	var holds []*hold
	for _, ip := range w.HostIPs {
		h := &hold{key: key{w.Proto, ip.Unmap(), port}, fd: -1}
		if err := r.bind(h); err != nil {
			for _, h := range holds {
				h.close()
				delete(r.made, h)
			}
			return err
		}
		r.made[h] = true
		holds = append(holds, h)
	}
	r.chosen[i], r.ports[i] = holds, port
	return nil
}

// bind takes the port of h. What the owner held of that port and didn't choose
// again makes way: it is taken back by undo.
func (r *reservation) bind(h *hold) error {
	except := map[*hold]bool{}
	for _, o := range r.old {
		if r.kept[o] || o.proto != h.proto || o.port != h.port || !overlap(o.ip, h.ip) {
			continue
		}
		except[o] = true
		if o.fd >= 0 {
			o.close()
			r.lent[o] = true
		}
	}
	if err := r.conflict(h.key, except); err != nil {
		return err
	}
	for m := range r.made {
		if m.proto == h.proto && m.port == h.port && overlap(m.ip, h.ip) {
			return bindError(h.key, ErrAllocated)
		}
	}
	var err error
	h.fd, err = bind(h.key, false)
	return err
}

// finish makes what was chosen the owner's, in the order of the requests.
func (r *reservation) finish() {
	for _, o := range r.old {
		if !r.kept[o] {
			o.close()
		}
	}
	holds := slices.Concat(r.chosen...)
	if len(holds) == 0 {
		delete(r.owners, r.owner)
		return
	}
	r.owners[r.owner] = holds
}

// undo lets go what this call bound and takes back what it lent.
func (r *reservation) undo() {
	for h := range r.made {
		h.close()
	}
	for o := range r.lent {
		o.fd, o.err = bind(o.key, true)
	}
}
