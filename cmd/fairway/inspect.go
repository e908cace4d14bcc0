package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"fairway/admin"
	"fairway/doctor"
	"fairway/driver"
	"fairway/inspect"
	"fairway/link"
	"fairway/store"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
)

func newInspectCommand() *cobra.Command {
	var v view
	var file string
	cmd := &cobra.Command{
		Use:   "inspect NETWORK|CONTAINER|ADDRESS|LINK",
		Short: "Show everything known of a network, container, address or link",
		Long: `Show everything that is known of a network, a container, an address or a link:
what is recorded, the options that were given beside those that take effect, what
the kernel holds and how that differs, also inside the container, and what Docker
says. It works with the daemon down.

Networks and containers are named by their name, their ID or the beginning of one.
If several things are called so, all are shown.`,
		Example: `  sudo fairway inspect web
  sudo fairway inspect 172.20.0.2
  sudo fairway inspect fwv1c22e9 --json | jq '.endpoints[].record.container'`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			g, err := newGround(cmd, &v, file)
			if err != nil {
				return err
			}
			if g.storeErr != nil {
				return g.storeErr
			}
			report, err := g.inspect(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if v.json {
				return printJSON(cmd.OutOrStdout(), report)
			}
			return printReport(cmd.OutOrStdout(), report)
		},
		ValidArgsFunction: names(&v, true, func(ctx context.Context, c *admin.Client) (map[string]string, error) {
			all, err := networkNames(ctx, c)
			containers, containersErr := containerNames(ctx, c)
			for name, remark := range containers {
				all[name] = strings.TrimPrefix(all[name]+" "+remark, " ")
			}
			return all, cmp.Or(err, containersErr)
		}),
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().BoolVar(&v.json, "json", false, "print JSON, for scripts")
	groundFlags(cmd, &v, &file)
	return cmd
}

// inspect gathers what is known of what a name names.
func (g *ground) inspect(ctx context.Context, name string) (inspect.Report, error) {
	r := inspect.Report{
		Version: admin.Version, Name: name,
		Networks: []inspect.Network{}, Endpoints: []inspect.Endpoint{}, Addresses: []inspect.Address{}, Links: []inspect.Link{},
	}
	known, err := g.known(ctx)
	if err != nil {
		return r, err
	}
	if g.status != nil {
		r.Daemon = g.status.Daemon.Version
	}
	found, err := known.Find(name, func(name string) bool {
		_, err := net.InterfaceByName(name)
		return err == nil
	})
	if err != nil {
		return r, err
	}
	in := inspection{ground: g, known: known}
	if err := in.compare(ctx, found); err != nil {
		return r, err
	}
	for _, n := range found.Networks {
		one, err := in.network(n)
		if err != nil {
			return r, err
		}
		r.Networks = append(r.Networks, one)
	}
	for _, e := range found.Endpoints {
		one, err := in.endpoint(e)
		if err != nil {
			return r, err
		}
		r.Endpoints = append(r.Endpoints, one)
	}
	if found.Address.IsValid() {
		one, err := in.address(found.Address)
		if err != nil {
			return r, err
		}
		r.Addresses = append(r.Addresses, one)
	}
	if found.Link != "" {
		one, err := inspect.LookAtLink(found.Link)
		if err != nil {
			return r, err
		}
		if one != nil {
			one.Of = known.Whose(found.Link)
			r.Links = append(r.Links, *one)
		}
	}
	return r, nil
}

// known asks the daemon for what is known; without one that is what is recorded.
func (g *ground) known(ctx context.Context) (k inspect.Known, err error) {
	k.Links = map[string][]string{}
	for _, n := range g.records.Networks {
		for _, v := range n.VLANs {
			k.Links[v.Link] = append(k.Links[v.Link], fmt.Sprintf("VLAN %d of %s, for network %s", v.ID, v.Parent, title(n)))
		}
		if n.HostLink != "" {
			k.Links[n.HostLink] = append(k.Links[n.HostLink], "the host's own on network "+title(n))
		}
	}
	if g.status == nil || g.status.State == admin.StateRestoring {
		n, e, p, l := admin.All(ctx, recorded{g.records})
		k.Networks, k.Endpoints, k.Ports, k.Leases = n.Networks, e.Endpoints, p.Ports, l.Leases
		return k, nil
	}
	n, err := g.client.Networks(ctx)
	if err != nil {
		return k, err
	}
	e, err := g.client.Endpoints(ctx)
	if err != nil {
		return k, err
	}
	p, err := g.client.Ports(ctx, true)
	if err != nil {
		return k, err
	}
	l, err := g.client.Leases(ctx)
	k.Networks, k.Endpoints, k.Ports, k.Leases = n.Networks, e.Endpoints, p.Ports, l.Leases
	return k, err
}

func title(n store.Network) string { return cmp.Or(n.Name, n.ID[:min(len(n.ID), 12)]) }

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
	found, err := modes(in.instance, nil)[n.Mode].View(n)
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
