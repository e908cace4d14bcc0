package driver

import (
	"context"
	"errors"
	"net/netip"
	"reflect"
	"slices"

	"fairway/event"
	"fairway/nat"
	"fairway/store"
)

// Publish makes the endpoint's published ports those of want, whatever they
// were before, in the families that it is the gateway for: see gatewayOf. Ports
// that somebody else holds are an error, and nothing is changed then, but that
// another endpoint of the same sandbox may have given them up: Docker calls for
// that one again.
func (d *Driver) Publish(ctx context.Context, networkID, endpointID string, want PublishSpec) error {
	h, err := d.lock.endpoint(ctx, networkID, endpointID)
	if err != nil {
		return err
	}
	defer h.release()
	n, old, err := d.both(networkID, endpointID)
	if err != nil {
		return err
	}
	if len(want.Ports) == 0 && len(old.Published) == 0 && len(old.Requested) == 0 {
		return nil
	}
	e := old
	e.Requested, e.Confirmed = want.Ports, true
	siblings := d.siblings(e)
	gateway := gatewayOf(e, siblings, want.IPv6Elsewhere)
	requests := d.unmasked(e)
	wanted, err := d.bindings(n, e, requests, gateway)
	if err != nil {
		return err
	}
	for _, p := range d.liveOf(old) { // as they are
		requests, wanted = append(requests, p), append(wanted, []store.PortBinding{p})
	}
	if reflect.DeepEqual(old.Requested, e.Requested) && wanted.are(old.Published) {
		return nil
	}
	if len(want.Ports) > 0 {
		for _, s := range siblings {
			if err := d.takeFrom(ctx, s, gateway); err != nil {
				return err
			}
		}
	}
	if e.Published, err = d.reserve(ctx, e, requests, wanted); err != nil {
		return err
	}
	apply := func(e store.Endpoint) func(context.Context) error {
		return func(ctx context.Context) error { return d.republish(ctx, n, e) }
	}
	d.work.settle(ctx, claimsOf(e)...)
	err = d.carryOut(ctx, n, []store.Change{store.PutEndpoint(e)}, []store.Change{store.PutEndpoint(old)}, apply(e), apply(old))
	if err != nil {
		return errors.Join(err, d.reserveAgain(ctx, old))
	}
	d.update(e)
	d.tellPorts(n, old, e)
	d.forgetConnections(portsOnly(n, e))
	return nil
}

// Unpublish takes the endpoint's published ports off the host.
func (d *Driver) Unpublish(ctx context.Context, networkID, endpointID string) error {
	h, err := d.lock.endpoint(ctx, networkID, endpointID)
	if err != nil {
		return err
	}
	defer h.release()
	n, e, err := d.both(networkID, endpointID)
	if err != nil || len(e.Published) == 0 && len(e.Requested) == 0 {
		return nil // gone already
	}
	gone, take := e, d.unpublish
	e.Requested, e.Published = nil, nil
	if n.onLAN() { // each endpoint publishes on its own addresses, whoever the gateway is
		e.Requested, e.Published, take = gone.Requested, onTheirOwn(gone.Published), d.offHost
	}
	done := d.commit(store.PutEndpoint(e))
	err = take(ctx, n, gone)
	d.update(e)
	d.tellPorts(n, gone, e)
	d.handOver(gone)
	if len(d.liveOf(gone)) > 0 {
		d.opts.Refresh() // if the container goes on, so do its live ports
	}
	d.forgetConnections(n.view.EndpointFirewall(gone))
	if commitErr := <-done; commitErr != nil {
		d.owe(store.PutEndpoint(e))
		return errors.Join(commitErr, err)
	}
	return err
}

// bindings are what an endpoint is to publish, by what it requests.
type bindings [][]store.PortBinding

// bindings returns what e is to publish for requests, as the gateway of its
// sandbox for some families. What is asked for on an address of another family is no error, as it
// is none for Docker: another gateway may have it, now or later.
func (d *Driver) bindings(n network, e store.Endpoint, requests []store.PortBinding, gateway families) (out bindings, err error) {
	for _, want := range requests {
		if !gateway.has(want) {
			d.log.WithField("endpoint", e.ID).Infof("port %d not published on %s: not by this endpoint", want.Port, want.HostIP)
			out = append(out, nil)
			continue
		}
		all, err := n.view.Bindings(e, want)
		if err != nil {
			return nil, err
		}
		out = append(out, slices.DeleteFunc(all, func(p store.PortBinding) bool {
			return !gateway.has(p) || !d.opts.HostIPv6 && p.IP.Is4() && p.HostIP == netip.IPv6Unspecified()
		}))
	}
	return out, nil
}

