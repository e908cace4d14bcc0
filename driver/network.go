package driver

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"fairway/event"
	"fairway/link"
	"fairway/nat"
	"fairway/store"
)

const optionMode = "mode"

// CheckGateway reports for which families of a network that is about to be
// made Docker need not allocate a gateway.
func (d *Driver) CheckGateway(_ context.Context, spec NetworkSpec) (skip4, skip6 bool, err error) {
	v, err := d.view(recordOf(spec))
	if err != nil {
		return false, false, err
	}
	d.mu.Lock()
	d.asked[spec.Engine] = true
	d.mu.Unlock()
	skip4, skip6 = v.SkipGateway()
	return skip4, skip6, nil
}

// CreateNetwork makes a network durable and real. The same network again is
// made sure of; another one of the same ID is an error, and so is one whose
// subnet overlaps another one's, unless Docker has given that one up.
func (d *Driver) CreateNetwork(ctx context.Context, spec NetworkSpec) error {
	h, err := d.lock.network(ctx, spec.ID)
	if err != nil {
		return err
	}
	defer h.release()
	d.dropInvented(&spec)
	if n, ok := d.network(spec.ID); ok {
		if !isFor(n.Network, d.asRecorded(n, spec)) {
			return fmt.Errorf("network %s: is there already, with other settings", spec.ID)
		}
		return d.makeNetwork(ctx, n)
	}
	rec := recordOf(spec)
	rec.Created = time.Now()
	if err := d.takeOverSubnets(ctx, rec); err != nil {
		return err
	}
	n, err := d.settle(ctx, rec)
	if err == nil {
		err = d.checkSource(n)
	}
	if err != nil {
		return err
	}
	if n.shares() {
		alone, err := d.lock.alone(ctx, onLink(n))
		if err != nil {
			return err
		}
		defer alone.release()
		if n, err = d.settle(ctx, rec); err != nil { // what others have on the link may have changed
			return err
		}
	}
	n, taken, err := d.giveHost(ctx, n)
	if err != nil {
		return err
	}
	if err := d.admit(n); err != nil {
		d.freeHost(ctx, n.Network, taken)
		d.opts.Refresh() // the other one may be stale: its time runs from the first look that says so
		return err
	}
	err = d.carryOut(ctx, n, []store.Change{store.PutNetwork(n.Network)}, []store.Change{store.DeleteNetwork(n.ID)},
		func(ctx context.Context) error { return d.makeNetwork(ctx, n) },
		func(ctx context.Context) error { return d.unmakeNetwork(ctx, n, nil) })
	if err != nil {
		d.freeHost(ctx, n.Network, taken)
		d.dismiss(n)
		return err
	}
	for _, s := range n.Subnets {
		d.opts.Pools.Confirm(s.Space, s.Prefix, addressesOf(s)...)
	}
	d.opts.Changed()
	d.event(event.NetworkCreate, n).WithField("mode", n.Mode).Info("network made")
	return nil
}

// shares reports whether n has things on a link of the host's that other networks
// may want, too: see onTheirs, and VLANs.
func (n network) shares() bool { return n.onTheirs() || len(n.VLANs) > 0 }

// onLink is the lock for a link of the host's, which several networks may be
// on: what is left to the others is known only while none comes or goes.
func onLink(n network) string { return "bridge " + n.uplink() }

func addressesOf(s store.Subnet) []netip.Addr {
	out := slices.Collect(maps.Values(s.Aux))
	if s.Gateway.IsValid() {
		out = append(out, s.Gateway)
	}
	return out
}

func recordOf(s NetworkSpec) store.Network {
	mode := s.Options[optionMode]
	if mode == "" {
		mode = "bridge"
	}
	return store.Network{
		ID: s.ID, Engine: s.Engine, Mode: mode, Options: s.Options,
		Internal: s.Internal, IPv4: s.IPv4, IPv6: s.IPv6, Subnets: s.Subnets,
	}
}

