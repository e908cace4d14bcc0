package main

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"strings"

	"fairway/admin"
	"fairway/inspect"
	"fairway/store"

	"github.com/spf13/cobra"
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
	p, err := g.client.Ports(ctx, false)
	if err != nil {
		return k, err
	}
	l, err := g.client.Leases(ctx)
	k.Networks, k.Endpoints, k.Ports, k.Leases = n.Networks, e.Endpoints, p.Ports, l.Leases
	return k, err
}

func title(n store.Network) string { return cmp.Or(n.Name, n.ID[:min(len(n.ID), 12)]) }
