package driver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"fairway/store"
)

// running finds the endpoint of a running container: on the network that is
// named, or else where it has its gateway.
func (d *Driver) running(ctx context.Context, container, network string) (store.Endpoint, error) {
	e, err := d.pick(container, network)
	if !errors.Is(err, errUnknown) {
		return e, err
	}
	// A container that was just started may not have its name yet.
	look, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	_ = d.opts.Look(look) // then it stays unknown
	return d.pick(container, network)
}

// lookTime is how long the engine is waited for that may know the container: it
// answers within a tenth of a second, unless it has much to do.
const lookTime = 15 * time.Second

var errUnknown = errors.New("is not running on a network of fairway's") //nolint:gochecknoglobals // an error value

// pick is running, by what is known now.
func (d *Driver) pick(container, network string) (store.Endpoint, error) {
	all := slices.DeleteFunc(d.Endpoints(), func(e store.Endpoint) bool { return e.Sandbox == "" || e.ContainerID == "" })
	named := slices.DeleteFunc(slices.Clone(all), func(e store.Endpoint) bool { return e.Container != container && e.ContainerID != container })
	if len(named) == 0 && container != "" {
		named = slices.DeleteFunc(all, func(e store.Endpoint) bool { return !strings.HasPrefix(e.ContainerID, container) })
	}
	if len(named) == 0 {
		return store.Endpoint{}, fmt.Errorf("container %q: %w", container, errUnknown)
	}
	// A stale endpoint of an earlier start may be there still.
	newest := map[liveKey]store.Endpoint{}
	for _, e := range named {
		if k := (liveKey{e.Network, e.ContainerID}); e.Created.After(newest[k].Created) {
			newest[k] = e
		}
	}
	named = slices.DeleteFunc(named, func(e store.Endpoint) bool { return newest[liveKey{e.Network, e.ContainerID}].ID != e.ID })
	for _, e := range named {
		if e.ContainerID != named[0].ContainerID {
			return store.Endpoint{}, fmt.Errorf("container %q: is ambiguous: %.12s and %.12s", container, named[0].ContainerID, e.ContainerID)
		}
	}
	return d.pickNetwork(named, network)
}

// pickNetwork returns the endpoint of one container that is meant.
func (d *Driver) pickNetwork(eps []store.Endpoint, network string) (store.Endpoint, error) {
	var names []string
	var on []store.Endpoint
	for _, e := range eps {
		n, ok := d.network(e.Network)
		if !ok {
			continue
		}
		names = append(names, fmt.Sprintf("%q", n.title()))
		if network == n.Name || network == n.ID {
			return e, nil
		}
		if network == "" || strings.HasPrefix(n.ID, network) {
			on = append(on, e)
		}
	}
	slices.Sort(names)
	switch {
	case len(on) == 0:
		return store.Endpoint{}, fmt.Errorf("container %q: is not on network %q; it is on %s", eps[0].Container, network, strings.Join(names, ", "))
	case len(on) == 1:
		return on[0], nil
	case network == "":
		if i := slices.IndexFunc(on, func(e store.Endpoint) bool { return len(e.Requested) > 0 }); i >= 0 {
			return on[i], nil
		}
		if i := slices.IndexFunc(on, func(e store.Endpoint) bool { return len(e.Published) > 0 }); i >= 0 {
			return on[i], nil
		}
	}
	return store.Endpoint{}, fmt.Errorf("container %q: is on several networks: want --network, one of %s", eps[0].Container, strings.Join(names, ", "))
}

// stopped finds the live ports of a container that doesn't run.
func (d *Driver) stopped(container, network string) (found store.LivePorts, ok bool) {
	for _, l := range d.liveOn("") {
		n, _ := d.network(l.Network)
		if l.Container != container && (container == "" || !strings.HasPrefix(l.ContainerID, container)) ||
			network != "" && network != n.Name && !strings.HasPrefix(n.ID, network) {
			continue
		}
		if ok {
			return found, false
		}
		found, ok = l, true
	}
	return found, ok
}