// are reports whether the bindings are published, on whatever ports of the host.
func (b bindings) are(published []store.PortBinding) bool {
	return slices.EqualFunc(slices.Concat(b...), published, func(p, q store.PortBinding) bool {
		p.HostPort, p.HostPortEnd, q.HostPort, q.HostPortEnd = 0, 0, 0, 0
		return p == q
	})
}

// reserve takes the host's ports for requests of e's, and returns what is to
// be published: wanted, with the ports settled. On its own addresses a port has
// the number that it has on the host.
func (d *Driver) reserve(ctx context.Context, e store.Endpoint, asked []store.PortBinding, wanted bindings) ([]store.PortBinding, error) {
	var out []store.PortBinding
	var requests []nat.Request
	var of [][]int // request → indices in out
	hostDecides := d.hostDecides(e)
	if err := checkOwn(wanted); err != nil {
		return nil, err
	}
	for i, want := range asked {
		request := nat.Request{Proto: want.Proto, First: want.HostPort, Last: max(want.HostPort, want.HostPortEnd)}
		var indices, own []int
		for _, b := range wanted[i] {
			if b.OnItsOwn() {
				own = append(own, len(out))
			}
			if b.HostIP.IsValid() { // otherwise the host has no part in it
				request.HostIPs = append(request.HostIPs, b.HostIP)
				request.Targets = append(request.Targets, carried(b, hostDecides))
				indices = append(indices, len(out))
			}
			out = append(out, b)
		}
		if len(indices) > 0 {
			requests, of = append(requests, request), append(of, append(indices, own...))
		}
	}
	ports, err := d.opts.Ports.Reserve(ctx, e.ID, requests)
	if errors.Is(err, nat.ErrAllocated) && d.evictStale(ctx, e, requests) {
		ports, err = d.opts.Ports.Reserve(ctx, e.ID, requests)
	}
	if err != nil {
		return nil, d.named(ctx, err)
	}
	for i, port := range ports {
		for _, j := range of[i] {
			out[j].HostPort, out[j].HostPortEnd = port, 0
		}
	}
	return out, nil
}

// evictStale removes stale endpoints that hold a port which e requests, as an
// engine that was killed leaves them behind. It reports whether there were any.
func (d *Driver) evictStale(ctx context.Context, e store.Endpoint, requests []nat.Request) (evicted bool) {
	for _, o := range d.Endpoints() {
		n, ok := d.network(o.Network)
		if !ok || o.ID == e.ID || !d.holdsAny(o, requests) || d.attached(ctx, n, o) {
			continue
		}
		d.eventOf(event.Stale, n, o).Warn("stale endpoint removed: another one publishes its port")
		if err := d.removeStale(ctx, n, o); err != nil {
			d.log.WithField("endpoint", o.ID).Error(err)
			continue
		}
		evicted = true
	}
	return evicted
}

func (d *Driver) holdsAny(e store.Endpoint, requests []nat.Request) bool {
	for _, h := range d.heldBy(e) {
		for _, r := range requests {
			if h.Proto == r.Proto && h.Port >= r.First && h.Port <= max(r.First, r.Last) {
				return true
			}
		}
	}
	return false
}

// reserveAgain gives the owner back the ports that its record says.
func (d *Driver) reserveAgain(ctx context.Context, e store.Endpoint) error {
	var requests []nat.Request
	for _, h := range d.heldBy(e) {
		requests = append(requests, nat.Request{Proto: h.Proto, HostIPs: []netip.Addr{h.HostIP}, Targets: []netip.AddrPort{h.Target}, First: h.Port, Last: h.Port})
	}
	_, err := d.opts.Ports.Reserve(context.WithoutCancel(ctx), e.ID, requests)
	return err
}

// portsOnly returns the ports of e without its addresses: see nat.Connections.
func portsOnly(n network, e store.Endpoint) nat.Endpoint {
	out := n.view.EndpointFirewall(e)
	out.IPv4, out.IPv6 = netip.Addr{}, netip.Addr{}
	return out
}

// heldBy returns the host's ports that are e's.
func (d *Driver) heldBy(e store.Endpoint) (out []nat.Held) {
	hostDecides := d.hostDecides(e)
	for _, p := range e.Published {
		if p.HostIP.IsValid() {
			out = append(out, heldPort(p, hostDecides))
		}
	}
	return out
}

func heldPort(p store.PortBinding, hostDecides bool) nat.Held {
	return nat.Held{Proto: p.Proto, HostIP: p.HostIP, Port: p.HostPort, Target: carried(p, hostDecides)}
}
