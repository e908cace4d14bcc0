package driver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"fairway/event"
	"fairway/store"
)

// Join hands an endpoint over to a sandbox: Docker moves its link there. The
// sandbox is the path of a network namespace, which engines before 28 make only
// afterwards. Ports are what the user wants published: of an endpoint on a LAN
// they are now, see publishAtJoin; for all others Docker calls Publish.
func (d *Driver) Join(ctx context.Context, networkID, endpointID, sandbox string, ports ...store.PortBinding) (Joined, error) {
	h, err := d.lock.endpoint(ctx, networkID, endpointID)
	if err != nil {
		return Joined{}, err
	}
	defer h.release()
	n, e, err := d.both(networkID, endpointID)
	if err != nil {
		return Joined{}, err
	}
	if e.Sandbox != sandbox && e.Sandbox != "" && d.attached(ctx, n, e) {
		return Joined{}, fmt.Errorf("endpoint %s: is in sandbox %s", endpointID, e.Sandbox)
	}
	before := e
	again := e.Confirmed // its link may have gone with a sandbox before
	e.Sandbox, e.Confirmed = sandbox, true
	if e.HostAddresses, err = d.hostsOther(ctx, n, e); err != nil {
		return Joined{}, err
	}
	if before.Sandbox != sandbox || len(before.Published) == 0 { // else it was done, and more since
		if e, err = d.publishAtJoin(ctx, n, e, ports); err != nil {
			return Joined{}, err
		}
	}
	done := d.commit(store.PutEndpoint(e))
	if again && !d.opts.Kernel.SandboxAlive(sandbox) {
		err = d.opts.Kernel.Apply(ctx, n.view.Attachment(e))
	}
	d.work.settle(ctx, claimsOf(e)...)
	err = errors.Join(err, d.guard(ctx, n, e)) // nothing to do if guardLater did it
	if err == nil && len(e.Published) > 0 {
		err = d.republish(ctx, n, e)
	}
	if err = errors.Join(<-done, err); err != nil {
		d.owe(store.PutEndpoint(before))
		if len(e.Published) > 0 {
			e.Published = before.Published
			err = errors.Join(err, d.republish(context.WithoutCancel(ctx), n, e), d.reserveAgain(ctx, before))
		}
		return Joined{}, err
	}
	d.mu.Lock()
	d.put(e)
	d.joined[e.ID] = time.Now()
	d.mu.Unlock()
	d.announce(n, e)
	d.autoconfigureSoon(n, e)
	if len(e.Published) > 0 {
		d.forgetConnections(portsOnly(n, e))
	}
	d.opts.Refresh()
	d.eventOf(event.Attach, n, e).Info("attached")
	d.tellPorts(n, before, e)
	return joined(n, e), nil
}

// announce tells the network, behind the reply, who has the endpoint's
// addresses, if somebody else may be remembered.
func (d *Driver) announce(n network, e store.Endpoint) {
	d.mu.Lock()
	needed := d.heralds[e.ID] || n.onParent() // what a LAN remembers isn't known
	d.mu.Unlock()
	on := n.segment(e)
	if !needed || n.silent() || on.VLAN != 0 { // the host isn't in the VLAN: see announceInside
		return
	}
	mac, ips := told(e)
	d.work.later(func(ctx context.Context) {
		if len(mac) == 0 {
			parent, err := d.opts.Kernel.Link(ctx, on.Namespace, on.Link)
			if err != nil {
				return // gone meanwhile
			}
			mac = parent.MAC
		}
		if err := d.opts.Kernel.Announce(ctx, on.Namespace, on.Link, mac, ips...); err != nil {
			d.log.WithField("endpoint", e.ID).Warn(err)
		}
	})
}

// announceInside is announce for those on the same parent, or in the same VLAN of
// a bridge, who don't hear what the host sends there: by the container's own link, once it is in its sandbox.
func (d *Driver) announceInside(n network, e store.Endpoint) {
	if !n.onLAN() && n.publishes() || e.Sandbox == "" || e.MAC == "" { // without a MAC address of its own, it is the same as before
		return
	}
	mac, ips := told(e)
	d.work.later(func(ctx context.Context) {
		if err := d.opts.Kernel.AnnounceInside(ctx, e.Sandbox, mac, ips...); err != nil {
			d.log.WithField("endpoint", e.ID).Warn(err)
		}
	})
}

// told returns what is announced of e; no MAC address if it has its parent's.
func told(e store.Endpoint) (mac net.HardwareAddr, ips []netip.Addr) {
	mac, _ = net.ParseMAC(e.MAC) // CheckEndpoint has seen it
	for _, c := range claimsOf(e) {
		ips = append(ips, c.ip)
	}
	return mac, ips
}

func joined(n network, e store.Endpoint) Joined {
	in := n.view.Inside(e)
	out := Joined{SrcName: e.Inside, DstPrefix: in.Prefix, DstName: n.view.IfaceName(e), Routes: in.Routes}
	for _, g := range in.Gateways {
		if g.Is6() {
			out.Gateway6 = g
		} else {
			out.Gateway = g
		}
	}
	none := !out.Gateway.IsValid() && !out.Gateway6.IsValid()
	out.DisableGatewayService = none && !n.view.KeepGatewayService()
	return out
}

// Leave takes an endpoint out of its sandbox, and its published ports off the
// host. Its link is still in the sandbox at this point: Docker moves it back
// before DeleteEndpoint.
func (d *Driver) Leave(ctx context.Context, networkID, endpointID string) error {
	h, err := d.lock.endpoint(ctx, networkID, endpointID)
	if err != nil {
		return err
	}
	defer h.release()
	n, e, err := d.both(networkID, endpointID)
	if err != nil || e.Sandbox == "" && len(e.Published) == 0 {
		return nil // gone already
	}
	published := len(e.Published) > 0
	d.handOver(e)
	err = d.unpublish(ctx, n, e)
	if published {
		d.forgetConnections(n.view.EndpointFirewall(e))
	}
	was := e
	e.Sandbox, e.Requested, e.Published = "", nil, nil
	d.update(e)
	d.tellPorts(n, was, e)
	if was.Sandbox != "" {
		d.eventOf(event.Detach, n, e).Info("detached")
	}
	if !published {
		// Nothing that the kernel holds depends on this record, and what Docker
		// calls next, DeleteEndpoint, is durable: it needs no commit of its own.
		d.owe(store.PutEndpoint(e))
		return nil
	}
	if commitErr := <-d.commit(store.PutEndpoint(e)); commitErr != nil {
		d.owe(store.PutEndpoint(e))
		return errors.Join(commitErr, err)
	}
	return err
}

// both returns the records of a network and of one of its endpoints.
func (d *Driver) both(networkID, endpointID string) (network, store.Endpoint, error) {
	n, ok := d.network(networkID)
	if !ok {
		return n, store.Endpoint{}, fmt.Errorf("network %s: is not known to fairway", networkID)
	}
	e, ok := d.endpoint(endpointID)
	if !ok || e.Network != networkID {
		return n, e, fmt.Errorf("endpoint %s: is not known in network %s", endpointID, networkID)
	}
	return n, e, nil
}

// update puts the changed record of a known endpoint into the maps.
func (d *Driver) update(e store.Endpoint) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.put(e)
}