// isFor reports whether n is what spec asks for.
func isFor(n store.Network, spec NetworkSpec) bool {
	want := recordOf(spec)
	return n.Internal == want.Internal && n.IPv4 == want.IPv4 && n.IPv6 == want.IPv6 &&
		maps.Equal(n.Options, want.Options) && slices.EqualFunc(n.Subnets, want.Subnets, sameSubnet)
}

func sameSubnet(a, b store.Subnet) bool {
	return a.Space == b.Space && a.Prefix == b.Prefix && a.Gateway == b.Gateway &&
		(len(a.Aux) == 0 && len(b.Aux) == 0 || reflect.DeepEqual(a.Aux, b.Aux))
}

// view returns what a network's mode says of its record.
func (d *Driver) view(n store.Network) (View, error) {
	mode, ok := d.opts.Modes[n.Mode]
	if !ok {
		return nil, fmt.Errorf("option %s=%q: want %s", optionMode, n.Mode, d.modes())
	}
	return mode.View(n)
}

func (d *Driver) modes() string {
	names := slices.Sorted(maps.Keys(d.opts.Modes))
	out := names[0]
	for i, name := range names[1:] {
		if i == len(names)-2 {
			out += " or " + name
		} else {
			out += ", " + name
		}
	}
	return out
}

// settle gives n a free link name and lets its mode decide the rest.
func (d *Driver) settle(ctx context.Context, n store.Network) (network, error) {
	if _, err := d.view(n); err != nil {
		return network{}, err
	}
	d.mu.Lock()
	n.Link = d.linkName(prefixBridge, n.ID)
	d.mu.Unlock()
	if err := d.opts.Modes[n.Mode].Settle(ctx, &n); err != nil {
		return network{}, err
	}
	n.AdoptedAddresses = slices.DeleteFunc(n.AdoptedAddresses, func(p netip.Prefix) bool {
		_, wanted := d.wantedBy(n.Link, link.Address{Namespace: n.Namespace, Link: n.Link, Prefix: p}.Key())
		return wanted
	})
	for path := range n.AdoptedSysctls {
		if o, wanted := d.wantedBy(n.Link, link.Sysctl{Namespace: n.Namespace, Path: path}.Key()); wanted {
			n.AdoptedSysctls[path] = o.AdoptedSysctls[path]
		}
	}
	v, err := d.view(n)
	return network{Network: n, view: v}, err
}

// wantedBy returns a network on a link that wants an object: then it is
// fairway's, not the host's own.
func (d *Driver) wantedBy(onLink string, key link.Key) (network, bool) {
	for _, n := range d.sortedNetworks() {
		if n.Link == onLink && slices.ContainsFunc(n.view.Links(), func(o link.Object) bool { return o.Key() == key }) {
			return n, true
		}
	}
	return network{}, false
}

// admit lets n in among the networks, unless it collides with one.
func (d *Driver) admit(n network) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, o := range d.networks {
		if o.Namespace != n.Namespace {
			continue
		}
		if err := n.sameHost(o); err != nil {
			return err
		}
		if err := n.waitsFor(o); err != nil {
			return err
		}
		if o.Link == n.Link && !(o.Adopted && n.Adopted) {
			return fmt.Errorf("bridge %s: belongs to network %s", n.Link, o.title())
		}
		if o.Link == n.Link {
			if err := n.contends(o); err != nil {
				return err
			}
			continue // two networks on a link of the host's: they may share a subnet
		}
		if n.onParent() || o.onParent() {
			continue // the host has no route to it
		}
		if a, b, ok := overlap(n.Network, o.Network); ok {
			return fmt.Errorf("subnet %s: overlaps %s of network %s", a, b, o.title())
		}
	}
	d.networks[n.ID] = n
	if !n.Adopted {
		d.names[n.Link] = n.ID
	}
	if n.HostLink != "" {
		d.names[n.HostLink] = n.ID
	}
	return nil
}

// title is how a network is called in a message.
func (n network) title() string {
	if n.Name != "" {
		return n.Name
	}
	return n.ID[:min(12, len(n.ID))]
}

