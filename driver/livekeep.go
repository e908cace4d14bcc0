package driver

import (
	"context"
	"errors"
	"slices"

	"fairway/event"
	"fairway/nat"
	"fairway/store"
)

// A Waiting port is a live one that can't be published, and why.
type Waiting struct {
	Network, ContainerID, Container string
	store.PortBinding
	Why string
}

// WaitingPorts returns the live ports of running containers that can't be
// published. They are tried again with each look at the engine.
func (d *Driver) WaitingPorts() (out []Waiting) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, w := range d.waiting {
		out = append(out, w...)
	}
	return out
}

// LivePorts returns the records of all live ports.
func (d *Driver) LivePorts() []store.LivePorts { return d.liveOn("") }

// LiveContainers returns the IDs of the containers that have live ports: a look
// at the engine is to say whether they are still there.
func (d *Driver) LiveContainers() (ids []string) {
	for _, l := range d.liveOn("") {
		if !slices.Contains(ids, l.ContainerID) {
			ids = append(ids, l.ContainerID)
		}
	}
	return ids
}

// keepLive publishes the live ports of containers that have started, and
// forgets those of containers that their engine has no more.
func (d *Driver) keepLive(ctx context.Context, known Known) {
	for _, l := range d.liveOn("") {
		there, asked := known.Containers[l.ContainerID]
		running := false
		for _, e := range d.endpointsOf(l.Network) {
			if e.ContainerID != l.ContainerID || e.Sandbox == "" {
				continue
			}
			running = true
			if err := d.revive(ctx, e); err != nil {
				d.log.WithField("endpoint", e.ID).Error(err)
			}
		}
		mine := l.Engine == known.Engine || l.Engine == "" && !running
		if asked && !there && mine {
			d.forgetLive(ctx, l)
		}
	}
}

// forgetLive removes the record of a container that is gone, unless there is an
// endpoint of it still: what that publishes must be on record until it is removed.
func (d *Driver) forgetLive(ctx context.Context, l store.LivePorts) {
	h, err := d.lock.network(ctx, l.Network)
	if err != nil {
		return
	}
	defer h.release()
	if slices.ContainsFunc(d.endpointsOf(l.Network), func(e store.Endpoint) bool { return e.ContainerID == l.ContainerID }) {
		return
	}
	d.log.WithField("container", l.ContainerID).Info("live ports forgotten: the container is gone")
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.live, liveKey{l.Network, l.ContainerID})
	delete(d.waiting, liveKey{l.Network, l.ContainerID})
	d.owed.changes = append(d.owed.changes, store.DeleteLivePorts(l.Network, l.ContainerID))
}

// revive makes what e publishes what Docker requests, less and plus what an
// operator said. A port that somebody else has waits.
func (d *Driver) revive(ctx context.Context, e store.Endpoint) error {
	h, err := d.lock.endpoint(ctx, e.Network, e.ID)
	if err != nil {
		return err
	}
	defer h.release()
	n, old, err := d.both(e.Network, e.ID)
	l, had := d.livePorts(old)
	if err != nil || !had || old.Sandbox == "" {
		return nil //nolint:nilerr // gone meanwhile
	}
	e = old
	e.Published = slices.DeleteFunc(slices.Clone(old.Published), func(p store.PortBinding) bool {
		return slices.ContainsFunc(l.Removed, func(r store.PortBinding) bool { return carriedOutBy(r, p) }) &&
			!slices.ContainsFunc(l.Added, func(a store.PortBinding) bool { return carriedOutBy(a, p) })
	})
	gone := old
	gone.Published = without(old.Published, e.Published)
	more := d.missing(n, e, l)
	if len(gone.Published)+len(more) == 0 {
		d.wait(l, nil)
		return nil
	}
	all, waiting := d.publishSome(ctx, n, e, more)
	d.wait(l, waiting)
	if len(gone.Published) == 0 && len(all) == len(e.Published) {
		return nil
	}
	e.Published = all
	if err = d.reserveAgain(ctx, e); err == nil { // just those
		err = d.carryOutLive(ctx, n, old, e, livePair{l, l, true})
	}
	if err != nil {
		return errors.Join(err, d.reserveAgain(ctx, old))
	}
	d.log.WithField("endpoint", e.ID).Infof("live ports of container %q published", e.Container)
	if len(gone.Published) > 0 {
		d.cut(portsOnly(n, gone))
	}
	d.forgetConnections(portsOnly(n, e))
	return nil
}

// missing returns the added ports that e doesn't publish.
func (d *Driver) missing(n network, e store.Endpoint, l store.LivePorts) (out []store.PortBinding) {
	has := setOf(e.Published)
	for _, a := range l.Added {
		wanted, err := d.bindings(n, e, []store.PortBinding{a}, families{v4: true, v6: true})
		published := err == nil && !slices.ContainsFunc(slices.Concat(wanted...), func(b store.PortBinding) bool {
			return !has[b]
		})
		if !published {
			out = append(out, a)
		}
	}
	return out
}

// publishSome takes the host's ports for as much of more as can be had.
func (d *Driver) publishSome(ctx context.Context, n network, e store.Endpoint, more []store.PortBinding) (all []store.PortBinding, waiting []Waiting) {
	// What is published in one family only is published anew in both.
	part := func(e store.Endpoint, more []store.PortBinding) store.Endpoint {
		e.Published = without(e.Published, newSettled(more).of(e.Published))
		return e
	}
	if all, _, err := d.publishMore(ctx, n, part(e, more), more); err == nil {
		return all, nil
	}
	for _, a := range more {
		one := []store.PortBinding{a}
		all, _, err := d.publishMore(ctx, n, part(e, one), one)
		if err != nil {
			waiting = append(waiting, Waiting{e.Network, e.ContainerID, e.Container, a, err.Error()})
			continue
		}
		e.Published = all
	}
	return e.Published, waiting
}

// wait notes which live ports of a container wait, and says what is new.
func (d *Driver) wait(l store.LivePorts, waiting []Waiting) {
	d.mu.Lock()
	defer d.mu.Unlock()
	k := liveKey{l.Network, l.ContainerID}
	for _, w := range waiting {
		if !slices.Contains(d.waiting[k], w) {
			d.log.WithField(event.Field, event.PortWaiting).WithField("container", w.Container).Errorf("live port %d/%s is not published: %s; it is tried again", w.HostPort, nat.ProtoName(w.Proto), w.Why)
		}
	}
	if len(waiting) == 0 {
		delete(d.waiting, k)
		return
	}
	d.waiting[k] = waiting
}
