package link

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Remove takes objects away, each as long as it is what the object says. What
// is not there is gone already. Addresses and neighbours are gone when it
// returns, and sysctls reset; links go a little later, see Quiesce, but are as
// good as gone for Link and Apply.
func (c *Conn) Remove(ctx context.Context, objs Set) error {
	var errs []error
	for len(objs) > 0 {
		if err := ctx.Err(); err != nil {
			return errors.Join(append(errs, fmt.Errorf("link: remove %s: %w", objs[0], err))...)
		}
		n := 1
		var err error
		switch o := objs[0].(type) {
		case Bridge:
			if !o.Adopted {
				c.enqueue(o.Namespace, o.Name, o.Alias)
			}
		case Veth:
			c.enqueue(o.Namespace, o.Name, o.Alias)
		case orphan:
			c.enqueue(o.namespace, o.name, o.alias)
		case Neighbour:
			for n < len(objs) && isNeighbour(objs[n], o.Namespace) {
				n++
			}
			err = c.removeNeighbours(o.Namespace, objs[:n])
		default:
			err = c.removeOne(o)
		}
		if err != nil {
			errs = append(errs, err)
		}
		objs = objs[n:]
	}
	return errors.Join(errs...)
}

func isNeighbour(o Object, namespace string) bool {
	n, ok := o.(Neighbour)
	return ok && n.Namespace == namespace
}

func (c *Conn) removeOne(o Object) error {
	s, done, err := c.in(o.Key().Namespace)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err == nil {
		defer done()
		switch o := o.(type) {
		case Address:
			err = c.removeAddress(s, o)
		case Sysctl:
			err = c.resetSysctl(s, o)
		default:
			err = fmt.Errorf("kind %s: %w", o.Key().Kind, unix.EOPNOTSUPP)
		}
	}
	if err != nil {
		return fmt.Errorf("link: remove %s: %w", o, err)
	}
	return nil
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
	_, err = s.fast.one(addressRequest(unix.RTM_DELADDR, 0, index, a.Prefix))
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
func (c *Conn) removeNeighbours(namespace string, objs Set) error {
	s, done, err := c.in(namespace)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("link: remove neighbours: %w", err)
	}
	defer done()
	var errs []error
	var there []Neighbour
	var reqs []*nl.NetlinkRequest
	indexes := map[string]int{}
	for _, o := range objs {
		n := o.(Neighbour)
		index, ok := indexes[n.Link]
		if !ok {
			index, err = s.index(n.Link)
			if err != nil && !errors.Is(err, unix.ENODEV) {
				errs = append(errs, fmt.Errorf("link: remove %s: %w", o, err))
				continue
			}
			indexes[n.Link] = index
		}
		if index != 0 {
			there = append(there, n)
			reqs = append(reqs, neighbourRequest(unix.RTM_GETNEIGH, 0, index, n.IP, nil))
		}
	}
	var gone []Neighbour
	var dels []*nl.NetlinkRequest
	for i, r := range s.fast.do(reqs...) {
		if r.err == nil && permanent(r.data, there[i].MAC) {
			gone = append(gone, there[i])
			dels = append(dels, neighbourRequest(unix.RTM_DELNEIGH, 0, indexes[there[i].Link], there[i].IP, nil))
		} else if r.err != nil && !isGone(r.err) {
			errs = append(errs, fmt.Errorf("link: remove %s: %w", there[i], r.err))
		}
	}
	if len(dels) > 0 {
		c.opts.Step("link.remove neighbour")
	}
	for i, r := range s.fast.do(dels...) {
		if r.err != nil && !isGone(r.err) {
			errs = append(errs, fmt.Errorf("link: remove %s: %w", gone[i], r.err))
		}
	}
	return errors.Join(errs...)
}

// permanent reports whether an entry of the neighbour table is as Neighbour
// wants it.
func permanent(msg []byte, mac net.HardwareAddr) bool {
	n, err := netlink.NeighDeserialize(msg)
	return err == nil && n.State&unix.NUD_PERMANENT != 0 && bytes.Equal(n.HardwareAddr, mac)
}

func isGone(err error) bool { return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) }
