package driver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"fairway/nat"
	"fairway/store"
)

// Sandboxes translate, inside of sandboxes, what comes to the containers' own
// addresses.
type Sandboxes interface {
	// Apply makes ports all that is translated in a sandbox for an endpoint; none
	// takes away what there was. A sandbox that is gone is no error.
	Apply(ctx context.Context, sandbox, endpoint string, ports []nat.Port) error
	// Check says how what there is differs from ports; "" if it doesn't.
	Check(ctx context.Context, sandbox, endpoint string, ports []nat.Port) (string, error)
}

// noSandboxes refuses.
type noSandboxes struct{}

func (noSandboxes) Apply(_ context.Context, _, _ string, ports []nat.Port) error {
	if len(ports) > 0 {
		return errors.New("nothing translates ports inside of sandboxes")
	}
	return nil
}

func (noSandboxes) Check(context.Context, string, string, []nat.Port) (string, error) {
	return "", nil
}

// translate makes what is translated in the sandbox of e what its record says.
// Engines before 28 make the sandbox after Join: then it is done once it is there.
func (d *Driver) translate(ctx context.Context, n network, e store.Endpoint) error {
	v, ok := n.lan()
	if !ok || e.Sandbox == "" {
		return nil
	}
	ports := v.InsidePorts(e)
	if d.opts.Kernel.SandboxAlive(e.Sandbox) {
		return d.opts.Sandboxes.Apply(ctx, e.Sandbox, e.ID, ports)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(ports) == 0 {
		delete(d.awaited, e.ID)
		return nil
	}
	d.awaited[e.ID] = time.Now().Add(settling)
	select {
	case d.await <- struct{}{}:
	default:
	}
	return nil
}

// everySandbox is how often it is looked for sandboxes that are awaited.
const everySandbox = 10 * time.Millisecond

// enterSandboxes translates in sandboxes as soon as they are there, until the
// context ends.
func (d *Driver) enterSandboxes(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.await:
		}
		for d.enterThose(ctx) {
			select {
			case <-ctx.Done():
				return
			case <-time.After(everySandbox):
			}
		}
	}
}

// enterThose translates in those sandboxes that are there by now, and reports
// whether there are others. What takes too long is left to Reconcile.
func (d *Driver) enterThose(ctx context.Context) (more bool) {
	d.mu.Lock()
	var ready []store.Endpoint
	now := time.Now()
	for id, until := range d.awaited {
		e, known := d.endpoints[id]
		switch {
		case !known || now.After(until):
			delete(d.awaited, id)
		case e.Sandbox == "": // its Join isn't over yet
		case d.opts.Kernel.SandboxAlive(e.Sandbox):
			delete(d.awaited, id)
			ready = append(ready, e)
		}
	}
	more = len(d.awaited) > 0
	d.mu.Unlock()
	for _, e := range ready {
		if err := d.enter(ctx, e); err != nil {
			d.log.WithField("endpoint", e.ID).Error(err)
		}
	}
	return more
}

func (d *Driver) enter(ctx context.Context, e store.Endpoint) error {
	h, err := d.lock.endpoint(ctx, e.Network, e.ID)
	if err != nil {
		return err
	}
	defer h.release()
	n, e, err := d.both(e.Network, e.ID)
	if err != nil {
		return nil //nolint:nilerr // gone meanwhile
	}
	return d.translate(ctx, n, e)
}

// reconcileInside compares what sandboxes translate with the records.
func (d *Driver) reconcileInside(ctx context.Context) (repairs []nat.Repair, err error) {
	var errs []error
	for _, e := range d.Endpoints() {
		n, ok := d.network(e.Network)
		if !ok || len(e.Published) == 0 || e.Sandbox == "" {
			continue
		}
		what, err := d.lacksInside(ctx, n, e)
		if err == nil && what != "" {
			err = d.translate(ctx, n, e)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("endpoint %s: %w", e.ID, err))
		} else if what != "" && !d.entered(e.ID) {
			repairs = append(repairs, nat.Repair{What: "sandbox of endpoint " + e.ID[:min(12, len(e.ID))] + ": " + what})
		}
	}
	return repairs, errors.Join(errs...)
}

// entered reports whether it was waited for the sandbox of an endpoint, which is
// there now: that nothing was translated in it is no harm by others.
func (d *Driver) entered(id string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, awaited := d.awaited[id]
	delete(d.awaited, id)
	return awaited
}

