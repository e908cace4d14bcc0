package driver

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"fairway/event"
	"fairway/store"
)

// A Known is what an engine says that it knows: everything of fairway's on it.
type Known struct {
	Engine   string
	Networks map[string]KnownNetwork // by ID
	// Containers says of those that LiveContainers named whether they are there.
	Containers map[string]bool
}

// A KnownNetwork is a network as its engine sees it.
type KnownNetwork struct {
	Name       string
	Containers map[string]Container // by endpoint ID
}

// A Container is whose an endpoint is. Its name is text from outside.
type Container struct {
	ID, Name string
	Names    []string // all that it is found by on a network that spans hosts; nil on others
}

// Observe takes what an engine knows: names are noted, and records of that
// engine which it doesn't know are removed once they have been unknown for the
// grace period. A record of another engine is none of its business.
func (d *Driver) Observe(ctx context.Context, known Known) {
	d.mu.Lock()
	d.seen[known.Engine] = time.Now()
	d.mu.Unlock()
	for _, e := range d.Endpoints() {
		if c, ok := known.Networks[e.Network].Containers[e.ID]; ok {
			d.trust(e.ID)
			d.annotate(ctx, e, c)
		} else if d.mayJudge(ctx, known.Engine, e) && d.suspect(e.ID, e.Created) {
			d.discard(ctx, e, "its engine does not know it")
		}
	}
	d.keepLive(ctx, known)
	for _, n := range d.Networks() {
		if k, ok := known.Networks[n.ID]; ok {
			d.trust(n.ID)
			d.nameNetwork(ctx, n, k.Name)
		} else if d.mayJudgeNetwork(ctx, known.Engine, n) && d.suspect(n.ID, n.Created) {
			d.log.WithField(event.Field, event.Stale).WithField("network", n.ID).Warn("stale network removed: its engine does not know it")
			d.trust(n.ID)
			if err := d.DeleteNetwork(ctx, n.ID); err != nil {
				d.log.WithField("network", n.ID).Error(err)
			}
		}
	}
}

// mayJudge reports whether it counts that an engine doesn't know an endpoint.
// Where it couldn't be told which engine made the endpoint, a living sandbox
// counts for more: there may be another engine.
func (d *Driver) mayJudge(ctx context.Context, engine string, e store.Endpoint) bool {
	if e.Engine != "" {
		return e.Engine == engine
	}
	n, ok := d.network(e.Network)
	return !ok || !d.attached(ctx, n, e)
}

// mayJudgeNetwork is mayJudge for a network and all of its endpoints.
func (d *Driver) mayJudgeNetwork(ctx context.Context, engine string, n store.Network) bool {
	if n.Engine != "" && n.Engine != engine {
		return false
	}
	return !slices.ContainsFunc(d.endpointsOf(n.ID), func(e store.Endpoint) bool { return !d.mayJudge(ctx, engine, e) })
}

// removeAbandoned removes endpoints whose sandbox is gone and stays gone, of
// engines that haven't told for a while what they know.
func (d *Driver) removeAbandoned(ctx context.Context) {
	for _, e := range d.Endpoints() {
		n, ok := d.network(e.Network)
		if !ok || e.Sandbox == "" || d.heardOf(e.Engine) {
			continue
		}
		if d.attached(ctx, n, e) {
			d.trust(e.ID)
		} else if d.suspect(e.ID, e.Created) {
			d.discard(ctx, e, "its sandbox is gone")
		}
	}
}

// heardOf reports whether an engine has told lately what it knows.
func (d *Driver) heardOf(engine string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return time.Since(d.seen[engine]) < 2*everyReconcile+d.opts.Grace
}

// suspect notes that a record seems to be stale, and reports whether it has
// been for the grace period.
func (d *Driver) suspect(id string, created time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	since, ok := d.suspects[id]
	if !ok {
		d.suspects[id] = time.Now()
		return false
	}
	return time.Since(since) >= d.opts.Grace && time.Since(created) >= d.opts.Grace
}

