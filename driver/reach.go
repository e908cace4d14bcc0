package driver

import (
	"context"
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"

	"fairway/nat"
	"fairway/store"
)

// A PublishedPort is what an endpoint publishes.
type PublishedPort struct {
	Endpoint string // ID
	store.PortBinding
}

// Reach is from where a published port can be reached, by what the kernel holds
// and not by the record. Rules of others aren't looked at.
type Reach struct {
	From From
	Why  string // why not from everywhere
	// Carried: all that comes to the port goes through the daemon, since the host
	// itself decides who may.
	Carried bool
}

// From is who reaches a port: one of those below or, where the option publish
// limits all to a list, that list as nat.Clients writes it.
type From string

// Who reaches a port.
const (
	FromAll     From = "all"           // whoever can send to the host
	FromAllowed From = "host firewall" // whoever the host's own INPUT rules let in
	FromHost    From = "this host"     // only the host itself
	FromRouted  From = "routing"       // whoever has a route to the container's own address
	FromNobody  From = "nobody"
	FromUnknown From = "unknown" // the kernel couldn't be asked
)

// Reach looks at the kernel once and says from where each published port can be
// reached.
func (d *Driver) Reach(ctx context.Context) map[PublishedPort]Reach {
	out := map[PublishedPort]Reach{}
	ports, is := d.published()
	for _, n := range d.sortedNetworks() {
		var l hostLook
		looked := false
		for _, e := range d.endpointsOf(n.ID) {
			if len(e.Published) == 0 {
				continue
			}
			if !looked {
				l, looked = d.look(ctx, n), true
			}
			attached := d.attached(ctx, n, e)
			who := n.clients(e)
			inside := d.reachInside(ctx, n, e)
			for _, p := range e.Published {
				r := l.reach(p, who)
				if p.OnItsOwn() {
					r = inside
				}
				if who.HostFirewall {
					if by, taken := d.Taken(e.ID, p); taken {
						r = Reach{From: FromNobody, Why: "the port is taken by " + by}
					}
				}
				if !attached && r.From != FromUnknown {
					r = Reach{From: FromNobody, Why: "its container is gone"}
				}
				r.Carried = who.HostFirewall
				out[PublishedPort{e.ID, p}] = r
			}
		}
	}
	if len(ports) == 0 {
		return out
	}
	lacks, err := d.opts.Firewall.Lacking(ctx, ports)
	if err != nil {
		for p, r := range out {
			out[p] = Reach{From: FromUnknown, Why: err.Error(), Carried: r.Carried}
		}
	}
	for _, l := range lacks {
		if l.Port.TargetPort == 0 { // no answers to others: the host's own come back to it anyhow
			for p := range out {
				if p.Endpoint == l.Endpoint && p.IP == l.Port.Target && !proxied(p.PortBinding) && out[p].From == FromAllowed {
					out[p] = Reach{From: FromHost, Why: l.Why, Carried: true}
				}
			}
			continue
		}
		from := map[nat.LackKind]From{nat.Unserved: FromNobody, nat.Unguarded: FromAll, nat.Unsure: FromUnknown}[l.Kind]
		out[is[nat.PortOf{Endpoint: l.Endpoint, Port: l.Port}]] = Reach{From: from, Why: l.Why}
	}
	return out
}

// reachInside says who reaches what e publishes on its own addresses.
func (d *Driver) reachInside(ctx context.Context, n network, e store.Endpoint) Reach {
	what, err := d.lacksInside(ctx, n, e)
	switch {
	case err != nil:
		return Reach{From: FromUnknown, Why: err.Error()}
	case what != "":
		return Reach{From: FromNobody, Why: "in its sandbox: " + what}
	}
	return Reach{From: FromRouted}
}

