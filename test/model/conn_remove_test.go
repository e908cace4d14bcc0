package model

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"fairway/link"
)

// unset takes away what isn't a link, as long as it is what the object says.
// The caller holds the machine.
func (c *conn) unset(o link.Object) {
	k := c.kernel
	switch o := o.(type) {
	case link.Address:
		if l := k.host(o.Link); l != nil {
			l.addresses = slices.DeleteFunc(slices.Clone(l.addresses), func(p netip.Prefix) bool { return p == o.Prefix })
		}
	case link.Neighbour:
		if k.neighbours[neighbour{o.Link, o.IP}] == o.MAC.String() {
			delete(k.neighbours, neighbour{o.Link, o.IP})
		}
	case link.HostRoute:
		delete(k.routes, neighbour{o.Link, o.IP})
	case link.Sysctl:
		if k.sysctls[o.Path] == o.Value && o.Reset != "" {
			k.sysctls[o.Path] = o.Reset
		}
	}
}

// An orphan is a link of ours that nobody wants.
type orphan struct{ name, alias string }

func (o orphan) Key() link.Key  { return link.Key{Kind: "link", Name: o.name} }
func (o orphan) String() string { return "link " + o.name }

// Remove takes objects away; links are queued.
func (c *conn) Remove(_ context.Context, objects link.Set) error {
	var errs []error
	for _, o := range objects {
		switch o := o.(type) {
		case link.Bridge, link.Veth, link.Isle, link.VLAN, link.Macvlan, link.Shim, orphan:
			continue
		default:
			err := c.do("link.remove "+o.Key().Kind, func() error { c.unset(o); return nil })
			if err != nil {
				errs = append(errs, fmt.Errorf("link: remove %s: %w", o, err))
			}
		}
	}
	for _, o := range objects {
		switch o := o.(type) {
		case link.Bridge:
			if !o.Adopted {
				c.enqueue(o.Name, o.Alias)
			}
		case link.Veth:
			c.enqueue(o.Name, o.Alias)
		case link.Isle:
			c.enqueue(o.Name, o.Alias)
		case link.Shim:
			c.enqueue(o.Name, o.Alias)
		case link.VLAN:
			c.enqueue(o.Name, o.Alias)
		case link.Macvlan:
			c.enqueue(o.Name, o.Alias)
			var l *klink
			if err := c.look(func() { l = c.kernel.inside(o) }); err != nil {
				errs = append(errs, err)
			} else if l != nil {
				c.enqueueAt(l.place, l.alias)
			}
		case orphan:
			c.enqueue(o.name, o.alias)
		}
	}
	return errors.Join(errs...)
}

// A removal is of a link as long as it belongs to whom it did.
type removal struct {
	place
	owner string
	done  chan struct{}
}

func (c *conn) enqueue(name, alias string) { c.enqueueAt(place{"", name}, alias) }

func (c *conn) enqueueAt(at place, alias string) {
	c.mu2.Lock()
	defer c.mu2.Unlock()
	if c.pending[at] != nil {
		return
	}
	r := &removal{at, owner(alias), make(chan struct{})}
	c.pending[at] = r
	c.queue = append(c.queue, r)
	if !c.draining {
		c.draining = true
		go c.drain()
	}
}

// isPending reports whether a link is as good as gone.
func (c *conn) isPending(name string) bool {
	c.mu2.Lock()
	defer c.mu2.Unlock()
	return c.pending[place{"", name}] != nil
}

// await waits until none of the links is about to be removed.
func (c *conn) await(names ...string) {
	for _, name := range names {
		c.mu2.Lock()
		r := c.pending[place{"", name}]
		c.mu2.Unlock()
		if r != nil {
			<-r.done
		}
	}
}

func (c *conn) drain() {
	for {
		time.Sleep(groupDelay)
		c.mu2.Lock()
		group := c.queue
		c.queue = nil
		c.draining = len(group) > 0
		c.mu2.Unlock()
		if len(group) == 0 {
			return
		}
		_ = c.do("link.delete", func() error { // Reconcile finds what is left
			for _, r := range group {
				l := c.kernel.links[r.place]
				if l != nil && c.ours(l) && (l.alias == "" || owner(l.alias) == r.owner) {
					c.kernel.remove(l)
				}
			}
			return nil
		})
		c.mu2.Lock()
		for _, r := range group {
			delete(c.pending, r.place)
			close(r.done)
		}
		c.mu2.Unlock()
	}
}

