package driver

import (
	"context"
	"errors"
)

// Wants reports whether a record says that the host has a link of this name: a
// network's, or an endpoint's end on the host. It doesn't wait.
func (d *Driver) Wants(link string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if link == "" {
		return false
	}
	id := d.names[link]
	if n, ok := d.networks[id]; ok {
		return n.Link == link || n.HostLink == link
	}
	e, ok := d.endpoints[id]
	return ok && e.HostLink == link
}

// RepairFirewall compares the firewall and the guard with what they were told
// last and makes them equal. It returns how much it had to repair. Unlike for
// Reconcile, no call waits for it but those that change the firewall, and it
// waits for none.
func (d *Driver) RepairFirewall(ctx context.Context) (repaired int, err error) {
	d.mu.Lock()
	told := d.told
	d.mu.Unlock()
	if !told {
		return 0, nil // it doesn't know of what is there from before a restart
	}
	rules, err := d.opts.Firewall.Repair(ctx)
	d.repairedRules(rules)
	guard, guardErr := d.opts.Guard.Repair(ctx)
	d.repaired(nil, guard)
	return len(rules) + len(guard), errors.Join(err, guardErr)
}
