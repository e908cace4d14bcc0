package model

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"fairway/link"
)

// A conn is a process's link.Conn over the machine's kernel.
type conn struct {
	*process
	mu2      sync.Mutex
	queue    []*removal // to be done, as a group, a little later
	pending  map[string]*removal
	draining bool
}

func newConn(p *process) *conn { return &conn{process: p, pending: map[string]*removal{}} }

const groupDelay = 2 * time.Millisecond

// uplinkMTU is that of the host's default route, in bytes.
const uplinkMTU = 1500

func (c *conn) UplinkMTU(context.Context) (int, error) { return uplinkMTU, nil }

// Subnets are those of the host's routes: of its addresses, here.
func (c *conn) Subnets(context.Context) (out []netip.Prefix, err error) {
	err = c.look(func() {
		for _, l := range c.kernel.sorted() {
			for _, a := range l.addresses {
				if l.ns == "" && l.up {
					out = append(out, a.Masked())
				}
			}
		}
	})
	return out, err
}

func (c *conn) SandboxAlive(path string) (alive bool) {
	_ = c.look(func() { alive = c.kernel.sandboxes[path] })
	return alive
}

func (c *conn) Link(_ context.Context, _, name string) (info link.Info, err error) {
	dead := c.look(func() {
		l := c.kernel.host(name)
		if l == nil || c.isPending(name) {
			err = fmt.Errorf("link: get %s: %w", name, unix.ENODEV)
			return
		}
		info = l.info()
	})
	return info, cmp.Or(dead, err)
}

func (c *conn) Announce(context.Context, string, string, net.HardwareAddr, ...netip.Addr) error {
	return c.do("link.announce", func() error { return nil })
}

func (c *conn) Forwards(v6 bool) (on bool, err error) {
	err = c.look(func() { on = c.kernel.forwarding[index(v6)] })
	return on, err
}

func (c *conn) EnableForwarding(_ context.Context, v6 bool) (flipped bool, err error) {
	if on, err := c.Forwards(v6); err != nil || on {
		return false, err
	}
	err = c.do("link.forwarding", func() error {
		c.kernel.forwarding[index(v6)] = true
		return nil
	})
	return err == nil, err
}

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
		if v, ok := o.(link.Veth); ok {
			return a.addPair(v, l)
		}
		l.mac = o.(link.Bridge).MAC.String()
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
	if err := k.enslave(l, v.Master); err != nil {
		return err
	}
	peer := &klink{place: place{"", v.Peer}, kind: "veth", group: true, mac: v.PeerMAC.String(), mtu: v.MTU, peer: l}
	if v.Sandbox != "" && k.sandboxes[v.Sandbox] {
		peer.place = place{v.Sandbox, k.freeIndex(v.Sandbox, v.Inside.Prefix)}
		peer.up, peer.alias, peer.addresses = true, v.Alias, slices.Clone(v.Inside.Addresses)
	}
	l.peer, l.up, l.mtu = peer, true, v.MTU
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
			_, isLink := o.(link.Veth)
			_, isBridge := o.(link.Bridge)
			err := a.set(o)
			if err != nil {
				errs = append(errs, fmt.Errorf("link: add %s: %w", o, err))
			} else if !isLink && !isBridge {
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
		switch o := o.(type) {
		case link.Bridge:
			a.await(o.Name)
		case link.Veth:
			a.await(o.Name)
		}
	}
}

// owner is a mark less the container's name.
func owner(alias string) string {
	if f := strings.SplitN(alias, ":", 4); len(f) == 4 {
		return strings.Join(f[:3], ":")
	}
	return alias
}

func (c *conn) ours(l *klink) bool { return l.ours() }

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
		case l.mtu != o.MTU || !l.up || l.alias != o.Alias || l.isolated != o.Isolated || l.learning != o.Learning || l.hairpin != o.Hairpin || l.fdb != fdbOf(o) || l.peer.ns == "" && l.peer.name == o.Peer && (l.peer.alias != o.Alias || l.peer.mtu != o.MTU):
			return "was changed"
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
	l.mtu, l.up, l.alias, l.isolated, l.learning, l.hairpin, l.fdb = o.MTU, true, o.Alias, o.Isolated, o.Learning, o.Hairpin, fdbOf(o)
	if l.peer.ns == "" && l.peer.name == o.Peer {
		l.peer.alias, l.peer.mtu, l.peer.mac = o.Alias, o.MTU, o.PeerMAC.String()
	}
	return nil
}

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
		case link.Bridge, link.Veth, orphan:
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
		case orphan:
			c.enqueue(o.name, o.alias)
		}
	}
	return errors.Join(errs...)
}

// A removal is of a link as long as it belongs to whom it did.
type removal struct {
	name, owner string
	done        chan struct{}
}

func (c *conn) enqueue(name, alias string) {
	c.mu2.Lock()
	defer c.mu2.Unlock()
	if c.pending[name] != nil {
		return
	}
	r := &removal{name, owner(alias), make(chan struct{})}
	c.pending[name] = r
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
	return c.pending[name] != nil
}

// await waits until none of the links is about to be removed.
func (c *conn) await(names ...string) {
	for _, name := range names {
		c.mu2.Lock()
		r := c.pending[name]
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
				l := c.kernel.host(r.name)
				if l != nil && c.ours(l) && (l.alias == "" || owner(l.alias) == r.owner) {
					c.kernel.remove(l)
				}
			}
			return nil
		})
		c.mu2.Lock()
		for _, r := range group {
			delete(c.pending, r.name)
			close(r.done)
		}
		c.mu2.Unlock()
	}
}

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
	if ok && c.isPending(v.Name) {
		return ""
	}
	return c.differs(o)
}

// strays finds what is ours and not wanted: links by their mark, and what is
// on a bridge of ours.
func (c *conn) strays(want link.Set) (out link.Set, err error) {
	names, keys := map[string]bool{}, map[link.Key]bool{}
	var bridges []string
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
		for _, name := range bridges {
			l := c.kernel.host(name)
			if l == nil {
				continue
			}
			for _, a := range l.addresses {
				if o := (link.Address{Link: name, Prefix: a}); !keys[o.Key()] {
					out = append(out, o)
				}
			}
		}
	})
	slices.SortFunc(out, func(a, b link.Object) int { return strings.Compare(a.String(), b.String()) })
	return out, err
}