func (d *Driver) trust(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.suspects, id)
}

func (d *Driver) discard(ctx context.Context, e store.Endpoint, why string) {
	log := d.log.WithField("endpoint", e.ID).WithField("network", e.Network)
	log.WithField(event.Field, event.Stale).Warn("stale endpoint removed: " + why)
	n, known := d.network(e.Network)
	if err := d.DeleteEndpoint(ctx, e.Network, e.ID); err != nil {
		log.Error(err)
	}
	if known {
		d.freeAddresses(ctx, n, e)
	}
}

// freeAddresses gives the addresses of a stale endpoint back, which Docker
// never will.
func (d *Driver) freeAddresses(ctx context.Context, n network, e store.Endpoint) {
	for _, s := range n.Subnets {
		for _, p := range []netip.Prefix{e.IPv4, e.IPv6} {
			if !p.IsValid() || !s.Prefix.Contains(p.Addr()) {
				continue
			}
			if err := d.opts.Pools.Free(ctx, s.Space, s.Prefix, e.Created, p.Addr()); err != nil {
				d.log.WithField("endpoint", e.ID).Error(err)
			}
		}
	}
}

// Abandoned reports whether an address belongs to an endpoint that is in no
// living sandbox any more: the address may be given to another.
func (d *Driver) Abandoned(ctx context.Context, space string, subnet netip.Prefix, ip netip.Addr) bool {
	n, e, ok := d.owner(space, subnet, ip)
	return ok && e.Sandbox != "" && !d.attached(ctx, n, e)
}

// Alive reports whether an address belongs to an endpoint that is in a living
// sandbox, or was made just now and is on its way there.
func (d *Driver) Alive(ctx context.Context, space string, subnet netip.Prefix, ip netip.Addr) bool {
	n, e, ok := d.owner(space, subnet, ip)
	return ok && (d.attached(ctx, n, e) || e.Sandbox == "" && time.Since(e.Created) < settling)
}

// owner returns the endpoint that has an address of a pool.
func (d *Driver) owner(space string, subnet netip.Prefix, ip netip.Addr) (network, store.Endpoint, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, n := range d.networks {
		if !slices.ContainsFunc(n.Subnets, func(s store.Subnet) bool { return s.Space == space && s.Prefix == subnet }) {
			continue
		}
		if e, ok := d.endpoints[d.claims[claim{n.ID, ip}]]; ok {
			return n, e, true
		}
	}
	return network{}, store.Endpoint{}, false
}

// annotate notes whose the endpoint is, in its record and on its link.
func (d *Driver) annotate(ctx context.Context, e store.Endpoint, c Container) {
	if e.Container == c.Name && e.ContainerID == c.ID && slices.Equal(e.Names, c.Names) {
		return
	}
	h, err := d.lock.endpoint(ctx, e.Network, e.ID)
	if err != nil {
		return
	}
	defer h.release()
	n, e, err := d.both(e.Network, e.ID)
	if err != nil {
		return // gone meanwhile
	}
	e.Container, e.ContainerID, e.Names = c.Name, c.ID, c.Names
	d.update(e)
	d.owe(store.PutEndpoint(e))
	d.opts.Changed()
	d.announceInside(n, e)
	if err := d.opts.Kernel.Annotate(ctx, n.view.Attachment(e)); err != nil {
		d.log.WithField("endpoint", e.ID).Warn(err)
	}
}

func (d *Driver) nameNetwork(ctx context.Context, n store.Network, name string) {
	if n.Name == name {
		return
	}
	h, err := d.lock.network(ctx, n.ID)
	if err != nil {
		return
	}
	defer h.release()
	d.mu.Lock()
	defer d.mu.Unlock()
	known, ok := d.networks[n.ID]
	if !ok {
		return // gone meanwhile
	}
	known.Name, known.Confirmed = name, true
	if v, err := d.view(known.Network); err == nil {
		known.view = v
	}
	d.networks[n.ID] = known
	d.owed.changes = append(d.owed.changes, store.PutNetwork(known.Network))
}
