package driver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"fairway/event"
	"fairway/link"
	"fairway/nat"
	"fairway/store"
)

// CreateEndpoint makes an endpoint durable and real. The same endpoint again
// is made sure of and answered alike. Where somebody has put a bridge of his own
// in the place of the network's, it is refused: Reconcile makes nothing there
// either, until the place is free again.
func (d *Driver) CreateEndpoint(ctx context.Context, spec EndpointSpec) (EndpointReply, error) {
	h, err := d.lock.endpoint(ctx, spec.Network, spec.ID)
	if err != nil {
		return EndpointReply{}, err
	}
	defer h.release()
	n, ok := d.network(spec.Network)
	if !ok {
		return EndpointReply{}, fmt.Errorf("network %s: is not known to fairway", spec.Network)
	}
	if e, ok := d.endpoint(spec.ID); ok {
		if !endpointIsFor(e, spec) {
			return EndpointReply{}, fmt.Errorf("endpoint %s: is there already, with other settings", spec.ID)
		}
		return replyTo(spec, e), d.opts.Kernel.Apply(ctx, n.view.Attachment(e))
	}
	e, err := d.newEndpoint(ctx, n, spec)
	if err != nil {
		return EndpointReply{}, err
	}
	if err := d.vacant(ctx, n, e); err != nil {
		d.mu.Lock()
		d.forget(e)
		d.mu.Unlock()
		return EndpointReply{}, err
	}
	objects := n.view.Attachment(e)
	forAddresses(n, e, d.opts.Pools.ConfirmRequested)
	err = d.carryOut(ctx, n, []store.Change{store.PutEndpoint(e)}, []store.Change{store.DeleteEndpoint(e.ID)},
		func(ctx context.Context) error { return d.opts.Kernel.Apply(ctx, objects) },
		func(ctx context.Context) error { return d.opts.Kernel.Remove(ctx, objects) })
	if err != nil {
		d.mu.Lock()
		d.forget(e)
		d.mu.Unlock()
		return EndpointReply{}, err
	}
	forAddresses(n, e, d.opts.Pools.Confirm)
	d.guardLater(n, e)
	d.opts.Changed()
	return replyTo(spec, e), nil
}

// newEndpoint makes the record of a new endpoint and claims its names and
// addresses.
func (d *Driver) newEndpoint(ctx context.Context, n network, spec EndpointSpec) (store.Endpoint, error) {
	e := store.Endpoint{
		ID: spec.ID, Network: spec.Network, Engine: spec.Engine, Created: time.Now(),
		MAC: spec.MAC, IPv4: spec.IPv4, IPv6: spec.IPv6, Options: spec.Options,
	}
	if e.MAC == "" && !d.opts.Modes[n.Mode].NoMAC {
		e.MAC = link.RandomMAC().String()
	}
	if err := n.view.CheckEndpoint(e); err != nil {
		return e, err
	}
	if err := d.takeOver(ctx, n, e); err != nil {
		return e, err
	}
	e.Learned = d.learn(ctx, n, e)
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range claimsOf(e) {
		if owner, taken := d.claims[c]; taken {
			return e, fmt.Errorf("address %s: belongs to endpoint %s", c.ip, owner)
		}
	}
	if prefix := n.view.PortPrefix(e); prefix != "" {
		e.HostLink = d.linkName(prefix, e.ID)
	}
	if err := d.parentFree(n, e); err != nil {
		return e, err
	}
	e.Inside = d.linkName(prefixInside, e.ID)
	d.remember(e)
	if v, ok := n.lan(); spec.Ports > 0 && !n.publishes() && !n.Internal && !(ok && v.Publishes()) {
		d.log.WithField("network", n.title()).WithField("endpoint", e.ID).Warnf(
			"-p publishes nothing on a %s network: the container's ports are on its own address", n.Mode)
	}
	return e, nil
}

// takeOver removes endpoints that hold an address of e and are stale: Docker,
// whose addresses they are, has given the address to e, so it has forgotten
// them, as it does when it is killed. A living one keeps its IPv4 address; its
// IPv6 address it has lost: see loseIPv6.
func (d *Driver) takeOver(ctx context.Context, n network, e store.Endpoint) error {
	for _, c := range claimsOf(e) {
		d.mu.Lock()
		old, taken := d.endpoints[d.claims[c]]
		d.mu.Unlock()
		if !taken {
			continue
		}
		if d.attached(ctx, n, old) {
			if c.ip.Is4() {
				return fmt.Errorf("address %s: belongs to endpoint %s", c.ip, old.ID)
			}
			if err := d.loseIPv6(ctx, n, old); err != nil {
				return err
			}
			continue
		}
		d.eventOf(event.Stale, n, old).Warn("stale endpoint removed: its address was given to another")
		if err := d.removeStale(ctx, n, old); err != nil {
			return err
		}
	}
	return nil
}

// removeStale removes an endpoint during a call for another one. The caller
// holds the world shared.
func (d *Driver) removeStale(ctx context.Context, n network, e store.Endpoint) error {
	h, err := d.lock.alone(ctx, "endpoint "+e.ID)
	if err != nil {
		return err
	}
	defer h.release()
	e, ok := d.endpoint(e.ID)
	if !ok {
		return nil
	}
	err = d.removeEndpoint(ctx, n, e)
	d.freeAddresses(ctx, n, e)
	return err
}

// settling is how long an engine before 28 may take, at most, from Join to
// making the sandbox and moving the link there.
const settling = 30 * time.Second

