package driver

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"fairway/event"
	"fairway/link"
	"fairway/store"
)

// filtered reports whether the firewall has a part in n.
func (n network) filtered() bool { return n.view.Firewall().ID != "" }

// publishes reports whether n's packets pass the host: it may translate them, and
// publish ports.
func (n network) publishes() bool { return n.filtered() && !n.view.Firewall().Bridged }

// segment returns where the host speaks to those beside e.
func (n network) segment(e store.Endpoint) link.Segment {
	if s, ok := n.view.(segmented); ok {
		return s.Segment(e)
	}
	return link.Segment{Namespace: n.Namespace, Link: n.Link}
}

// segmented is a View of a network some of whose endpoints are in VLANs.
type segmented interface {
	Segment(store.Endpoint) link.Segment
}

// waiting is a View of a network that says itself what keeps its parent from
// serving; "" for nothing.
type waiting interface {
	Waits(info link.Info, there bool) string
}

// onParent reports whether n's endpoints are made on a link of the host.
func (n network) onParent() bool {
	parent, _ := n.view.Parent()
	return parent != ""
}

// onTheirs reports whether n has things without a mark on a link of somebody
// else's: addresses and neighbours on a bridge. A link on a parent has a mark.
func (n network) onTheirs() bool { return n.Adopted && !n.onParent() }

// silent reports that there is nobody to announce n's endpoints to.
func (n network) silent() bool {
	s, ok := n.view.(Sharer)
	return ok && s.Silent()
}

// kind is what n's links must have in common with others on their parent; "" for
// nothing.
func (n network) kind() string {
	if s, ok := n.view.(Sharer); ok {
		return s.Kind()
	}
	return ""
}

// contends says why n can't be on the same link of the host as o; nil if it can.
func (n network) contends(o network) error {
	parent, alone := n.view.Parent()
	other, theirs := o.view.Parent()
	if parent == "" || other == "" {
		return nil
	}
	if a, b := n.kind(), o.kind(); a != b && a != "" && b != "" {
		return fmt.Errorf("option parent=%q: network %s has it (%s), and all networks on it must be of that kind", parent, o.title(), b)
	}
	if !alone && !theirs {
		return nil
	}
	if theirs {
		return fmt.Errorf("option parent=%q: network %s has it for itself (passthru)", parent, o.title())
	}
	return fmt.Errorf("option parent=%q: passthru wants it for itself, and network %s is on it", parent, o.title())
}

// parentFree says who has the parent that n has room for one endpoint on; nil
// for nobody but e. The caller holds d.mu.
func (d *Driver) parentFree(n network, e store.Endpoint) error {
	parent, alone := n.view.Parent()
	if !alone {
		return nil
	}
	for _, o := range d.endpoints {
		if o.Network == n.ID && o.ID != e.ID && o.Sandbox != "" && d.opts.Kernel.SandboxAlive(o.Sandbox) {
			who := "endpoint " + o.ID[:min(12, len(o.ID))]
			if o.Container != "" {
				who = "container " + o.Container
			}
			return fmt.Errorf("parent %s: %s has it for itself (passthru): network %s has room for one", parent, who, n.title())
		}
	}
	return nil
}

// IsParent reports whether a record wants a link of the host as a parent.
func (d *Driver) IsParent(link string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, n := range d.networks {
		if n.onParent() && (n.Link == link || n.uplink() == link || n.hasVLAN(link)) {
			return true
		}
	}
	return false
}

