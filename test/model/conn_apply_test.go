package model

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"fairway/link"
)

// Apply makes every object. What this call made is gone again if it fails.
func (c *conn) Apply(_ context.Context, want link.Set) error {
	a := &attempt{conn: c}
	err := a.all(want)
	if err != nil {
		a.undo()
	}
	return err
}

// An attempt is one call of Apply. A link is made by itself; the settings that
// follow are sent as one batch, all of which is carried out.
type attempt struct {
	*conn
	made  link.Set
	batch []link.Object
}

func (a *attempt) all(want link.Set) error {
	for _, o := range want {
		if _, ok := o.(link.Sysctl); ok {
			if err := a.flush(); err != nil {
				return err
			}
		}
		if err := a.ensure(o); err != nil {
			return fmt.Errorf("link: add %s: %w", o, err)
		}
	}
	return a.flush()
}

// ensure makes the link of an object, and puts the rest into the batch.
func (a *attempt) ensure(o link.Object) error {
	switch o := o.(type) {
	case link.Bridge:
		if !o.Adopted {
			a.await(o.Name)
			if err := a.create(o, klink{place: place{"", o.Name}, kind: "bridge"}, o.Alias); err != nil {
				return err
			}
		}
	case link.Veth:
		a.await(o.Name, o.Peer)
		if err := a.create(o, klink{place: place{"", o.Name}, kind: "veth"}, o.Alias); err != nil {
			return err
		}
	case link.Isle:
		a.await(o.Name)
		if err := a.create(o, klink{place: place{"", o.Name}, kind: "isle"}, o.Alias); err != nil {
			return err
		}
	case link.Shim:
		a.await(o.Name)
		if err := a.shim(o); err != nil {
			return err
		}
	case link.VLAN:
		a.await(o.Name)
		if err := a.vlan(o); err != nil {
			return err
		}
	case link.Macvlan:
		a.await(o.Name)
		if err := a.macvlan(o); err != nil {
			return err
		}
	}
	var what string
	if err := a.look(func() { what = a.differs(o) }); err != nil {
		return err
	}
	if what != "" {
		a.batch = append(a.batch, o)
	}
	return nil
}

// shim makes the host's own link on a parent.
func (a *attempt) shim(h link.Shim) error {
	var err error
	if dead := a.look(func() {
		if a.kernel.host(h.Parent) == nil {
			err = unix.ENODEV
		}
	}); dead != nil || err != nil {
		return cmp.Or(dead, err)
	}
	return a.create(h, klink{place: place{"", h.Name}, kind: "macvlan", mac: h.MAC.String(), parent: h.Parent}, h.Alias)
}

// vlan makes a link of a VLAN on its parent.
func (a *attempt) vlan(v link.VLAN) (err error) {
	if dead := a.look(func() {
		if a.kernel.host(v.Parent) == nil {
			err = unix.ENODEV
		}
	}); dead != nil || err != nil {
		return cmp.Or(dead, err)
	}
	return a.create(v, klink{place: place{"", v.Name}, kind: "vlan", parent: v.Parent, mtu: uplinkMTU}, v.Alias)
}

// macvlan makes a link on its parent, unless it is in its sandbox.
func (a *attempt) macvlan(m link.Macvlan) error {
	var err error
	away := false
	if dead := a.look(func() {
		away = a.kernel.inside(m) != nil
		if a.kernel.host(m.Parent) == nil {
			err = unix.ENODEV
		}
	}); dead != nil {
		return dead
	}
	if away || err != nil {
		return err
	}
	return a.create(m, klink{place: place{"", m.Name}, kind: "macvlan"}, m.Alias)
}

// addMacvlan makes it: in the sandbox if that lives.
func (a *attempt) addMacvlan(m link.Macvlan, l *klink) error {
	k := a.kernel
	parent := k.host(m.Parent)
	if parent == nil {
		return unix.ENODEV
	}
	l.mac, l.parent, l.mtu = m.MAC.String(), m.Parent, cmp.Or(m.MTU, parent.mtu)
	if m.Sandbox != "" && k.sandboxes[m.Sandbox] {
		l.place = place{m.Sandbox, k.freeIndex(m.Sandbox, m.Inside.Prefix)}
		l.up, l.alias, l.addresses = true, m.Alias, slices.Clone(m.Inside.Addresses)
	}
	return k.add(l)
}

// create makes a link that isn't there. One of ours that is there for somebody
// else makes way.
func (a *attempt) create(o link.Object, l klink, alias string) error {
	for {
		var have *klink
		if err := a.look(func() { have = a.kernel.host(l.name) }); err != nil {
			return err
		}
		switch {
		case have == nil:
			return a.add(o, &l)
		case have.kind != l.kind || !a.ours(have):
			return unix.EEXIST
		case have.alias == "" || owner(have.alias) == owner(alias):
			return nil
		}
		a.enqueue(have.name, have.alias)
		a.await(have.name)
	}
}