// attached reports whether e is in a sandbox that lives, or is on its way there.
func (d *Driver) attached(ctx context.Context, n network, e store.Endpoint) bool {
	if e.Sandbox == "" {
		return false
	}
	if d.opts.Kernel.SandboxAlive(e.Sandbox) {
		return true
	}
	// The sandbox's name may be out of our sight, in another mount namespace.
	// The pair of links dies with a sandbox, unless Docker has moved the inner
	// one back.
	// Without a link that stays on the host, the inner one is there until it is
	// moved.
	if _, err := d.opts.Kernel.Link(ctx, n.Namespace, cmp.Or(e.HostLink, e.Inside)); errors.Is(err, unix.ENODEV) {
		return false
	}
	d.mu.Lock()
	joined := d.joined[e.ID]
	d.mu.Unlock()
	if time.Since(joined) < settling {
		return true
	}
	_, err := d.opts.Kernel.Link(ctx, n.Namespace, e.Inside)
	return errors.Is(err, unix.ENODEV)
}

// forAddresses calls tell for each address of e in a pool of its network.
func forAddresses(n network, e store.Endpoint, tell func(space string, subnet netip.Prefix, ips ...netip.Addr)) {
	for _, s := range n.Subnets {
		for _, p := range []netip.Prefix{e.IPv4, e.IPv6} {
			if p.IsValid() && s.Prefix.Contains(p.Addr()) {
				tell(s.Space, s.Prefix, p.Addr())
			}
		}
	}
}

func (d *Driver) endpoint(id string) (store.Endpoint, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e, ok := d.endpoints[id]
	return e, ok
}

func endpointIsFor(e store.Endpoint, s EndpointSpec) bool {
	return e.Network == s.Network && (s.MAC == "" || s.MAC == e.MAC) &&
		e.IPv4 == s.IPv4 && e.IPv6 == s.IPv6 && maps.Equal(e.Options, s.Options)
}

// replyTo returns what spec left to the driver.
func replyTo(spec EndpointSpec, e store.Endpoint) (r EndpointReply) {
	if spec.MAC == "" {
		r.MAC = e.MAC
	}
	if !spec.IPv4.IsValid() {
		r.IPv4 = e.IPv4
	}
	if !spec.IPv6.IsValid() {
		r.IPv6 = e.IPv6
	}
	return r
}

// EndpointInfo returns what people may want to read of an endpoint in Docker.
func (d *Driver) EndpointInfo(_ context.Context, networkID, endpointID string) (map[string]any, error) {
	n, ok := d.network(networkID)
	if !ok {
		return map[string]any{}, nil
	}
	info := n.view.Effective()
	if e, ok := d.endpoint(endpointID); ok {
		if e.HostLink != "" {
			info["fairway.host_link"] = e.HostLink
		}
	}
	return info, nil
}

// DeleteEndpoint forgets an endpoint. One that is not there is gone already.
func (d *Driver) DeleteEndpoint(ctx context.Context, networkID, endpointID string) error {
	h, err := d.lock.endpoint(ctx, networkID, endpointID)
	if err != nil {
		return err
	}
	defer h.release()
	e, ok := d.endpoint(endpointID)
	if !ok || e.Network != networkID {
		return nil
	}
	n, ok := d.network(networkID)
	if !ok {
		return nil
	}
	return d.removeEndpoint(ctx, n, e)
}

// removeEndpoint takes e out of the store, the firewall and the kernel. The
// caller holds its lock. It is forgotten whatever fails, since Docker has
// forgotten it: what is left behind is found by Reconcile.
func (d *Driver) removeEndpoint(ctx context.Context, n network, e store.Endpoint) error {
	d.hadBy(n, e)
	if e.Sandbox != "" { // Docker didn't call Leave
		defer func() { d.eventOf(event.Detach, n, e).Info("detached: the endpoint is removed") }()
	}
	pulled := d.pullOut(ctx, n, e)
	return d.remove(n, []store.Change{store.DeleteEndpoint(e.ID)}, func() error {
		err := errors.Join(pulled, d.unpublish(ctx, n, e))
		err = errors.Join(err, d.unguard(ctx, n, e), d.opts.Kernel.Remove(ctx, n.view.Attachment(e)))
		d.mu.Lock()
		d.forget(e)
		d.mu.Unlock()
		d.opts.Changed()
		d.forgetConnections(n.view.EndpointFirewall(e))
		return err
	})
}

// unpublish takes the ports of e out of the firewall and its sandbox, and gives
// them back to the host.
func (d *Driver) unpublish(ctx context.Context, n network, e store.Endpoint) error {
	if len(e.Published) == 0 {
		return nil
	}
	err := d.offHost(ctx, n, e)
	e.Published = nil
	return errors.Join(err, d.translate(ctx, n, e))
}

// offHost is unpublish for what is on the host's addresses.
func (d *Driver) offHost(ctx context.Context, n network, e store.Endpoint) (err error) {
	if n.publishes() {
		err = d.opts.Firewall.Remove(ctx, nat.State{Endpoints: []nat.Endpoint{n.view.EndpointFirewall(e)}})
	}
	d.opts.Ports.Release(e.ID)
	return err
}

// forgetConnections removes the tracked connections that stale makes so, behind
// the reply: with its addresses all those from and to them, which the next
// Join or Publish with one of them waits for; without, see portsOnly.
func (d *Driver) forgetConnections(stale nat.Endpoint) {
	if stale.ID == "" {
		return // the host has no part in them
	}
	var about []claim
	for _, ip := range []netip.Addr{stale.IPv4, stale.IPv6} {
		if ip.IsValid() {
			about = append(about, claim{stale.Network, ip})
		}
	}
	d.gone.add(stale)
	d.work.later(func(ctx context.Context) {
		d.gone.each(func(all []nat.Endpoint) {
			if err := d.opts.Connections.Forget(ctx, all...); err != nil {
				d.log.Warn(err)
			}
		})
	}, about...)
}
