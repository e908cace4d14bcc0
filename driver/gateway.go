package driver

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"fairway/nat"
	"fairway/store"
)

// A sandbox is a container's network namespace, as its engine names it.
type sandbox struct{ engine, path string }

// put puts a record into the maps of endpoints. The caller holds d.mu, or is
// alone.
func (d *Driver) put(e store.Endpoint) {
	if d.endpoints[e.ID].Sandbox != e.Sandbox {
		d.leaveSandbox(e.ID)
		if e.Sandbox != "" {
			s := sandbox{e.Engine, e.Sandbox}
			d.inside[s] = append(d.inside[s], e.ID)
		}
	}
	d.endpoints[e.ID] = e
}

// leaveSandbox takes an endpoint out of the map of its sandbox. The caller holds
// d.mu.
func (d *Driver) leaveSandbox(id string) {
	e := d.endpoints[id]
	s := sandbox{e.Engine, e.Sandbox}
	left := slices.DeleteFunc(d.inside[s], func(o string) bool { return o == id })
	if len(left) == 0 {
		delete(d.inside, s)
		return
	}
	d.inside[s] = left
}

// siblings returns the other endpoints of the sandbox that e is in.
func (d *Driver) siblings(e store.Endpoint) (out []store.Endpoint) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e.Sandbox == "" {
		return nil
	}
	for _, id := range d.inside[sandbox{e.Engine, e.Sandbox}] {
		if id != e.ID {
			out = append(out, d.endpoints[id])
		}
	}
	return out
}

// families are those of the host's addresses that an endpoint publishes on.
type families struct{ v4, v6 bool }

func (f families) has(p store.PortBinding) bool {
	return !p.HostIP.IsValid() || p.HostIP.Is6() && f.v6 || p.HostIP.Is4() && f.v4
}

// gatewayOf returns the families that e is the gateway of its sandbox for. A
// container's ports are published once; since engine 29.4.1, its gateways for IPv4
// and IPv6 may be endpoints of different networks even if one of them has both
// families (moby's Sandbox.getGatewayEndpoint). Docker says no more than
// IPv6Elsewhere, and calls for who is a gateway no longer, or for one family less,
// before it calls for the next. So who isn't told of another IPv6 gateway is that
// of IPv6, and of IPv4 as well unless a sibling still publishes on IPv4.
func gatewayOf(e store.Endpoint, siblings []store.Endpoint, ipv6Elsewhere bool) families {
	switch {
	case !e.IPv4.IsValid():
		return families{v6: true}
	case ipv6Elsewhere:
		return families{v4: true}
	case !e.IPv6.IsValid():
		return families{v4: true, v6: true}
	}
	return families{v6: true, v4: !slices.ContainsFunc(siblings, func(s store.Endpoint) bool {
		return slices.ContainsFunc(s.Published, func(p store.PortBinding) bool { return p.HostIP.Is4() })
	})}
}

// takeFrom takes the host's ports of the families off a sibling that published
// on them as long as it was the gateway. The caller shares the world and holds
// another endpoint of the sandbox, for which Docker calls one after the other.
func (d *Driver) takeFrom(ctx context.Context, sibling store.Endpoint, f families) error {
	live := d.liveOf(sibling) // an operator's, who named the network or had the gateway
	taken := func(p store.PortBinding) bool {
		return p.HostIP.IsValid() && f.has(p) && !slices.Contains(live, p)
	}
	if !slices.ContainsFunc(sibling.Published, taken) {
		return nil
	}
	h, err := d.lock.alone(ctx, "endpoint "+sibling.ID)
	if err != nil {
		return err
	}
	defer h.release()
	n, old, err := d.both(sibling.Network, sibling.ID)
	if err != nil {
		return nil //nolint:nilerr // gone meanwhile
	}
	e, gone := old, old
	e.Published = slices.DeleteFunc(slices.Clone(old.Published), taken)
	gone.Published = slices.DeleteFunc(slices.Clone(old.Published), func(p store.PortBinding) bool { return !taken(p) })
	err = d.carryOut(ctx, n, []store.Change{store.PutEndpoint(e)}, []store.Change{store.PutEndpoint(old)},
		func(ctx context.Context) error { return d.republish(ctx, n, e) },
		func(ctx context.Context) error { return d.republish(ctx, n, old) })
	if err != nil {
		return fmt.Errorf("ports of endpoint %s: %w", old.ID, errors.Join(err, d.reserveAgain(ctx, old)))
	}
	d.update(e)
	d.forgetConnections(portsOnly(n, gone))
	return d.reserveAgain(ctx, e)
}

// republish makes the ports of e in the firewall, and in its sandbox, those of
// its record.
func (d *Driver) republish(ctx context.Context, n network, e store.Endpoint) error {
	err := d.translate(ctx, n, e)
	if !n.publishes() {
		return err
	}
	return errors.Join(err, d.opts.Firewall.Apply(ctx, nat.State{Endpoints: []nat.Endpoint{n.view.EndpointFirewall(e)}}))
}