// Addresses is asked by operators only.
func (c *conn) Addresses(context.Context, string) (map[netip.Addr]bool, error) { return nil, nil }

func (c *conn) Quiesce(context.Context) error {
	for {
		c.mu2.Lock()
		var r *removal
		for _, r = range c.pending {
			break
		}
		c.mu2.Unlock()
		if r == nil {
			return nil
		}
		<-r.done
	}
}

// Reconcile removes what is ours and not wanted, then makes what is wanted.
// One object's trouble keeps no other from being made.
func (c *conn) Reconcile(ctx context.Context, want link.Set) (repairs []link.Repair, err error) {
	stray, err := c.strays(want)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, o := range stray {
		if err := c.Remove(ctx, link.Set{o}); err != nil {
			errs = append(errs, err)
			continue
		}
		repairs = append(repairs, link.Repair{Object: o.String(), What: "belonged to nothing"})
	}
	for _, o := range want {
		var what string
		if err := c.look(func() { what = c.drift(o) }); err != nil {
			return repairs, err
		}
		if what == "" {
			continue
		}
		if err := c.Apply(ctx, link.Set{o}); err != nil {
			errs = append(errs, err)
			continue
		}
		repairs = append(repairs, link.Repair{Object: o.String(), What: what})
	}
	return repairs, errors.Join(errs...)
}

// drift says what Reconcile has to mend of an object. The caller holds the
// machine.
func (c *conn) drift(o link.Object) string {
	v, ok := o.(link.Veth)
	if ok && c.kernel.host(v.Name) == nil && v.Sandbox != "" && !c.kernel.sandboxes[v.Sandbox] {
		return "" // gone with its sandbox
	}
	if m, ok := o.(link.Macvlan); ok && c.kernel.host(m.Name) == nil && (m.Left || m.Sandbox != "" && !c.kernel.sandboxes[m.Sandbox]) {
		return "" // gone with its sandbox, or being moved
	}
	if name, ok := nameOf(o); ok && o.Key().Kind != "bridge" && c.isPending(name) {
		return ""
	}
	return c.differs(o)
}

// strays finds what is ours and not wanted: links by their mark, and neighbours
// on a bridge of ours.
func (c *conn) strays(want link.Set) (out link.Set, err error) {
	names, keys := map[string]bool{}, map[link.Key]bool{}
	var bridges, shims []string
	for _, o := range want {
		keys[o.Key()] = true
		switch o := o.(type) {
		case link.Bridge:
			names[o.Name] = true
			if !o.Adopted {
				bridges = append(bridges, o.Name)
			}
		case link.Veth:
			names[o.Name], names[o.Peer] = true, true
		case link.Isle:
			names[o.Name] = true
		case link.Shim:
			names[o.Name] = true
			shims = append(shims, o.Name)
		case link.VLAN:
			names[o.Name] = true
		case link.Macvlan:
			names[o.Name] = true
		}
	}
	err = c.look(func() {
		gone := map[*klink]bool{}
		for _, l := range c.kernel.sorted() {
			if l.ns == "" && c.ours(l) && !names[l.name] && !c.isPending(l.name) && !(l.peer != nil && (gone[l.peer] || names[l.peer.name])) {
				gone[l] = true
				out = append(out, orphan{l.name, l.alias})
			}
		}
		for n, mac := range c.kernel.neighbours {
			hw, _ := net.ParseMAC(mac)
			if o := (link.Neighbour{Link: n.link, IP: n.ip, MAC: hw}); slices.Contains(bridges, n.link) && !keys[o.Key()] {
				out = append(out, o)
			}
		}
		for r := range c.kernel.routes {
			if o := (link.HostRoute{Link: r.link, IP: r.ip}); slices.Contains(shims, r.link) && !keys[o.Key()] {
				out = append(out, o)
			}
		}
	})
	slices.SortFunc(out, func(a, b link.Object) int { return strings.Compare(a.String(), b.String()) })
	return out, err
}
