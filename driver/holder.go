package driver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"fairway/event"
	"fairway/nat"
	"fairway/store"
)

// named adds to a refusal of a port who has the port, if that can be found.
func (d *Driver) named(ctx context.Context, err error) error {
	var c *nat.Conflict
	if !errors.As(err, &c) {
		return err
	}
	if by := d.holder(ctx, c); by != "" {
		return fmt.Errorf("%w (by %s)", err, by)
	}
	return err
}

// findTime bounds how long the search for a port's holder takes: some
// milliseconds on a host that isn't overloaded.
const findTime = time.Second

// holder names who has a port that is refused, in printable characters; "" if
// that isn't known.
func (d *Driver) holder(ctx context.Context, c *nat.Conflict) string {
	if c.Owner != "" {
		e, ok := d.endpoint(c.Owner)
		if !ok {
			return ""
		}
		return d.holderEndpoint(e)
	}
	ctx, cancel := context.WithTimeout(ctx, findTime)
	defer cancel()
	h := nat.FindHolder(ctx, c)
	for _, e := range d.Endpoints() {
		if h.Container != "" && e.ContainerID == h.Container && e.Container != "" {
			return fmt.Sprintf("container %q", e.Container)
		}
	}
	return h.String()
}

func (d *Driver) holderEndpoint(e store.Endpoint) string {
	who := fmt.Sprintf("endpoint %.12q", e.ID)
	if e.Container != "" {
		who = fmt.Sprintf("container %q", e.Container)
	}
	if n, ok := d.network(e.Network); ok {
		who += fmt.Sprintf(" of network %q", n.title())
	}
	return who
}

// A lostPort is a published port that no socket of ours holds.
type lostPort struct {
	endpoint string
	port     nat.Held
}

// namedAtOnce bounds how many holders one pass looks for: each may take
// findTime, and the daemon is not ready before.
const namedAtOnce = 5

// holdPorts takes the ports of e again that its record says. What can't be
// taken is logged with its holder when that is news, and what can be again is,
// too. Packets from outside reach the container all the same: they are
// translated before a socket sees them, but for those whose clients the host's own
// rules decide about. Budget is how many holders may still be looked for.
func (d *Driver) holdPorts(ctx context.Context, e store.Endpoint, budget *int) {
	log := d.log.WithField("endpoint", e.ID)
	all := d.heldBy(e)
	if d.opts.Ports.Restore(e.ID, all) == nil && !d.anyTaken(e.ID) {
		return
	}
	for _, h := range all { // which of them?
		key := lostPort{e.ID, h}
		err := d.opts.Ports.Restore(e.ID, []nat.Held{h})
		_, was := d.takenBy(key)
		switch {
		case err == nil && was:
			d.setTaken(key, "", false)
			log.WithField(event.Field, event.PortHeld).Infof("%s port %d on %s is held again", nat.ProtoName(h.Proto), h.Port, h.HostIP)
		case err != nil && !was:
			by := unknownHolder
			var c *nat.Conflict
			if errors.As(err, &c) && *budget > 0 {
				*budget--
				if found := d.holder(ctx, c); found != "" {
					by = found
				}
			}
			d.setTaken(key, by, true)
			what := "outside traffic still reaches the container"
			if d.hostDecides(e) {
				what = "nobody reaches the container by it"
			}
			log.WithField(event.Field, event.PortTaken).WithField("holder", by).Errorf("%v: %s; it is tried again until it works", err, what)
		}
	}
}

// unknownHolder stands for a holder that wasn't found.
const unknownHolder = "unknown"

// retakePorts tries again to hold the ports that somebody else took while the
// daemon was down, and forgets those that are nobody's any more. The caller
// holds the world's lock.
func (d *Driver) retakePorts(ctx context.Context) {
	d.mu.Lock()
	lost := map[string][]lostPort{}
	for k := range d.taken {
		lost[k.endpoint] = append(lost[k.endpoint], k)
	}
	d.mu.Unlock()
	budget := 0
	for id, keys := range lost {
		e, ok := d.endpoint(id)
		if ok {
			d.holdPorts(ctx, e, &budget)
		}
		published := map[nat.Held]bool{}
		for _, h := range d.heldBy(e) {
			published[h] = true
		}
		for _, k := range keys {
			if !published[k.port] {
				d.setTaken(k, "", false)
			}
		}
	}
}

// anyTaken reports whether a port of an endpoint was taken by somebody else when
// last seen.
func (d *Driver) anyTaken(endpoint string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for k := range d.taken {
		if k.endpoint == endpoint {
			return true
		}
	}
	return false
}

func (d *Driver) takenBy(k lostPort) (by string, taken bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	by, taken = d.taken[k]
	return by, taken
}

func (d *Driver) setTaken(k lostPort, by string, taken bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if taken {
		d.taken[k] = by
	} else {
		delete(d.taken, k)
	}
}

// Taken reports whether somebody else took a port that an endpoint publishes,
// while the daemon was down, and who: "unknown" if that wasn't found.
func (d *Driver) Taken(endpoint string, p store.PortBinding) (by string, taken bool) {
	if !d.anyTaken(endpoint) {
		return "", false
	}
	e, _ := d.endpoint(endpoint)
	return d.takenBy(lostPort{endpoint, heldPort(p, d.hostDecides(e))})
}
