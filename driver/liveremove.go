package driver

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"fairway/nat"
	"fairway/store"
)

// RemovePorts takes published ports of a container off the host: those of
// AddPorts, and those that Docker requests, which then aren't published when the
// container starts again either. HostPort to HostPortEnd are the host's; Port
// may be 0 for any. A container that doesn't run has only those of AddPorts.
func (d *Driver) RemovePorts(ctx context.Context, container, network string, ports []store.PortBinding) error {
	found, err := d.pick(container, network)
	if err != nil {
		if l, there := d.stopped(container, network); there {
			return d.removeStopped(ctx, l, ports)
		}
		if found, err = d.running(ctx, container, network); err != nil {
			return err
		}
	}
	h, err := d.lock.endpoint(ctx, found.Network, found.ID)
	if err != nil {
		return err
	}
	defer h.release()
	n, old, err := d.both(found.Network, found.ID)
	if err != nil {
		return fmt.Errorf("container %q: was stopped just now", found.Container)
	}
	before, had := d.livePorts(old)
	after, e, gone := before, old, old
	after.Added = slices.Clone(before.Added)
	for _, want := range ports {
		if err := unpublishOne(&after, &e, want); err != nil {
			return fmt.Errorf("container %q: %w", old.Container, err)
		}
	}
	gone.Published = without(old.Published, e.Published)
	if err = d.reserveAgain(ctx, e); err != nil { // just those
		return err
	}
	if err = d.carryOutLive(ctx, n, old, e, livePair{before, after, had}); err != nil {
		return errors.Join(err, d.reserveAgain(ctx, old))
	}
	d.cut(portsOnly(n, gone))
	return nil
}

// unpublishOne takes one port, or the ports of one range, out of the records.
func unpublishOne(l *store.LivePorts, e *store.Endpoint, want store.PortBinding) error {
	added, published := newSettled(l.Added), e.Published
	gone, left := map[store.PortBinding]bool{}, make([]store.PortBinding, 0, len(published))
	of := func(p store.PortBinding) (store.PortBinding, bool) {
		if a, ok := added.find(p); ok {
			return a, true
		}
		i := slices.IndexFunc(e.Requested, func(r store.PortBinding) bool { return carriedOutBy(r, p) })
		if i < 0 {
			return p, false
		}
		return e.Requested[i], true
	}
	for _, p := range published {
		if !names(want, p) {
			continue
		}
		r, ok := of(p)
		if ok && want.HostIP.IsValid() && r.HostIP != want.HostIP && hasOther(published, p) {
			return fmt.Errorf("port %d: is published on every address: name it without one", p.HostPort)
		}
		if ok {
			gone[r] = true
		}
	}
	for _, a := range l.Added { // one that waits for its port isn't published
		if names(want, a) {
			gone[a] = true
		}
	}
	if len(gone) == 0 {
		return fmt.Errorf("port %s/%s: is not published; want one of %s", span(want), nat.ProtoName(want.Proto), listOf(published))
	}
	for _, p := range published {
		if r, _ := of(p); !gone[r] {
			left = append(left, p)
		}
	}
	e.Published = left
	l.Removed = slices.Clone(l.Removed)
	for _, r := range e.Requested {
		if gone[r] && !slices.Contains(l.Added, r) {
			l.Removed = append(l.Removed, r)
		}
	}
	l.Added = slices.DeleteFunc(l.Added, func(a store.PortBinding) bool { return gone[a] })
	return nil
}

// names reports whether want, as somebody names it, is the published p.
func names(want, p store.PortBinding) bool {
	if p.IP.IsValid() && !p.HostIP.IsValid() && !p.OnItsOwn() { // gateway mode routed: the host has no part in it
		p.HostPort = p.Port
	}
	return want.Proto == p.Proto && (want.Port == 0 || want.Port == p.Port) &&
		(!want.HostIP.IsValid() || !p.HostIP.IsValid() || want.HostIP == p.HostIP) &&
		p.HostPort >= want.HostPort && p.HostPort <= max(want.HostPort, want.HostPortEnd)
}

// hasOther reports whether p is published on an address of the other family, too.
func hasOther(all []store.PortBinding, p store.PortBinding) bool {
	return slices.ContainsFunc(all, func(o store.PortBinding) bool {
		return o.Proto == p.Proto && o.HostPort == p.HostPort && o.Port == p.Port && o.IP.Is6() != p.IP.Is6()
	})
}

func span(p store.PortBinding) string {
	if p.HostPortEnd > p.HostPort {
		return fmt.Sprintf("%d-%d", p.HostPort, p.HostPortEnd)
	}
	return fmt.Sprint(p.HostPort)
}

// listed bounds how many ports a message names.
const listed = 5

func listOf(all []store.PortBinding) string {
	var out []string
	for _, p := range all {
		if s := fmt.Sprintf("%d/%s", p.HostPort, nat.ProtoName(p.Proto)); !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	switch {
	case len(out) == 0:
		return "none: it publishes no port"
	case len(out) > listed:
		out = append(out[:listed], "…")
	}
	return strings.Join(out, ", ")
}

// cut removes the connections by ports that are published no more, behind the
// reply.
func (d *Driver) cut(gone nat.Endpoint) {
	var about []claim
	for _, p := range gone.Ports {
		if c := (claim{gone.Network, p.Target}); !slices.Contains(about, c) {
			about = append(about, c)
		}
	}
	gone.IPv4, gone.IPv6 = netip.Addr{}, netip.Addr{}
	d.work.later(func(ctx context.Context) {
		if err := d.opts.Connections.Cut(ctx, gone); err != nil {
			d.log.WithField("endpoint", gone.ID).Warn(err)
		}
	}, about...)
}

// removeStopped is RemovePorts for a container that doesn't run.
func (d *Driver) removeStopped(ctx context.Context, l store.LivePorts, ports []store.PortBinding) error {
	h, err := d.lock.network(ctx, l.Network)
	if err != nil {
		return err
	}
	defer h.release()
	d.mu.Lock()
	l, ok := d.live[liveKey{l.Network, l.ContainerID}]
	d.mu.Unlock()
	if !ok {
		return nil // gone meanwhile
	}
	before := l
	l.Added = slices.Clone(l.Added)
	for _, want := range ports {
		if err := unpublishOne(&l, &store.Endpoint{Published: l.Added}, want); err != nil {
			return fmt.Errorf("container %q: %w", l.Container, err)
		}
	}
	change, back := store.PutLivePorts(l), store.PutLivePorts(before)
	if l.Empty() {
		change = store.DeleteLivePorts(l.Network, l.ContainerID)
	}
	if err := <-d.commit(change); err != nil {
		d.owe(back)
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.setLive(l)
	return nil
}
