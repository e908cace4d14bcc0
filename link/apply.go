package link

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Apply makes the kernel hold every object of want, in order. It may be
// repeated: what is there already and is ours is made as wanted. If it fails,
// what this call made is gone again. A link of somebody else's in the place of
// one that is wanted, a pair's bridge among them, is unix.EEXIST, a missing master or parent, or an adopted
// bridge that is missing, unix.ENODEV, a bridge without a free port unix.EXFULL.
func (c *Conn) Apply(ctx context.Context, want Set) error {
	a := &attempt{Conn: c}
	err := a.all(ctx, want)
	if err != nil {
		err = errors.Join(err, a.undo(context.WithoutCancel(ctx)))
	}
	return err
}

// An attempt is one call of Apply.
type attempt struct {
	*Conn
	made  Set // what wasn't there before
	queue []pending
}

// A pending request is sent with the others of its namespace, as one batch.
type pending struct {
	obj  Object
	req  *nl.NetlinkRequest
	then func(err error) error // takes the kernel's answer; nil for an error being one
}

func (a *attempt) all(ctx context.Context, want Set) error {
	for namespace, of := range byNamespace(want) {
		if err := a.inOne(ctx, namespace, of); err != nil {
			return err
		}
	}
	return nil
}

// inOne applies objects that are all of one namespace.
func (a *attempt) inOne(ctx context.Context, namespace string, want Set) error {
	s, done, err := a.in(namespace)
	if err != nil {
		return fmt.Errorf("link: add %s: %w", want[0], err)
	}
	defer done()
	for _, o := range want {
		if err = ctx.Err(); err == nil {
			err = a.ensure(ctx, s, o)
		}
		if err != nil {
			return fmt.Errorf("link: add %s: %w", o, err)
		}
	}
	return a.flush(s)
}

// ensure makes o, or puts the requests for it into the queue.
func (a *attempt) ensure(ctx context.Context, s *space, o Object) error {
	switch o := o.(type) {
	case Bridge:
		return a.bridge(ctx, s, o)
	case Veth:
		return a.veth(ctx, s, o)
	case Macvlan:
		return a.macvlan(ctx, s, o)
	case VLAN:
		return a.vlan(ctx, s, o)
	case Isle:
		return a.isle(ctx, s, o)
	case VXLAN:
		return a.vxlan(ctx, s, o)
	case Shim:
		return a.shim(ctx, s, o)
	case Address:
		return a.address(s, o)
	case HostRoute:
		return a.hostRoute(s, o)
	case Neighbour:
		return a.neighbour(s, o)
	case Sysctl:
		if err := a.flush(s); err != nil {
			return err
		}
		return a.sysctlValue(s, o)
	}
	return fmt.Errorf("kind %s: %w", o.Key().Kind, unix.EOPNOTSUPP)
}

func (a *attempt) later(o Object, req *nl.NetlinkRequest, then func(error) error) {
	a.queue = append(a.queue, pending{o, req, then})
}

// flush sends what is in the queue. The kernel carries out all of it, also what
// comes after a request that it refused.
func (a *attempt) flush(s *space) error {
	if len(a.queue) == 0 {
		return nil
	}
	queue := a.queue
	a.queue = nil
	reqs := make([]*nl.NetlinkRequest, len(queue))
	for i, p := range queue {
		reqs[i] = p.req
	}
	a.opts.Step("link.apply " + queue[0].obj.Key().Kind + " settings")
	var errs []error
	for i, r := range s.fast.do(reqs...) {
		err := r.err
		if queue[i].then != nil {
			err = queue[i].then(err)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("link: add %s: %w", queue[i].obj, err))
		}
	}
	return errors.Join(errs...)
}

// undo takes away what the attempt made, and waits until it is gone.
func (a *attempt) undo(ctx context.Context) error {
	if len(a.made) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	gone := slices.Clone(a.made)
	slices.Reverse(gone)
	err := a.Remove(ctx, gone)
	for _, o := range gone {
		k := o.Key()
		err = errors.Join(err, a.Conn.queue.settle(ctx, k.Namespace, k.Name))
	}
	return err
}

// address makes an address that is not there.
func (a *attempt) address(s *space, o Address) error {
	index, err := s.index(o.Link)
	if err != nil {
		return err
	}
	a.later(o, addressRequest(unix.RTM_NEWADDR, exclusive, index, o.Prefix, o.Deprecated), func(err error) error {
		if err == nil {
			a.made = append(a.made, o)
		}
		if errors.Is(err, unix.EEXIST) {
			return a.readdress(s, index, o)
		}
		return err
	})
	return nil
}

// readdress settles an address that is there: in IPv6 perhaps with another
// length.
func (a *attempt) readdress(s *space, index int, o Address) error {
	have, err := s.addresses()
	if err != nil {
		return err
	}
	for at := range have {
		if at.link == index && at.prefix != o.Prefix && at.prefix.Addr() == o.Prefix.Addr() && at.prefix.Addr().Is6() {
			replies := s.fast.do(addressRequest(unix.RTM_DELADDR, 0, index, at.prefix, false),
				addressRequest(unix.RTM_NEWADDR, exclusive, index, o.Prefix, o.Deprecated))
			return errors.Join(replies[0].err, replies[1].err)
		}
	}
	return nil
}

// neighbour makes an entry that is not there, or takes the place of one.
func (a *attempt) neighbour(s *space, o Neighbour) error {
	index, err := s.index(o.Link)
	if err != nil {
		return err
	}
	a.later(o, neighbourRequest(unix.RTM_NEWNEIGH, exclusive, index, o.IP, o.MAC), func(err error) error {
		if errors.Is(err, unix.EEXIST) {
			data, readErr := s.fast.one(neighbourRequest(unix.RTM_GETNEIGH, 0, index, o.IP, nil))
			if readErr == nil && permanent(data, o.MAC) {
				return nil
			}
			_, err = s.fast.one(neighbourRequest(unix.RTM_NEWNEIGH, replace, index, o.IP, o.MAC))
		}
		if err == nil {
			a.made = append(a.made, o)
		}
		return err
	})
	return nil
}

func (a *attempt) sysctlValue(s *space, o Sysctl) error {
	before, err := a.readSysctl(s, o.Path)
	if err != nil || before == o.Value {
		return err
	}
	a.opts.Step("link.apply sysctl")
	if err := a.writeSysctl(s, o.Path, o.Value); err != nil {
		return err
	}
	o.Reset = before
	a.made = append(a.made, o)
	return nil
}
