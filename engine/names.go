package engine

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
)

// named is what an endpoint was found to be called while its container had a name.
type named struct {
	container string
	names     []string
}

// namesMax bounds how many names of one endpoint count.
const namesMax = 32

// nameEndpoints adds the names to endpoints of a network. An endpoint's aliases
// never change: it is asked for once, and when its container is renamed.
func (c *client) nameEndpoints(ctx context.Context, network string, endpoints map[string]Endpoint) error {
	if c.names == nil {
		c.names = map[string]named{}
	}
	for id, e := range endpoints {
		if e.ContainerID == "" {
			continue
		}
		if known, ok := c.names[id]; !ok || known.container != e.Name {
			aliases, err := c.aliases(ctx, network, e.ContainerID)
			if status := (*statusError)(nil); errors.As(err, &status) && status.code == http.StatusNotFound {
				continue // removed meanwhile
			}
			if err != nil {
				return err
			}
			aliases = slices.DeleteFunc(aliases, func(a string) bool { return a == e.Name })
			all := append([]string{e.Name}, aliases...)
			c.names[id] = named{e.Name, all[:min(len(all), namesMax)]}
		}
		e.Names = c.names[id].names
		endpoints[id] = e
	}
	return nil
}

// aliases returns what a container is called on a network besides its name, in
// order.
func (c *client) aliases(ctx context.Context, network, container string) ([]string, error) {
	var answer struct {
		NetworkSettings struct {
			Networks map[string]struct {
				NetworkID string
				Aliases   []string
				DNSNames  []string // from version 1.44 of the API: all of them
			}
		}
	}
	if err := c.get(ctx, "/containers/"+url.PathEscape(container)+"/json", nil, &answer); err != nil {
		return nil, err
	}
	var out []string
	for _, n := range answer.NetworkSettings.Networks {
		if n.NetworkID == network {
			for _, name := range slices.Concat(n.Aliases, n.DNSNames) {
				out = append(out, clean(name))
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// forget forgets the names of endpoints that a view doesn't have.
func (c *client) forget(v View) {
	for id := range c.names {
		there := false
		for _, n := range v.Networks {
			if _, ok := n.Endpoints[id]; ok {
				there = true
			}
		}
		if !there {
			delete(c.names, id)
		}
	}
}