func (d *Driver) dismiss(n network) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.networks, n.ID)
	delete(d.suspects, n.ID)
	delete(d.invented, n.ID)
	for _, name := range []string{n.Link, n.HostLink} {
		if d.names[name] == n.ID {
			delete(d.names, name)
		}
	}
	maps.DeleteFunc(d.macs, func(c claim, _ string) bool { return c.network == n.ID })
	maps.DeleteFunc(d.live, func(k liveKey, _ store.LivePorts) bool { return k.network == n.ID })
	maps.DeleteFunc(d.waiting, func(k liveKey, _ []Waiting) bool { return k.network == n.ID })
}

func (d *Driver) network(id string) (network, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, ok := d.networks[id]
	return n, ok
}

func (d *Driver) makeNetwork(ctx context.Context, n network) error {
	if err := d.forwarding(ctx, n); err != nil {
		return err
	}
	if err := d.opts.Kernel.Apply(ctx, n.view.Links()); err != nil {
		return err
	}
	if !n.filtered() {
		return nil
	}
	return d.opts.Firewall.Apply(ctx, nat.State{Networks: []nat.Network{n.view.Firewall()}})
}

// forwarding turns on what the network needs to reach other links. The guard
// comes first: if a crash came between the two, nobody would know any more that
// it is needed.
func (d *Driver) forwarding(ctx context.Context, n network) error {
	if !d.opts.IPForward || n.Internal || !n.publishes() {
		return nil
	}
	for _, family := range []struct{ wanted, v6 bool }{{n.IPv4, false}, {n.IPv6, true}} {
		if !family.wanted {
			continue
		}
		on, err := d.opts.Kernel.Forwards(family.v6)
		if err == nil && !on {
			err = d.opts.Firewall.GuardForward(ctx, family.v6)
		}
		if err == nil && !on {
			_, err = d.opts.Kernel.EnableForwarding(ctx, family.v6)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// unmakeNetwork takes n and its endpoints out of the firewall and the kernel,
// but for what other networks share with it.
func (d *Driver) unmakeNetwork(ctx context.Context, n network, endpoints []store.Endpoint) error {
	var gone nat.State
	if n.filtered() {
		gone.Networks = []nat.Network{n.view.Firewall()}
	}
	var links link.Set
	var ports []nat.Guarded
	var errs []error
	for _, e := range endpoints {
		if len(e.Published) > 0 {
			inside := e
			inside.Published = nil
			errs = append(errs, d.translate(ctx, n, inside))
		}
		if n.publishes() {
			gone.Endpoints = append(gone.Endpoints, n.view.EndpointFirewall(e))
		}
		links = append(links, n.view.Attachment(e)...)
		if g, ok := n.view.Guarded(e); ok {
			ports = append(ports, g)
		}
		d.opts.Ports.Release(e.ID)
	}
	shared := d.sharedWith(n)
	for _, o := range slices.Backward(n.view.Links()) {
		if !shared[o.Key()] {
			links = append(links, o)
		}
	}
	if n.filtered() {
		errs = append(errs, d.opts.Firewall.Remove(ctx, gone), d.opts.Guard.Remove(ctx, ports...))
	}
	return errors.Join(append(errs, d.opts.Kernel.Remove(ctx, links))...)
}

// sharedWith returns the keys of objects that other networks want too.
func (d *Driver) sharedWith(n network) map[link.Key]bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	shared := map[link.Key]bool{}
	for _, o := range d.networks {
		if o.ID == n.ID || o.Link != n.Link && len(o.VLANs) == 0 {
			continue
		}
		for _, object := range o.view.Links() {
			shared[object.Key()] = true
		}
	}
	return shared
}

// DeleteNetwork forgets a network and what endpoints it still has. One that is
// not there is gone already.
func (d *Driver) DeleteNetwork(ctx context.Context, id string) error {
	h, err := d.lock.network(ctx, id)
	if err != nil {
		return err
	}
	defer h.release()
	n, ok := d.network(id)
	if !ok {
		return nil
	}
	return d.removeNetwork(ctx, n)
}

// removeNetwork takes n and what endpoints it still has out of the store, the
// firewall and the kernel. The caller holds its lock.
func (d *Driver) removeNetwork(ctx context.Context, n network) error {
	if n.shares() {
		alone, err := d.lock.alone(ctx, onLink(n))
		if err != nil {
			return err
		}
		defer alone.release()
	}
	endpoints := d.endpointsOf(n.ID)
	defer func() { d.event(event.NetworkRemove, n).Info("network removed") }() // whatever fails, Docker has forgotten it
	changes := []store.Change{store.DeleteNetwork(n.ID)}
	for _, e := range endpoints {
		d.hadBy(n, e)
		changes = append(changes, store.DeleteEndpoint(e.ID))
	}
	for _, l := range d.liveOn(n.ID) {
		changes = append(changes, store.DeleteLivePorts(l.Network, l.ContainerID))
	}
	pulled := d.pullOut(ctx, n, endpoints...)
	return d.remove(n, changes, func() error {
		err := errors.Join(pulled, d.unmakeNetwork(ctx, n, endpoints))
		d.mu.Lock()
		for _, e := range endpoints {
			d.forget(e)
		}
		d.mu.Unlock()
		d.dismiss(n)
		d.opts.Changed()
		for _, e := range endpoints {
			d.forgetConnections(n.view.EndpointFirewall(e))
		}
		for _, s := range n.Subnets { // what Docker doesn't know it can't give back
			if len(n.HostAddresses) > 0 {
				within := slices.DeleteFunc(slices.Clone(n.HostAddresses), func(a netip.Addr) bool { return !s.Prefix.Contains(a) })
				err = errors.Join(err, d.opts.Pools.Free(ctx, s.Space, s.Prefix, n.Created, within...))
			}
		}
		return err
	})
}

// pullOut takes links out of the sandboxes that they are in, out of Docker's
// order, before the records go: of a link without an end on the host nothing else
// tells where it is, if the daemon dies meanwhile.
func (d *Driver) pullOut(ctx context.Context, n network, endpoints ...store.Endpoint) error {
	var err error
	pulled := false
	for _, e := range endpoints {
		if e.HostLink == "" && e.Sandbox != "" && d.opts.Kernel.SandboxAlive(e.Sandbox) {
			err = errors.Join(err, d.opts.Kernel.Remove(ctx, n.view.Attachment(e)))
			pulled = true
		}
	}
	if pulled {
		err = errors.Join(err, d.opts.Kernel.Quiesce(ctx))
	}
	return err
}

// remove makes the removal of records durable while work makes it real. Both
// count whatever fails.
func (d *Driver) remove(n network, changes []store.Change, work func() error) error {
	var done <-chan error
	if !n.onTheirs() {
		done = d.commit(changes...)
	}
	err := work()
	if n.onTheirs() {
		done = d.commit(changes...)
	}
	if commitErr := <-done; commitErr != nil {
		d.owe(changes...)
		return errors.Join(commitErr, err)
	}
	return err
}

func (d *Driver) endpointsOf(network string) (out []store.Endpoint) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range d.endpoints {
		if e.Network == network {
			out = append(out, e)
		}
	}
	return out
}

// carryOut makes changes durable and real at the same time. If one of the two
// fails, both are taken back.
//
// On a link of somebody else's nothing tells, after a crash, that an address or
// a neighbour is ours but the record: there that is made first, and see remove.
func (d *Driver) carryOut(ctx context.Context, n network, changes, withdraw []store.Change, do, undo func(context.Context) error) error {
	done := d.commit(changes...)
	var err, commitErr error
	if n.onTheirs() {
		commitErr = <-done
	}
	if commitErr == nil {
		err = do(ctx)
	}
	if !n.onTheirs() {
		commitErr = <-done
	}
	if err == nil && commitErr == nil {
		return nil
	}
	if undoErr := undo(context.WithoutCancel(ctx)); undoErr != nil {
		d.log.Error(undoErr) // what is left behind is found by Reconcile
	}
	if <-d.commit(withdraw...) != nil {
		d.owe(withdraw...)
	}
	return errors.Join(err, commitErr)
}
