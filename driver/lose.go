package driver

import (
	"context"
	"errors"
	"net/netip"
	"slices"

	"fairway/event"
	"fairway/link"
	"fairway/store"
)

// withoutIPv6 returns what e publishes once it has no IPv6 address, on the same
// ports of the host.
func withoutIPv6(n network, e store.Endpoint, published []store.PortBinding) (out []store.PortBinding) {
	for _, p := range published {
		if p.IP.Is4() {
			out = append(out, p)
		} else if p.HostIP.IsValid() {
			if again, err := n.view.Bindings(e, p); err == nil { // else nothing is left
				out = append(out, again...)
			}
		}
	}
	return out
}

// loseIPv6 takes the IPv6 address off a living endpoint. Since engine 29.0 Docker
// gives an endpoint's IPv6 address back, without a word to the driver, when a
// sysctl has switched IPv6 off for the interface (moby's
// Endpoint.releaseIPv6Address): that shows when it gives it to another endpoint.
// The caller shares the world.
func (d *Driver) loseIPv6(ctx context.Context, n network, e store.Endpoint) error {
	h, err := d.lock.alone(ctx, "endpoint "+e.ID)
	if err != nil {
		return err
	}
	defer h.release()
	old, ok := d.endpoint(e.ID)
	if !ok || old.IPv6 != e.IPv6 {
		return nil
	}
	d.eventOf(event.AddressLost, n, e).WithField("address", e.IPv6.Addr()).Warn("IPv6 address taken off: Docker has given it to another endpoint")
	e, gone := old, old
	e.IPv6 = netip.Prefix{}
	is6 := func(p store.PortBinding) bool { return p.IP.Is6() }
	e.Published = withoutIPv6(n, e, old.Published)
	gone.Published = slices.DeleteFunc(slices.Clone(old.Published), func(p store.PortBinding) bool { return !is6(p) })
	gone.IPv4 = netip.Prefix{}
	left := map[link.Key]bool{}
	for _, o := range n.view.Attachment(e) {
		left[o.Key()] = true
	}
	objects := slices.DeleteFunc(n.view.Attachment(old), func(o link.Object) bool { return left[o.Key()] })
	ports := func(ctx context.Context, e store.Endpoint) error {
		if len(gone.Published) == 0 {
			return nil
		}
		return d.republish(ctx, n, e)
	}
	err = d.carryOut(ctx, n, []store.Change{store.PutEndpoint(e)}, []store.Change{store.PutEndpoint(old)},
		func(ctx context.Context) error {
			return errors.Join(ports(ctx, e), d.guard(ctx, n, e), d.opts.Kernel.Remove(ctx, objects))
		},
		func(ctx context.Context) error {
			return errors.Join(ports(ctx, old), d.guard(ctx, n, old), d.opts.Kernel.Apply(ctx, n.view.Attachment(old)))
		})
	if err != nil {
		return err
	}
	d.mu.Lock()
	d.put(e)
	delete(d.claims, claim{n.ID, old.IPv6.Addr()})
	d.mu.Unlock()
	d.forgetConnections(n.view.EndpointFirewall(gone))
	return d.reserveAgain(ctx, e)
}
