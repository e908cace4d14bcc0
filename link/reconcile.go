package link

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// Reconcile makes everything of ours in the kernel equal to want, and removes
// what of ours is not in it. It reads each table once and writes nothing when
// nothing has drifted. What it found is in the repairs, which are all true even
// when others failed. Nothing may be applied or removed at the same time.
func (c *Conn) Reconcile(ctx context.Context, want Set) ([]Repair, error) {
	by, order := ofNamespaces(want)
	var repairs []Repair
	var errs []error
	for _, ns := range order {
		done, err := c.reconcile(ctx, ns, by[ns])
		repairs = append(repairs, done...)
		if err != nil {
			errs = append(errs, err)
		}
	}
	return repairs, errors.Join(errs...)
}

// maxRounds is how often Reconcile looks again after it has repaired a bridge:
// with the MAC address or the state of a link, the kernel drops what it knew of
// the neighbours there.
const maxRounds = 3

func (c *Conn) reconcile(ctx context.Context, namespace string, want Set) (repairs []Repair, err error) {
	var errs []error
	for again, round := true, 0; again && round < maxRounds; round++ {
		again = false
		have, err := c.read(namespace, want)
		if err != nil {
			return repairs, errors.Join(append(errs, fmt.Errorf("link: reconcile: %w", err))...)
		}
		if namespace == "" {
			c.chooseGrave(have.links)
		}
		errs = nil // those of the last round count
		for _, step := range plan(namespace, want, have, c.marks) {
			do := c.Apply
			if step.remove {
				do = c.Remove
			}
			if err := do(ctx, Set{step.object}); err != nil {
				errs = append(errs, err)
				continue
			}
			repairs = append(repairs, Repair{step.object.String(), step.what})
			kind := step.object.Key().Kind
			again = again || kind == "bridge" || kind == "shim" // a shim made anew has no routes
		}
	}
	return repairs, errors.Join(errs...)
}

// read returns what the kernel holds, each table by one dump.
func (c *Conn) read(namespace string, want Set) (have state, err error) {
	s, done, err := c.in(namespace)
	if err != nil {
		return have, err
	}
	defer done()
	have.leaving = c.queue.leaving(namespace)
	if have.links, err = s.links(); err != nil {
		return have, err
	}
	if have.addresses, err = s.addresses(); err != nil {
		return have, err
	}
	if err = have.besideRemotes(s, want); err != nil {
		return have, err
	}
	if err = have.readVLANs(s, want); err != nil {
		return have, err
	}
	have.sysctls, have.alive, have.inside = map[string]string{}, map[string]bool{}, map[string]linkState{}
	there := map[string]bool{}
	for _, l := range have.links {
		there[l.name] = true
	}
	for _, o := range want {
		switch o := o.(type) {
		case Sysctl:
			if err := c.readInto(have.sysctls, s, o); err != nil {
				return have, err
			}
		case Shim:
			for _, setting := range o.sysctls() {
				if err := c.readInto(have.sysctls, s, setting); err != nil {
					return have, err
				}
			}
			if have.routes == nil {
				if have.routes, err = s.hostRoutes(); err != nil {
					return have, err
				}
			}
		case Macvlan:
			if o.Sandbox == "" || there[o.Name] {
				continue
			}
			l, alive, err := c.inSandbox(o)
			if err != nil {
				return have, err
			}
			have.alive[o.Sandbox] = alive
			if l != nil {
				have.inside[o.Name] = *l
			}
		case Veth:
			if o.Sandbox == "" || there[o.Name] {
				continue
			}
			have.alive[o.Sandbox] = c.SandboxAlive(o.Sandbox)
			if !have.alive[o.Sandbox] {
				c.log.WithField("link", o.Name).WithField("sandbox", o.Sandbox).Debug("link: gone with its sandbox")
			}
		}
	}
	return have, nil
}

// readVLANs reads the VLANs of ports if any are wanted.
func (have *state) readVLANs(s *space, want Set) error {
	if !slices.ContainsFunc(want, func(o Object) bool { v, ok := o.(Veth); return ok && !v.VLANs.IsZero() }) {
		return nil
	}
	all, err := s.portVLANs()
	for i := range have.links {
		have.links[i].vlans = all[have.links[i].index]
	}
	return err
}

// readInto reads the value of a sysctl, if there is one.
func (c *Conn) readInto(values map[string]string, s *space, o Sysctl) error {
	v, err := c.readSysctl(s, o.Path)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err == nil {
		values[o.Path] = v
	}
	return err
}