// published returns the firewall's part of all endpoints that publish ports,
// and what each port of it is on record.
func (d *Driver) published() (ports []nat.Endpoint, is map[nat.PortOf]PublishedPort) {
	is = map[nat.PortOf]PublishedPort{}
	for _, n := range d.sortedNetworks() {
		for _, e := range d.endpointsOf(n.ID) {
			if len(e.Published) == 0 {
				continue
			}
			f := n.view.EndpointFirewall(e)
			i, hostDecides := 0, n.clients(e).HostFirewall
			for _, p := range e.Published { // in their order, but for those that are proxied
				if !proxied(p) && !hostDecides && !p.OnItsOwn() {
					is[nat.PortOf{Endpoint: e.ID, Port: f.Ports[i]}] = PublishedPort{e.ID, p}
					i++
				}
			}
			ports = append(ports, f)
		}
	}
	return ports, is
}

// proxied reports whether the kernel has no part in p: see nat/proxy.
func proxied(p store.PortBinding) bool { return p.HostIP.IsValid() && p.HostIP.Is6() != p.IP.Is6() }

// A hostLook is what of the host decides who reaches a network's ports.
type hostLook struct {
	err        error
	why        string // why nobody reaches the bridge; "" if somebody does
	off4, off6 bool   // forwarding is off
	addresses  map[netip.Addr]bool
}

func (d *Driver) look(ctx context.Context, n network) (l hostLook) {
	var errs [3]error
	var on4, on6 bool
	l.addresses, errs[0] = d.opts.Kernel.Addresses(ctx, n.Namespace)
	on4, errs[1] = d.opts.Kernel.Forwards(false)
	if n.IPv6 {
		on6, errs[2] = d.opts.Kernel.Forwards(true)
	}
	l.off4, l.off6, l.err = !on4, !on6, errors.Join(errs[:]...)
	kind, name := "bridge ", n.Link
	if n.HostLink != "" {
		kind, name = "link ", n.HostLink
	}
	info, err := d.opts.Kernel.Link(ctx, n.Namespace, name)
	switch {
	case errors.Is(err, unix.ENODEV):
		l.why = kind + name + " is missing"
	case err != nil:
		l.err = errors.Join(l.err, err)
	case !info.Up:
		l.why = kind + name + " is down"
	}
	return l
}

// reach says who of those that may reaches a port, if the rules are there.
func (l hostLook) reach(p store.PortBinding, who nat.Clients) Reach {
	off := l.off4 && !proxied(p)
	if p.IP.Is6() {
		off = l.off6
	}
	off = off && !who.HostFirewall
	switch {
	case l.err != nil:
		return Reach{From: FromUnknown, Why: l.err.Error()}
	case l.why != "":
		return Reach{From: FromNobody, Why: l.why}
	case !p.HostIP.IsValid() && off:
		return Reach{From: FromHost, Why: "IP forwarding is off"}
	case !p.HostIP.IsValid() && who.All():
		return Reach{From: FromRouted}
	case p.HostIP.IsLoopback():
		return Reach{From: FromHost}
	case !p.HostIP.IsUnspecified() && !l.addresses[p.HostIP]:
		return Reach{From: FromNobody, Why: p.HostIP.String() + " is not an address of the host"}
	case off:
		return Reach{From: FromHost, Why: "IP forwarding is off"}
	}
	switch {
	case who.HostOnly:
		return Reach{From: FromHost, Why: "publish=loopback"}
	case who.HostFirewall:
		return Reach{From: FromAllowed}
	}
	return Reach{From: From(who.String())} // all, or a list
}

// Traffic returns what goes by each published port now, and whether the host
// counts bytes and packets.
func (d *Driver) Traffic(ctx context.Context) (out map[PublishedPort]nat.Traffic, counted bool, err error) {
	out = map[PublishedPort]nat.Traffic{}
	ports, is := d.published()
	all, counted, err := d.opts.Connections.Traffic(ctx, ports)
	for k, t := range all {
		out[is[k]] = t
	}
	return out, counted, err
}

// Live returns what is published for operators, not for Docker.
func (d *Driver) Live() map[PublishedPort]bool {
	out := map[PublishedPort]bool{}
	for _, e := range d.Endpoints() {
		for _, p := range d.liveOf(e) {
			out[PublishedPort{e.ID, p}] = true
		}
	}
	return out
}
