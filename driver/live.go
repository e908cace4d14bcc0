package driver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"fairway/store"
)

// A liveKey is what the live ports are of: a container on a network.
type liveKey struct{ network, container string }

// AddPorts publishes ports of a running container besides those that Docker
// requests, with the same checks and in the same order as Publish, and records
// that it is done so again whenever the container starts. HostPortEnd is the
// last of a range to choose from. A container is its name, its ID or the
// beginning of one, and network likewise; "" is the one that has its gateway.
// It returns the endpoint, and what is published for these ports. It may be
// repeated.
func (d *Driver) AddPorts(ctx context.Context, container, network string, ports []store.PortBinding) (string, []store.PortBinding, error) {
	found, err := d.running(ctx, container, network)
	if err != nil {
		return "", nil, err
	}
	h, err := d.lock.endpoint(ctx, found.Network, found.ID)
	if err != nil {
		return "", nil, err
	}
	defer h.release()
	n, old, err := d.both(found.Network, found.ID)
	if err != nil || old.Sandbox == "" {
		return "", nil, fmt.Errorf("container %q: was stopped just now", found.Container)
	}
	before, had := d.livePorts(old)
	after := before
	after.Added = slices.Clone(before.Added)
	var fresh []store.PortBinding
	added, live := newSettled(before.Added), setOf(d.liveRequests(old))
	for _, p := range ports {
		a, there := added.answer(p)
		if there && live[a] {
			continue
		}
		if there { // it waits
			after.Added = slices.Delete(after.Added, slices.Index(after.Added, a), slices.Index(after.Added, a)+1)
		}
		fresh = append(fresh, p)
	}
	e := old
	if e.Published, fresh, err = d.publishMore(ctx, n, old, fresh); err != nil {
		return "", nil, err
	}
	after.Added = append(after.Added, fresh...)
	if len(fresh) > 0 {
		if err = d.carryOutLive(ctx, n, old, e, livePair{before, after, had}); err != nil {
			return "", nil, errors.Join(err, d.reserveAgain(ctx, old))
		}
		d.forgetConnections(portsOnly(n, e))
	}
	added = newSettled(after.Added)
	var asked []store.PortBinding
	for _, p := range ports {
		if a, ok := added.answer(p); ok {
			asked = append(asked, a)
		}
	}
	return e.ID, newSettled(asked).of(e.Published), nil
}

// publishMore takes the host's ports for more of what e publishes. It returns
// all that e is then to publish, and more with the ports settled. Those that it
// publishes already are kept.
func (d *Driver) publishMore(ctx context.Context, n network, e store.Endpoint, more []store.PortBinding) (all, settled []store.PortBinding, err error) {
	requests := slices.Clone(e.Published)
	var wanted bindings
	for _, p := range e.Published {
		wanted = append(wanted, []store.PortBinding{p})
	}
	fresh, err := d.bindings(n, e, more, families{v4: true, v6: true})
	if err != nil {
		return nil, nil, err
	}
	why := "it is internal, or has publish_by=docker"
	switch {
	case n.onLAN():
		why = "it is internal or an ipvlan network in mode l3s, or the address is of the host, which host_access=true would publish on"
	case !n.publishes():
		why = "in mode " + n.Mode + " the container's ports are on its own address"
	}
	for i, w := range fresh {
		if len(w) == 0 {
			return nil, nil, fmt.Errorf("publish port %d: network %q publishes none: %s", more[i].Port, n.title(), why)
		}
		for _, b := range w {
			if slices.ContainsFunc(e.Published, func(p store.PortBinding) bool { return !b.HostIP.IsValid() && b == p }) {
				return nil, nil, fmt.Errorf("publish port %d: it is published already", more[i].Port)
			}
		}
	}
	all, err = d.reserve(ctx, e, append(requests, more...), append(wanted, fresh...))
	if err != nil {
		return nil, nil, err
	}
	at := len(requests)
	for i, w := range fresh {
		p := more[i]
		if all[at].HostPort != 0 {
			p.HostPort = all[at].HostPort
		}
		p.HostPortEnd = 0
		settled = append(settled, p)
		at += len(w)
	}
	return all, settled, nil
}

// A livePair is a record of live ports before and after a change.
type livePair struct {
	before, after store.LivePorts
	had           bool // there was one before
}

// carryOutLive makes a change of live ports durable and real. The ports are
// reserved.
func (d *Driver) carryOutLive(ctx context.Context, n network, old, e store.Endpoint, l livePair) error {
	d.work.settle(ctx, claimsOf(e)...)
	put := func(r store.LivePorts) store.Change {
		if r.Empty() {
			return store.DeleteLivePorts(r.Network, r.ContainerID)
		}
		return store.PutLivePorts(r)
	}
	err := d.carryOut(ctx, n,
		[]store.Change{put(l.after), store.PutEndpoint(e)}, []store.Change{put(l.before), store.PutEndpoint(old)},
		func(ctx context.Context) error { return d.republish(ctx, n, e) },
		func(ctx context.Context) error { return d.republish(ctx, n, old) })
	if err != nil {
		return err
	}
	d.mu.Lock()
	d.put(e)
	d.setLive(l.after)
	d.mu.Unlock()
	d.tellPorts(n, old, e)
	return nil
}

// setLive puts a record of live ports into the map. The caller holds d.mu.
func (d *Driver) setLive(l store.LivePorts) {
	k := liveKey{l.Network, l.ContainerID}
	if l.Empty() {
		delete(d.live, k)
		delete(d.waiting, k)
		return
	}
	d.live[k] = l
}

// unmasked returns what Docker requests for e, less what an operator removed.
func (d *Driver) unmasked(e store.Endpoint) []store.PortBinding {
	l, _ := d.livePorts(e)
	return slices.DeleteFunc(slices.Clone(e.Requested), func(p store.PortBinding) bool { return slices.Contains(l.Removed, p) })
}

// liveOf returns what e publishes for an operator.
func (d *Driver) liveOf(e store.Endpoint) []store.PortBinding {
	l, had := d.livePorts(e)
	if !had {
		return nil
	}
	return newSettled(l.Added).of(e.Published)
}

// liveRequests returns which live ports of e are published.
func (d *Driver) liveRequests(e store.Endpoint) (out []store.PortBinding) {
	l, _ := d.livePorts(e)
	added := newSettled(l.Added)
	for _, p := range e.Published {
		if a, ok := added.find(p); ok {
			out = append(out, a)
		}
	}
	return out
}

// livePorts returns the live ports of e's container, an empty record if there
// are none.
func (d *Driver) livePorts(e store.Endpoint) (l store.LivePorts, had bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	l, had = d.live[liveKey{e.Network, e.ContainerID}]
	if !had {
		l = store.LivePorts{Network: e.Network, Engine: e.Engine, ContainerID: e.ContainerID, Created: e.Created}
	}
	l.Container = e.Container
	return l, had && e.ContainerID != ""
}

// liveOn returns the live ports of a network.
func (d *Driver) liveOn(network string) (out []store.LivePorts) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for k, l := range d.live {
		if network == "" || k.network == network {
			out = append(out, l)
		}
	}
	slices.SortFunc(out, func(a, b store.LivePorts) int {
		return cmp.Or(cmp.Compare(a.Network, b.Network), cmp.Compare(a.ContainerID, b.ContainerID))
	})
	return out
}
