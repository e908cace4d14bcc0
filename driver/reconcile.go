package driver

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"fairway/link"
	"fairway/nat"
	"fairway/store"
)

// Restore makes everything that the records say real again, as after a restart
// of the daemon or of the machine. What can't be made is logged and tried again
// by Run: one network's trouble keeps no other from working.
func (d *Driver) Restore(ctx context.Context) error {
	for _, n := range d.sortedNetworks() {
		if err := d.forwarding(ctx, n); err != nil {
			d.log.WithField("network", n.title()).Error(err)
		}
	}
	budget := namedAtOnce
	for _, e := range d.Endpoints() {
		d.holdPorts(ctx, e, &budget)
	}
	repaired, err := d.Reconcile(ctx)
	if err != nil {
		d.log.Error(err)
	}
	for _, e := range d.Endpoints() { // this daemon's predecessor may not have come to it
		if n, ok := d.network(e.Network); ok {
			d.autoconfigureSoon(n, e)
		}
	}
	d.restored()
	d.log.WithField("repaired", repaired).Infof("restored %d networks, %d endpoints", len(d.Networks()), len(d.Endpoints()))
	return ctx.Err()
}

// Reconcile compares the kernel and the firewall with the records and makes
// them equal. It returns how much it had to repair. Calls wait for it: it is
// one look at the kernel when nothing has drifted.
func (d *Driver) Reconcile(ctx context.Context) (repaired int, err error) {
	h, err := d.lock.everything(ctx)
	if err != nil {
		return 0, err
	}
	defer h.release()
	d.work.settle(ctx, guards()) // else what is about to be done looks like a loss
	d.lookAtParents(ctx)
	links, firewall, ports := d.wanted()
	repairs, linkErr := d.opts.Kernel.Reconcile(ctx, links)
	d.repaired(repairs, nil)
	d.retakePorts(ctx)
	rules, firewallErr := d.opts.Firewall.Reconcile(ctx, firewall)
	d.repairedRules(rules)
	guard, guardErr := d.opts.Guard.Reconcile(ctx, ports)
	d.repaired(nil, guard)
	inside, insideErr := d.reconcileInside(ctx)
	d.repaired(nil, inside)
	if firewallErr == nil && guardErr == nil {
		d.mu.Lock()
		d.told = true
		d.mu.Unlock()
	}
	err = errors.Join(linkErr, firewallErr, guardErr, insideErr)
	d.looked(err)
	return len(repairs) + len(rules) + len(guard) + len(inside), err
}

// repairedRules notes what was repaired. Datagrams that came to published ports
// while their rules were gone began connections that aren't translated, and go
// on so as long as the client sends: those are forgotten.
func (d *Driver) repairedRules(repairs []nat.Repair) {
	d.repaired(nil, repairs)
	if len(repairs) == 0 {
		return
	}
	all := nat.Endpoint{ID: "of all networks"}
	for _, e := range d.Endpoints() {
		if n, ok := d.network(e.Network); ok {
			all.Ports = append(all.Ports, portsOnly(n, e).Ports...)
		}
	}
	if len(all.Ports) > 0 {
		d.forgetConnections(all)
	}
}

// Wanted returns what the kernel must hold for all records: links, addresses,
// neighbours and sysctls; the firewall's part; and what endpoints may send from.
func (d *Driver) Wanted() (link.Set, nat.State, []nat.Guarded) { return d.wanted() }

// Parents returns the links of the host, or of their own, that networks' links
// are made on, by network; none for those with a bridge. For a VLAN of fairway's
// it is the link that the VLAN is on.
func (d *Driver) Parents() map[string]string {
	out := map[string]string{}
	for _, n := range d.sortedNetworks() {
		if parent, _ := n.view.Parent(); parent != "" {
			out[n.ID] = n.uplink()
		}
	}
	return out
}

// wanted returns what must exist for all records, objects that several
// networks want once.
func (d *Driver) wanted() (links link.Set, firewall nat.State, ports []nat.Guarded) {
	known := map[link.Key]bool{}
	add := func(set link.Set) {
		for _, o := range set {
			if k := o.Key(); !known[k] {
				known[k] = true
				links = append(links, o)
			}
		}
	}
	networks := d.sortedNetworks()
	for _, n := range networks {
		add(n.view.Links())
		if n.filtered() {
			firewall.Networks = append(firewall.Networks, n.view.Firewall())
		}
	}
	for _, n := range networks {
		endpoints := d.endpointsOf(n.ID)
		slices.SortFunc(endpoints, func(a, b store.Endpoint) int { return cmp.Compare(a.ID, b.ID) })
		for _, e := range endpoints {
			add(n.view.Attachment(e))
			if n.publishes() {
				firewall.Endpoints = append(firewall.Endpoints, n.view.EndpointFirewall(e))
			}
			if g, ok := n.view.Guarded(e); ok {
				ports = append(ports, g)
			}
		}
	}
	return links, firewall, ports
}

func (d *Driver) sortedNetworks() []network {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make([]network, 0, len(d.networks))
	for _, n := range d.networks {
		out = append(out, n)
	}
	slices.SortFunc(out, func(a, b network) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// Quiesce waits until everything that was answered is done: what is owed is
// durable, what was removed is gone.
func (d *Driver) Quiesce(ctx context.Context) error {
	d.work.drain(ctx)
	return errors.Join(d.settleOwed(), d.opts.Kernel.Quiesce(ctx))
}

// closing bounds how long Close works at what can be left undone.
const closing = 5 * time.Second

// Close does what calls that are over, and Run with them, have left to do.
func (d *Driver) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closing)
	defer cancel()
	d.work.drain(ctx)
	return d.settleOwed()
}

// How often Run looks.
const (
	everyOwed      = time.Second
	everyReconcile = 30 * time.Second
)

// Run does what is left to do behind the replies, compares the kernel with the
// records from time to time, and removes what is stale, until the context
// ends.
func (d *Driver) Run(ctx context.Context) error {
	var behind sync.WaitGroup
	behind.Go(func() { d.work.run(ctx) })
	behind.Go(func() { d.enterSandboxes(ctx) })
	behind.Go(func() { d.autoconfigure(ctx) })
	defer behind.Wait()
	owed, reconcile := time.NewTicker(everyOwed), time.NewTicker(everyReconcile)
	defer owed.Stop()
	defer reconcile.Stop()
	var disk trouble
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-owed.C:
			disk.note(d.log, "writing records to the disk", d.settleOwed())
		case <-reconcile.C:
			d.removeAbandoned(ctx)
			if _, err := d.Reconcile(ctx); err != nil {
				d.log.Error(err)
			}
		}
	}
}