// lacksInside says how what is translated in the sandbox of e differs from its
// record; "" if it doesn't, or there is no sandbox.
func (d *Driver) lacksInside(ctx context.Context, n network, e store.Endpoint) (string, error) {
	v, ok := n.lan()
	if !ok || e.Sandbox == "" || !d.opts.Kernel.SandboxAlive(e.Sandbox) {
		return "", nil
	}
	ports := v.InsidePorts(e)
	if len(ports) == 0 {
		return "", nil
	}
	return d.opts.Sandboxes.Check(ctx, e.Sandbox, e.ID, ports)
}

// publishAtJoin settles what e publishes when it joins a sandbox, if it is on a
// LAN: what is on its own addresses, and what is on the host's, too, if Docker
// won't call for it, since the network has no gateway. Each port of the host is
// published once for a container.
func (d *Driver) publishAtJoin(ctx context.Context, n network, e store.Endpoint, ports []store.PortBinding) (store.Endpoint, error) {
	if !n.onLAN() || len(ports) == 0 {
		return e, nil
	}
	e.Requested = ports
	requests := d.unmasked(e)
	wanted, err := d.bindings(n, e, requests, d.withoutProgram(n, e))
	if err != nil {
		return e, err
	}
	e.Published, err = d.reserve(ctx, e, requests, wanted)
	return e, err
}

// withoutProgram returns the families of the host's addresses that e publishes on
// though Docker doesn't call for it: all for want of a gateway, less those that
// another endpoint of its sandbox has.
func (d *Driver) withoutProgram(n network, e store.Endpoint) families {
	if n.HostLink == "" || len(n.view.Inside(e).Gateways) > 0 {
		return families{}
	}
	f := families{v4: true, v6: true}
	for _, s := range d.siblings(e) {
		for _, p := range s.Published {
			f.v4 = f.v4 && !p.HostIP.Is4()
			f.v6 = f.v6 && !p.HostIP.Is6()
		}
	}
	return f
}

// onTheirOwn returns what of published is on an endpoint's own addresses.
func onTheirOwn(published []store.PortBinding) (out []store.PortBinding) {
	for _, p := range published {
		if p.OnItsOwn() {
			out = append(out, p)
		}
	}
	return out
}

// checkOwn refuses two ports of a container under one number on its own address.
func checkOwn(wanted bindings) error {
	type own struct {
		proto uint8
		port  uint16
		ip    any
	}
	leads := map[own]uint16{}
	for _, p := range onTheirOwn(slices.Concat(wanted...)) {
		k := own{p.Proto, p.HostPort, p.IP}
		if other, there := leads[k]; there && other != p.Port {
			return fmt.Errorf("publish port %d as %d/%s: the container's address has port %d there", p.Port, p.HostPort, nat.ProtoName(p.Proto), other)
		}
		leads[k] = p.Port
	}
	return nil
}

// handOver publishes on the host what an endpoint on a LAN would have, had not
// another endpoint of its sandbox, which doesn't any more.
func (d *Driver) handOver(gone store.Endpoint) {
	if !slices.ContainsFunc(gone.Published, func(p store.PortBinding) bool { return p.HostIP.IsValid() }) {
		return
	}
	for _, s := range d.siblings(gone) {
		n, ok := d.network(s.Network)
		if !ok || n.HostLink == "" || len(s.Requested) == 0 || len(n.view.Inside(s).Gateways) > 0 {
			continue
		}
		d.work.later(func(ctx context.Context) {
			if err := d.publishAgain(ctx, s); err != nil {
				d.log.WithField("endpoint", s.ID).Error(err)
			}
		})
	}
}

func (d *Driver) publishAgain(ctx context.Context, e store.Endpoint) error {
	h, err := d.lock.endpoint(ctx, e.Network, e.ID)
	if err != nil {
		return err
	}
	defer h.release()
	n, old, err := d.both(e.Network, e.ID)
	if err != nil || old.Sandbox == "" || len(old.Requested) == 0 {
		return nil //nolint:nilerr // gone meanwhile
	}
	live := d.liveOf(old)
	e, err = d.publishAtJoin(ctx, n, old, old.Requested)
	if err != nil {
		return errors.Join(err, d.reserveAgain(ctx, old))
	}
	e.Published = append(e.Published, without(live, e.Published)...)
	err = d.carryOut(ctx, n, []store.Change{store.PutEndpoint(e)}, []store.Change{store.PutEndpoint(old)},
		func(ctx context.Context) error { return d.republish(ctx, n, e) },
		func(ctx context.Context) error { return d.republish(ctx, n, old) })
	if err != nil {
		return errors.Join(err, d.reserveAgain(ctx, old))
	}
	d.update(e)
	d.forgetConnections(portsOnly(n, e))
	return d.reserveAgain(ctx, e)
}
