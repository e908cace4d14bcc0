package link

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"net"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Remove takes objects away, each as long as it is what the object says. What
// is not there is gone already. Addresses, routes and neighbours are gone when it
// returns, and sysctls reset; links go a little later, see Quiesce, but are as
// good as gone for Link and Apply.
func (c *Conn) Remove(ctx context.Context, objs Set) error {
	var errs []error
	// Links last: the worker would get in the way of what is done here.
	defer func() {
		for _, o := range objs {
			switch o := o.(type) {
			case Bridge:
				if !o.Adopted {
					c.enqueue(o.Namespace, o.Name, o.Alias)
				}
			case Veth:
				c.enqueue(o.Namespace, o.Name, o.Alias)
			case VLAN:
				c.enqueue(o.Namespace, o.Name, o.Alias)
			case Isle:
				c.enqueue(o.Namespace, o.Name, o.Alias)
			case VXLAN:
				c.enqueue(o.Namespace, o.Name, o.Alias)
			case Shim:
				c.enqueue(o.Namespace, o.Name, o.Alias)
			case Macvlan:
				// Docker may be about to move it: once it isn't here, it is there or nowhere.
				c.enqueueThen(o.Namespace, o.Name, o.Alias, func() { c.enqueueInside(o) })
				c.enqueueInside(o)
			case orphan:
				c.enqueue(o.namespace, o.name, o.alias)
			}
		}
	}()
	for namespace, of := range byNamespace(objs) {
		if err := ctx.Err(); err != nil {
			errs = append(errs, fmt.Errorf("link: remove %s: %w", of[0], err))
			break
		}
		errs = append(errs, c.removeIn(namespace, of))
	}
	return errors.Join(errs...)
}

// byNamespace yields the parts of a set that are of one namespace each, in
// their order.
func byNamespace(s Set) iter.Seq2[string, Set] {
	return func(yield func(string, Set) bool) {
		for len(s) > 0 {
			n, namespace := 1, s[0].Key().Namespace
			for n < len(s) && s[n].Key().Namespace == namespace {
				n++
			}
			if !yield(namespace, s[:n]) {
				return
			}
			s = s[n:]
		}
	}
}

// removeIn removes what of a set doesn't take its time.
func (c *Conn) removeIn(namespace string, objs Set) error {
	s, done, err := c.in(namespace)
	if errors.Is(err, unix.ENOENT) {
		return nil // gone with its namespace
	}
	if err != nil {
		return fmt.Errorf("link: remove %s: %w", objs[0], err)
	}
	defer done()
	taken, err := c.taken(s, objs)
	if err != nil {
		return err
	}
	var errs []error
	var neighbours []Neighbour
	for _, o := range objs {
		if taken[on(o)] {
			continue
		}
		var err error
		switch o := o.(type) {
		case Address:
			err = c.removeAddress(s, o)
		case HostRoute:
			err = c.removeHostRoute(s, o)
		case Sysctl:
			err = c.resetSysctl(s, o)
		case Neighbour:
			neighbours = append(neighbours, o)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("link: remove %s: %w", o, err))
		}
	}
	return errors.Join(append(errs, c.removeNeighbours(s, neighbours))...)
}

// taken returns the bridges of a set in whose place somebody else has a link:
// what is on that is not ours.
func (c *Conn) taken(s *space, objs Set) (map[string]bool, error) {
	taken := map[string]bool{}
	for _, o := range objs {
		b, ok := o.(Bridge)
		if !ok || b.Adopted {
			continue
		}
		l, err := s.fast.link(b.Name)
		if err != nil && !errors.Is(err, unix.ENODEV) {
			return nil, fmt.Errorf("link: remove %s: %w", b, err)
		}
		taken[b.Name] = err == nil && !c.ourBridge(l)
	}
	return taken, nil
}

func (c *Conn) removeAddress(s *space, a Address) error {
	index, err := s.index(a.Link)
	if errors.Is(err, unix.ENODEV) {
		return nil
	}
	if err != nil {
		return err
	}
	c.opts.Step("link.remove address")
	_, err = s.fast.one(addressRequest(unix.RTM_DELADDR, 0, index, a.Prefix, false))
	if errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}

func (c *Conn) resetSysctl(s *space, o Sysctl) error {
	if o.Reset == "" {
		return nil
	}
	now, err := c.readSysctl(s, o.Path)
	if err == nil && now == o.Value && now != o.Reset {
		c.opts.Step("link.remove sysctl")
		err = c.writeSysctl(s, o.Path, o.Reset)
	}
	if errors.Is(err, unix.ENOENT) {
		return nil // gone with its link
	}
	return err
}

// removeNeighbours removes entries of one namespace. One that has another MAC
// address by now belongs to whoever gave it that.
func (c *Conn) removeNeighbours(s *space, all []Neighbour) error {
	var errs []error
	failed := func(n Neighbour, err error) {
		if err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENODEV) {
			errs = append(errs, fmt.Errorf("link: remove %s: %w", n, err))
		}
	}
	var there []Neighbour
	var gets, dels []*nl.NetlinkRequest
	for _, n := range all {
		index, err := s.index(n.Link)
		if err != nil {
			failed(n, err)
			continue
		}
		there = append(there, n)
		gets = append(gets, neighbourRequest(unix.RTM_GETNEIGH, 0, index, n.IP, nil))
		dels = append(dels, neighbourRequest(unix.RTM_DELNEIGH, 0, index, n.IP, nil))
	}
	var still []Neighbour
	for i, r := range s.fast.do(gets...) {
		if r.err == nil && permanent(r.data, there[i].MAC) {
			dels[len(still)] = dels[i]
			still = append(still, there[i])
			continue
		}
		failed(there[i], r.err)
	}
	if len(still) > 0 {
		c.opts.Step("link.remove neighbour")
	}
	for i, r := range s.fast.do(dels[:len(still)]...) {
		failed(still[i], r.err)
	}
	return errors.Join(errs...)
}

// permanent reports whether an entry of the neighbour table is as Neighbour
// wants it.
func permanent(msg []byte, mac net.HardwareAddr) bool {
	n, err := netlink.NeighDeserialize(msg)
	return err == nil && n.State&unix.NUD_PERMANENT != 0 && bytes.Equal(n.HardwareAddr, mac)
}
