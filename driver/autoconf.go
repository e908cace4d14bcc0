package driver

import (
	"context"
	"net/netip"
	"time"

	"fairway/link"
	"fairway/store"
)

// Autoconf has interfaces in sandboxes take IPv6 addresses from router
// advertisements.
type Autoconf interface {
	// Autoconfigure turns it on for the links of endpoints that are to have it, and
	// reports whether Docker was done with them, so that it was.
	Autoconfigure(ctx context.Context, attached link.Set) (done bool, err error)
	// Autoconfigured returns the addresses that they have.
	Autoconfigured(ctx context.Context, attached link.Set) ([]netip.Prefix, error)
}

// noAutoconf has none.
type noAutoconf struct{}

func (noAutoconf) Autoconfigure(context.Context, link.Set) (bool, error) { return true, nil }

func (noAutoconf) Autoconfigured(context.Context, link.Set) ([]netip.Prefix, error) { return nil, nil }

// autoconf reports whether e takes IPv6 addresses from router advertisements.
func (n network) autoconf(e store.Endpoint) bool {
	return e.Sandbox != "" && n.view.Inside(e).Autoconf != link.AutoconfNone
}

// autoconfigureSoon turns e's autoconfiguration on, if it is to have any, as soon
// as Docker has put its link into the sandbox and set it up: until then Docker may
// switch IPv6 off there.
func (d *Driver) autoconfigureSoon(n network, e store.Endpoint) {
	if !n.autoconf(e) {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.unready[e.ID] = time.Now().Add(settling)
	select {
	case d.unreadied <- struct{}{}:
	default:
	}
}

// everyLink is how often it is looked for links that Docker is moving.
const everyLink = 10 * time.Millisecond

// autoconfigure turns on what autoconfigureSoon asks for, until the context ends.
func (d *Driver) autoconfigure(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.unreadied:
		}
		for d.autoconfigureThose(ctx) {
			select {
			case <-ctx.Done():
				return
			case <-time.After(everyLink):
			}
		}
	}
}

// autoconfigureThose does it for those whose links are there by now, and reports
// whether there are others.
func (d *Driver) autoconfigureThose(ctx context.Context) (more bool) {
	d.mu.Lock()
	var those []store.Endpoint
	for id, until := range d.unready {
		e, known := d.endpoints[id]
		if !known || e.Sandbox == "" || time.Now().After(until) {
			delete(d.unready, id)
			continue
		}
		those = append(those, e)
	}
	d.mu.Unlock()
	for _, e := range those {
		if !d.autoconfigureOne(ctx, e) {
			more = true
			continue
		}
		d.mu.Lock()
		delete(d.unready, e.ID)
		d.mu.Unlock()
	}
	return more
}

// autoconfigureOne reports whether there is no more to be done for e.
func (d *Driver) autoconfigureOne(ctx context.Context, e store.Endpoint) (done bool) {
	n, ok := d.network(e.Network)
	if !ok {
		return true
	}
	if !d.opts.Kernel.SandboxAlive(e.Sandbox) {
		return false // engines before 28 make it after Join
	}
	done, err := d.opts.Autoconf.Autoconfigure(ctx, n.view.Attachment(e))
	if err != nil {
		d.log.WithField("endpoint", e.ID).Error(err)
	}
	return done || err != nil
}

// Autoconfigured returns the IPv6 addresses that containers have from router
// advertisements now, by the endpoint's ID.
func (d *Driver) Autoconfigured(ctx context.Context) map[string][]netip.Prefix {
	out := map[string][]netip.Prefix{}
	for _, e := range d.Endpoints() {
		n, ok := d.network(e.Network)
		if !ok || !n.autoconf(e) || !d.opts.Kernel.SandboxAlive(e.Sandbox) {
			continue
		}
		all, err := d.opts.Autoconf.Autoconfigured(ctx, n.view.Attachment(e))
		if err != nil {
			d.log.WithField("endpoint", e.ID).Warn(err)
		}
		if len(all) > 0 {
			out[e.ID] = all
		}
	}
	return out
}