// lookAtParents notes what networks wait for, and logs what has changed.
func (d *Driver) lookAtParents(ctx context.Context) {
	waiting := map[string][]string{} // networks by their parent
	for _, n := range d.sortedNetworks() {
		if n.onParent() && n.Namespace == "" {
			waiting[n.uplink()] = append(waiting[n.uplink()], n.title())
		}
	}
	missing, infos := map[string]bool{}, map[string]link.Info{}
	for parent := range waiting {
		info, err := d.opts.Kernel.Link(ctx, "", parent)
		missing[parent] = errors.Is(err, unix.ENODEV)
		if err == nil {
			infos[parent] = info
		}
	}
	waits := map[string]string{}
	for _, n := range d.sortedNetworks() {
		info, read := infos[n.uplink()]
		if n.onParent() && n.Namespace == "" && (read || missing[n.uplink()]) {
			waits[n.ID] = n.waits(info, read)
		}
	}
	d.mu.Lock()
	before := d.absent
	d.absent, d.waits = missing, waits
	d.mu.Unlock()
	for parent, networks := range waiting {
		log := d.log.WithField("parent", parent).WithField("networks", strings.Join(networks, " "))
		switch {
		case missing[parent] && !before[parent]:
			log.WithField(event.Field, event.ParentMissing).Warn("parent link is missing: networks wait for it")
		case !missing[parent] && before[parent]:
			log.WithField(event.Field, event.ParentBack).Info("parent link is back")
		}
	}
}

// waits says what keeps n's parent from serving; "" for nothing.
func (n network) waits(info link.Info, there bool) string {
	if w, ok := n.view.(waiting); ok {
		return w.Waits(info, there)
	}
	switch {
	case !there:
		return "waits for " + n.uplink()
	case !info.Up:
		return n.uplink() + " is down"
	}
	return ""
}

// Remarks says what an operator should know of networks, by ID.
func (d *Driver) Remarks() map[string]string {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := map[string]string{}
	for id, n := range d.networks {
		switch {
		case n.onParent() && d.waits[id] != "":
			out[id] = d.waits[id]
		case d.invented[id]:
			out[id] = "gateway may be Docker's invention: see gateway=none"
		}
	}
	return out
}

// leased reports whether the addresses of s come from DHCP servers.
func (d *Driver) leased(s store.Subnet) bool { return len(d.opts.Pools.Parents(s.Space, s.Prefix)) > 0 }

// dropInvented leaves out gateways that nobody named, of a network on a
// parent or with addresses from DHCP servers, where the gateway is somebody else. Engines before 28 allocate one for every network. Where the
// addresses are fairway's, the request for it told; where they are Docker's
// own, nothing does, and that is noted.
func (d *Driver) dropInvented(spec *NetworkSpec) {
	v, err := d.view(recordOf(*spec))
	if err != nil {
		return // it is refused
	}
	parent, _ := v.Parent()
	spec.Subnets = slices.Clone(spec.Subnets)
	for i, s := range spec.Subnets {
		if !s.Gateway.IsValid() || parent == "" && !d.leased(s) {
			continue
		}
		if d.opts.Pools.ChoseGateway(s.Space, s.Prefix, s.Gateway) {
			spec.Subnets[i].Gateway = netip.Addr{}
			continue
		}
		if strings.HasPrefix(s.Space, "fairway-") || !usesGateway(v, s) {
			continue
		}
		d.mu.Lock()
		if !d.asked[spec.Engine] {
			d.invented[spec.ID] = true
		}
		d.mu.Unlock()
	}
}

// usesGateway reports whether endpoints with an address in s get its gateway.
func usesGateway(v View, s store.Subnet) bool {
	e := store.Endpoint{IPv4: s.Prefix}
	if s.Is6() {
		e = store.Endpoint{IPv6: s.Prefix}
	}
	return slices.Contains(v.Inside(e).Gateways, s.Gateway)
}

// asRecorded leaves out the gateways that were left out of the record.
func (d *Driver) asRecorded(n network, spec NetworkSpec) NetworkSpec {
	spec.Subnets = slices.Clone(spec.Subnets)
	for i, s := range spec.Subnets {
		if !n.onParent() && !d.leased(s) {
			continue
		}
		if i < len(n.Subnets) && !n.Subnets[i].Gateway.IsValid() {
			spec.Subnets[i].Gateway = netip.Addr{}
		}
	}
	return spec
}