func (a *attempt) add(o link.Object, l *klink) error {
	l.group = true
	err := a.do("link.apply "+l.kind, func() error {
		switch o := o.(type) {
		case link.Veth:
			return a.addPair(o, l)
		case link.Macvlan:
			return a.addMacvlan(o, l)
		case link.Bridge:
			l.mac = o.MAC.String()
		}
		return a.kernel.add(l)
	})
	if err == nil {
		a.made = append(a.made, o)
	}
	return err
}

// addPair makes a pair: the inner end in the sandbox if that lives.
func (a *attempt) addPair(v link.Veth, l *klink) error {
	k := a.kernel
	if k.host(v.Peer) != nil {
		return unix.EEXIST
	}
	if b := k.host(v.Master); b != nil && !v.Adopted && !b.ours() {
		return unix.EEXIST
	}
	if err := k.enslave(l, v.Master); err != nil {
		return err
	}
	peer := &klink{place: place{"", v.Peer}, kind: "veth", group: true, mac: v.PeerMAC.String(), mtu: mtuOf(v), peer: l}
	if v.Sandbox != "" && k.sandboxes[v.Sandbox] {
		peer.place = place{v.Sandbox, k.freeIndex(v.Sandbox, v.Inside.Prefix)}
		peer.up, peer.alias, peer.addresses = true, v.Alias, slices.Clone(v.Inside.Addresses)
	}
	l.peer, l.up, l.mtu = peer, true, mtuOf(v)
	return errors.Join(k.add(l), k.add(peer))
}

func (a *attempt) flush() error {
	batch := a.batch
	a.batch = nil
	if len(batch) == 0 {
		return nil
	}
	var errs []error
	err := a.do("link.apply "+batch[0].Key().Kind+" settings", func() error {
		for _, o := range batch {
			_, isName := nameOf(o)
			err := a.set(o)
			if err != nil {
				errs = append(errs, fmt.Errorf("link: add %s: %w", o, err))
			} else if !isName {
				a.made = append(a.made, o)
			}
		}
		return nil
	})
	return errors.Join(append(errs, err)...)
}

func (a *attempt) undo() {
	slices.Reverse(a.made)
	_ = a.Remove(context.Background(), a.made)
	for _, o := range a.made {
		if name, ok := nameOf(o); ok {
			a.await(name)
		}
	}
}

// nameOf returns the name of an object that is a link.
func nameOf(o link.Object) (name string, ok bool) {
	switch o := o.(type) {
	case link.Bridge:
		return o.Name, true
	case link.Veth:
		return o.Name, true
	case link.Isle:
		return o.Name, true
	case link.Shim:
		return o.Name, true
	case link.VLAN:
		return o.Name, true
	case link.Macvlan:
		return o.Name, true
	}
	return "", false
}

// differs says how the kernel differs from an object that is wanted; "" if it
// doesn't. The caller holds the machine.
func (c *conn) differs(o link.Object) string {
	k := c.kernel
	switch o := o.(type) {
	case link.Bridge:
		l := k.host(o.Name)
		switch {
		case l == nil:
			return "was missing"
		case o.Adopted:
			return ""
		case l.mtu != o.MTU || l.mac != o.MAC.String() || !l.up || l.ipv6 != o.IPv6 || l.alias != o.Alias || l.kind != "bridge":
			return "was changed"
		}
	case link.Veth:
		l := k.host(o.Name)
		switch {
		case l == nil:
			return "was missing"
		case l.master != o.Master:
			return "was no port of its bridge"
		case l.mtu != mtuOf(o) || !l.up || l.alias != o.Alias || l.isolated != o.Isolated || l.learning != o.Learning || l.hairpin != o.Hairpin || l.fdb != fdbOf(o) || l.peer.ns == "" && l.peer.name == o.Peer && (l.peer.alias != o.Alias || l.peer.mtu != mtuOf(o)):
			return "was changed"
		}
	case link.Isle:
		l := k.host(o.Name)
		switch {
		case l == nil:
			return "was missing"
		case l.mtu != o.MTU || !l.up || l.alias != o.Alias:
			return "was changed"
		}
	case link.VLAN:
		switch l := k.host(o.Name); {
		case k.host(o.Parent) == nil:
		case l == nil:
			return "was missing"
		case !l.up || l.alias != o.Alias:
			return "was changed"
		}
	case link.Macvlan:
		l, parent := k.host(o.Name), k.host(o.Parent)
		switch {
		case k.inside(o) != nil, parent == nil:
		case l == nil:
			return "was missing"
		case l.mtu != cmp.Or(o.MTU, parent.mtu) || l.alias != o.Alias:
			return "was changed"
		}
	case link.Shim:
		l, parent := k.host(o.Name), k.host(o.Parent)
		switch {
		case parent == nil:
		case l == nil:
			return "was missing"
		case l.mtu != cmp.Or(o.MTU, parent.mtu) || !l.up || l.alias != o.Alias || l.mac != o.MAC.String() || !slices.Equal(l.addresses, whole(o.Addresses)):
			return "was changed"
		}
	case link.HostRoute:
		if !k.routes[neighbour{o.Link, o.IP}] {
			return "was missing"
		}
	case link.Address:
		l := k.host(o.Link)
		if l == nil || !slices.Contains(l.addresses, o.Prefix) {
			return "was missing"
		}
	case link.Neighbour:
		if k.neighbours[neighbour{o.Link, o.IP}] != o.MAC.String() {
			return "was missing"
		}
	case link.Sysctl:
		if k.sysctls[o.Path] != o.Value {
			return "was " + k.sysctls[o.Path]
		}
	}
	return ""
}

