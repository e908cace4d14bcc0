package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"fairway/admin"
	"fairway/doctor"
	"fairway/driver"
	"fairway/inspect"
	"fairway/link"

	"golang.org/x/sync/errgroup"
)

// An inspection is one look at what a name names.
type inspection struct {
	*ground
	known     inspect.Known
	differs   map[string]string // by the object
	engine    *doctor.Engine
	engineErr error
}

// compare asks the kernel how it differs and Docker what it knows, if that is of
// interest.
func (in *inspection) compare(ctx context.Context, found inspect.Found) error {
	if len(found.Networks)+len(found.Endpoints) == 0 {
		return nil
	}
	var both errgroup.Group
	both.Go(func() error {
		if in.engineSocket() == "" {
			in.engineErr = errors.New("--docker-socket is empty")
			return nil
		}
		in.engine, in.engineErr = lookAtEngine(ctx, in.engineSocket())
		return nil
	})
	both.Go(func() error {
		if in.wantErr != nil {
			return in.wantErr
		}
		kernel, err := link.New(link.Options{Instance: in.instance})
		if err != nil {
			return err
		}
		defer kernel.Close()
		in.differs = map[string]string{}
		present := in.present(kernel)
		for _, o := range in.links {
			in.differs[o.String()] = "waits for a link of the host"
		}
		for _, o := range present {
			delete(in.differs, o.String())
		}
		found, err := kernel.Compare(ctx, present)
		for _, r := range found {
			in.differs[r.Object] = strings.TrimPrefix(in.differs[r.Object]+"; "+r.What, "; ")
		}
		return err
	})
	return both.Wait()
}

// A valued view of a mode says which options take effect.
type valued interface {
	driver.View
	Values() map[string]string
	EndpointValues(map[string]string) (map[string]string, error)
}

func (in *inspection) network(n admin.Network) (out inspect.Network, err error) {
	out = inspect.Network{Record: n, Endpoints: []inspect.Member{}, Engine: in.said(n.ID, "")}
	for _, e := range in.known.Endpoints {
		if e.Network == n.ID {
			out.Endpoints = append(out.Endpoints, inspect.Member{ID: e.ID, Container: e.Container, IPv4: e.IPv4, IPv6: e.IPv6})
		}
	}
	if out.Link, err = in.link(n.Link); err != nil {
		return out, err
	}
	view, err := in.view(n.ID)
	if err != nil {
		return out, err
	}
	out.Options = inspect.Options(n.Options, view.Values())
	out.Kernel = in.objects(view.Links())
	return out, nil
}

func (in *inspection) endpoint(e admin.Endpoint) (out inspect.Endpoint, err error) {
	out = inspect.Endpoint{Record: e, Ports: []admin.Port{}, Leases: []admin.Lease{}, Engine: in.said(e.Network, e.ID)}
	for _, p := range in.known.Ports {
		if p.Endpoint == e.ID {
			out.Ports = append(out.Ports, p)
		}
	}
	for _, l := range in.known.Leases {
		if l.MAC == e.MAC && l.IP.IsValid() && (l.IP == e.IPv4.Addr() || l.IP == e.IPv6.Addr()) {
			out.Leases = append(out.Leases, l)
		}
	}
	record := in.records.Endpoints[e.ID]
	if out.Link, err = in.link(record.HostLink); err != nil {
		return out, err
	}
	if e.Sandbox != "" {
		out.Inside = inspect.LookInside(e.Sandbox)
	}
	view, err := in.view(e.Network)
	if err != nil {
		return out, err
	}
	values, err := view.EndpointValues(e.Options)
	out.Options, out.Kernel = inspect.Options(e.Options, values), in.objects(view.Attachment(record))
	return out, err
}

func (in *inspection) address(a netip.Addr) (inspect.Address, error) {
	out := inspect.Address{Address: a, IPAM: []inspect.Recorded{}, Leases: []admin.Lease{}, Neighbours: []inspect.Neighbour{}}
	out.Is, out.Networks = in.known.What(a)
	for _, r := range in.records.Addresses {
		if r.IP == a {
			out.IPAM = append(out.IPAM, inspect.Recorded{Subnet: r.Subnet, Kind: string(r.Kind), MAC: r.MAC, Created: r.Created, Released: r.Released})
		}
	}
	slices.SortFunc(out.IPAM, func(a, b inspect.Recorded) int { return a.Subnet.Compare(b.Subnet) })
	for _, l := range in.known.Leases {
		if l.IP == a {
			out.Leases = append(out.Leases, l)
		}
	}
	return out, inspect.LookAtAddress(&out)
}

func (in *inspection) link(name string) (*inspect.Link, error) {
	if name == "" {
		return nil, nil //nolint:nilnil // none is no error
	}
	return inspect.LookAtLink(name)
}

// view returns a network as its mode sees it.
func (in *inspection) view(network string) (valued, error) {
	n, ok := in.records.Networks[network]
	if !ok {
		return nil, fmt.Errorf("network %s: was removed meanwhile", network)
	}
	found, err := in.modes()[n.Mode].View(n)
	if err != nil {
		return nil, err
	}
	v, ok := found.(valued)
	if !ok {
		return nil, fmt.Errorf("network %s: mode %s doesn't say what takes effect", title(n), n.Mode)
	}
	return v, nil
}

// objects returns what the kernel must hold, and how it differs.
func (in *inspection) objects(want link.Set) []inspect.Object {
	out := []inspect.Object{}
	for _, o := range want {
		out = append(out, inspect.Object{Object: o.String(), Differs: in.differs[o.String()]})
	}
	return out
}

// said is what Docker says of a network or, unless that is "", of an endpoint.
func (in *inspection) said(network, endpoint string) inspect.Engine {
	if in.engine == nil {
		return inspect.Engine{Unasked: fmt.Sprint(in.engineErr)}
	}
	n, ok := in.engine.Networks[network]
	if endpoint == "" || !ok {
		return inspect.Engine{Known: ok, Name: n.Name}
	}
	e, ok := n.Endpoints[endpoint]
	return inspect.Engine{Known: ok, Name: e.Name, Container: e.ContainerID}
}