// Annotate changes marks.
func (c *conn) Annotate(_ context.Context, want link.Set) error {
	for _, o := range want {
		v, ok := o.(link.Veth)
		if !ok || c.isPending(v.Name) {
			continue
		}
		differs := false
		if err := c.look(func() {
			l := c.kernel.host(v.Name)
			differs = l != nil && l.kind == "veth" && c.ours(l) && (l.alias == "" || owner(l.alias) == owner(v.Alias)) && l.alias != v.Alias
		}); err != nil {
			return err
		}
		if !differs {
			continue
		}
		if err := c.do("link.annotate", func() error {
			if l := c.kernel.host(v.Name); l != nil {
				l.alias = v.Alias
				if l.peer.ns == "" {
					l.peer.alias = v.Alias
				}
			}
			return nil
		}); err != nil {
			return fmt.Errorf("link: annotate %s: %w", v, err)
		}
	}
	return nil
}

// mtuOf is the MTU of both ends: that of the bridges of others if nobody says.
func mtuOf(v link.Veth) int { return cmp.Or(v.MTU, 1500) }

func fdbOf(v link.Veth) string {
	if v.Learning {
		return ""
	}
	return v.PeerMAC.String()
}

// set makes the kernel as the object says. The caller holds the machine.
func (c *conn) set(o link.Object) error {
	k := c.kernel
	switch o := o.(type) {
	case link.Bridge:
		l := k.host(o.Name)
		if l == nil {
			return unix.ENODEV
		}
		if !o.Adopted {
			l.mac, l.mtu, l.alias, l.ipv6, l.up = o.MAC.String(), o.MTU, o.Alias, o.IPv6, true
		}
	case link.Veth:
		return c.setVeth(o)
	case link.Isle:
		l := k.host(o.Name)
		if l == nil {
			return unix.ENODEV
		}
		l.mtu, l.up, l.alias = o.MTU, true, o.Alias
	case link.VLAN:
		l := k.host(o.Name)
		if l == nil {
			return unix.ENODEV
		}
		l.up, l.alias = true, o.Alias
	case link.Macvlan:
		if l := k.host(o.Name); l != nil {
			l.mtu, l.alias = cmp.Or(o.MTU, k.host(o.Parent).mtu), o.Alias
		} else if k.inside(o) == nil {
			return unix.ENODEV
		}
	case link.Shim:
		l, parent := k.host(o.Name), k.host(o.Parent)
		if l == nil || parent == nil {
			return unix.ENODEV
		}
		l.mtu, l.mac, l.up, l.alias, l.addresses = cmp.Or(o.MTU, parent.mtu), o.MAC.String(), true, o.Alias, whole(o.Addresses)
	case link.HostRoute:
		if k.host(o.Link) == nil {
			return unix.ENODEV
		}
		k.routes[neighbour{o.Link, o.IP}] = true
	case link.Address:
		l := k.host(o.Link)
		if l == nil {
			return unix.ENODEV
		}
		if !slices.Contains(l.addresses, o.Prefix) {
			l.addresses = append(l.addresses, o.Prefix)
		}
	case link.Neighbour:
		if k.host(o.Link) == nil {
			return unix.ENODEV
		}
		k.neighbours[neighbour{o.Link, o.IP}] = o.MAC.String()
	case link.Sysctl:
		if _, ok := k.sysctls[o.Path]; !ok {
			return unix.ENOENT
		}
		k.sysctls[o.Path] = o.Value
	}
	return nil
}

func (c *conn) setVeth(o link.Veth) error {
	k := c.kernel
	l := k.host(o.Name)
	if l == nil {
		return unix.ENODEV
	}
	if l.master != o.Master {
		if err := k.enslave(l, o.Master); err != nil {
			return err
		}
	}
	l.mtu, l.up, l.alias, l.isolated, l.learning, l.hairpin, l.fdb = mtuOf(o), true, o.Alias, o.Isolated, o.Learning, o.Hairpin, fdbOf(o)
	if l.peer.ns == "" && l.peer.name == o.Peer {
		l.peer.alias, l.peer.mtu, l.peer.mac = o.Alias, mtuOf(o), o.PeerMAC.String()
	}
	return nil
}

// whole returns addresses as prefixes of their whole length.
func whole(all []netip.Addr) (out []netip.Prefix) {
	for _, a := range all {
		out = append(out, netip.PrefixFrom(a, a.BitLen()))
	}
	return out
}
