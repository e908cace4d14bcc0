package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"fairway/admin"
	"fairway/cluster"

	"github.com/spf13/cobra"
)

func newNetworkCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "network",
		Short: "Make and remove networks on all hosts of the cluster",
		Long: `Make and remove overlay networks on all hosts of the cluster that this one is in.
"fairway networks" lists what runs on this host.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newNetworkCreateCommand(), newNetworkListCommand(), newNetworkRemoveCommand())
	return cmd
}

// A wanted is the command line of fairway network create.
type wanted struct {
	view
	network           admin.WantedNetwork
	subnets, gateways []string
	hosts             string
	options, labels   []string
	wait              time.Duration
}

func newNetworkCreateCommand() *cobra.Command {
	var w wanted
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a network on all hosts of the cluster, or change it",
		Long: `Make an overlay network on all hosts of the cluster, or on those that --hosts
names: each host has its own Docker Engine make it, in the background. A host that
is away does so when it is back; with --hosts all one that joins later does, too.

With the name of a network that was made so, it is changed: hosts remove it and make
it anew. Where containers are attached, the host waits until they are gone, and says
so. Networks that were made with docker are never touched.

Containers find those of other hosts by name when they are told a server: docker run
--dns with the network's gateway, or "dns": ["SERVER"] in /etc/docker/daemon.json
with one that isn't on the host.

The state on each host is printed. Exit code 5: some hosts don't have it yet.`,
		Example: `  sudo fairway network create backbone --subnet 10.40.0.0/16
  sudo fairway network create backbone --segment backbone --subnet 10.40.0.0/16 --subnet fd00:40::/64
  sudo fairway network create lab --segment lab --subnet 10.41.0.0/24 --hosts web1,web2 --internal -o mtu=1400`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			w.network.Name = args[0]
			if err := w.read(); err != nil {
				return err
			}
			c, err := w.client(cmd)
			if err != nil {
				return err
			}
			if err := c.WantNetwork(cmd.Context(), w.network); err != nil {
				return err
			}
			err = w.settled(cmd, c, args[0], "made")
			if g := w.gateway(); g.IsValid() && w.network.Options["dns"] != "off" {
				fmt.Fprintf(cmd.ErrOrStderr(), "for names of other hosts' containers: docker run --dns %s (or \"dns\" in /etc/docker/daemon.json: fairway doctor explain FW090)\n", g)
			}
			return err
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&w.network.Segment, "segment", "", "`name` of the segment; without it NAME")
	f.StringArrayVar(&w.subnets, "subnet", nil, "`CIDR` of the segment; may be left out if hosts have the segment (once for IPv4, once for IPv6)")
	f.StringArrayVar(&w.gateways, "gateway", nil, "`IP` of a subnet's gateway; without it the first address")
	f.StringVar(&w.hosts, "hosts", "all", "`names` of the hosts that are to have it, separated by commas; all: also those that join later")
	f.BoolVar(&w.network.Internal, "internal", false, "no way out of the network, and none in")
	f.BoolVar(&w.network.IPv6, "ipv6", false, "IPv6, too; a subnet of IPv6 says so by itself")
	f.StringArrayVarP(&w.options, "opt", "o", nil, "`name=value`: an option of the network, as docker network create -o (repeatable)")
	f.StringArrayVar(&w.labels, "label", nil, "`name=value`: a label of the network in Docker (repeatable)")
	w.waitFlag(cmd, &w.wait)
	w.socketFlag(cmd)
	return cmd
}

// gateway returns the network's, as far as the command line says; Docker takes the
// first address by itself.
func (w *wanted) gateway() netip.Addr {
	switch {
	case len(w.network.Gateways) > 0:
		return w.network.Gateways[0]
	case len(w.network.Subnets) > 0:
		return w.network.Subnets[0].Addr().Next()
	}
	return netip.Addr{}
}

// waitFlag declares how long a command waits for hosts.
func (v *view) waitFlag(cmd *cobra.Command, wait *time.Duration) {
	cmd.Flags().DurationVar(wait, "wait", 20*time.Second, "how `long` to wait for the hosts; 0s: not at all")
}

// read checks what can be without the daemon.
func (w *wanted) read() (err error) {
	n := &w.network
	if err := cluster.CheckName(n.Name); err != nil {
		return usagef("network %s", err)
	}
	if n.Segment == "" {
		n.Segment = n.Name
	}
	for _, s := range w.subnets {
		p, err := netip.ParsePrefix(s)
		if err != nil || p != p.Masked() {
			return usagef("flag --subnet=%q: want an address range such as 10.40.0.0/16", s)
		}
		n.Subnets = append(n.Subnets, p)
	}
	for _, s := range w.gateways {
		ip, err := netip.ParseAddr(s)
		if err != nil {
			return usagef("flag --gateway=%q: want an address of a subnet", s)
		}
		n.Gateways = append(n.Gateways, ip)
	}
	if w.hosts != "all" {
		for h := range strings.SplitSeq(w.hosts, ",") {
			if err := cluster.CheckName(strings.TrimSpace(h)); err != nil {
				return usagef("flag --hosts=%q: want all, or names separated by commas", w.hosts)
			}
			n.Hosts = append(n.Hosts, strings.TrimSpace(h))
		}
	}
	if n.Options, err = pairsOf("opt", w.options); err != nil {
		return err
	}
	n.Labels, err = pairsOf("label", w.labels)
	return err
}

// pairsOf reads name=value of a flag.
func pairsOf(flag string, list []string) (map[string]string, error) {
	var out map[string]string
	for _, s := range list {
		k, v, ok := strings.Cut(s, "=")
		if k == "" || !ok && flag == "opt" {
			return nil, usagef("flag --%s=%q: want name=value", flag, s)
		}
		if old, twice := out[k]; twice && old != v {
			return nil, usagef("flag --%s=%q: is %q already", flag, s, old)
		}
		if out == nil {
			out = map[string]string{}
		}
		out[k] = v
	}
	return out, nil
}

func newNetworkRemoveCommand() *cobra.Command {
	var v view
	var wait time.Duration
	cmd := &cobra.Command{
		Use:     "rm NAME",
		Aliases: []string{"remove"},
		Short:   "Remove a network from all hosts of the cluster",
		Long: `Remove a network that "fairway network create" has made from all hosts of the
cluster. Where containers are attached, the host waits until they are gone, and says
so; a host that is away removes it when it is back. Until all have, the network is
listed, and making it again keeps it.

The state on each host that still has it is printed. Exit code 5: some still have it.`,
		Example: "  sudo fairway network rm backbone",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := cluster.CheckName(args[0]); err != nil {
				return usagef("network %s", err)
			}
			c, err := v.client(cmd)
			if err != nil {
				return err
			}
			if err := c.UnwantNetwork(cmd.Context(), args[0]); err != nil {
				return err
			}
			w := wanted{view: v, wait: wait}
			return w.settled(cmd, c, args[0], "removed")
		},
	}
	cmd.ValidArgsFunction = names(&v, true, clusterNetworkNames)
	v.waitFlag(cmd, &wait)
	v.socketFlag(cmd)
	return cmd
}

// clusterNetworkNames are those of the cluster's networks.
func clusterNetworkNames(ctx context.Context, c *admin.Client) (map[string]string, error) {
	reply, err := c.ClusterNetworks(ctx)
	out := map[string]string{}
	for _, n := range reply.Networks {
		out[n.Name] = n.Segment
	}
	return out, err
}

// A partly is an error that says that just a part was done.
type partly string

func (p partly) Error() string        { return string(p) }
func (p partly) Is(target error) bool { return target == errPartly }

const (
	pollEvery = 200 * time.Millisecond
	// refusalTime is how long a refusal may be one that passes: a host that changes
	// a segment's subnet is refused until the others have given the old one up.
	refusalTime = 5 * time.Second
)

// settled waits until all hosts have done what they can about a network, and
// prints how it is on each.
func (w *wanted) settled(cmd *cobra.Command, c *admin.Client, name, done string) error {
	began := time.Now()
	var refusedSince time.Time
	for {
		reply, err := c.ClusterNetworks(cmd.Context())
		if err != nil {
			return err
		}
		i := slices.IndexFunc(reply.Networks, func(n admin.ClusterNetwork) bool { return n.Name == name })
		if i < 0 {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "network %s: %s\n", printable(name), done)
			return err
		}
		n := reply.Networks[i]
		open, refused := unsettled(n)
		if !refused {
			refusedSince = time.Time{}
		} else if refusedSince.IsZero() {
			refusedSince = time.Now()
		}
		if w.wait <= 0 || time.Since(began) > w.wait || !open && (!refused || time.Since(refusedSince) > refusalTime) {
			return w.tell(cmd, n, done)
		}
		select {
		case <-cmd.Context().Done():
			return cmd.Context().Err()
		case <-time.After(pollEvery):
		}
	}
}

// unsettled reports whether a host has yet to say something, and whether one was
// refused something.
func unsettled(n admin.ClusterNetwork) (open, refused bool) {
	for _, on := range n.On {
		switch on.State {
		case admin.NetworkPending, cluster.NetworkWorking:
			open = true
		case cluster.NetworkMade:
			open = open || n.Removing
		case cluster.NetworkRefused:
			refused = true
		}
	}
	return open || len(n.On) == 0, refused
}

// tell prints how a network is on each host.
func (w *wanted) tell(cmd *cobra.Command, n admin.ClusterNetwork, done string) error {
	l := listing{header: []string{"HOST", "STATE", "REMARK"}, words: []int{2}}
	made := 0
	for _, on := range n.On {
		if on.State == cluster.NetworkMade && !n.Removing {
			made++
		}
		l.rows = append(l.rows, []string{on.Host, on.State, on.Why})
	}
	if err := w.show(cmd.OutOrStdout(), l); err != nil {
		return err
	}
	if left := len(n.On) - made; left > 0 && w.wait > 0 {
		return partly(fmt.Sprintf("network %s: not %s on %d of %d hosts yet; fairway network ls shows how it goes on", n.Name, done, left, len(n.On)))
	}
	return nil
}

func newNetworkListCommand() *cobra.Command {
	var v view
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the networks of the cluster, and how they are on each host",
		Long: `List the networks that "fairway network create" has made, and how they are on each
host that is to have them, or still has them.

STATE is made (REMARK may say what containers need there); working: Docker is at it;
waiting: for what REMARK says, mostly containers that are attached; refused: Docker
said no, REMARK is what, and it is tried again; left: the host has it, but etcd has
lost it; pending: the host is about to do what REMARK says; away: it does when its
daemon is back.`,
		Example: `  sudo fairway network ls
  sudo fairway network ls --json | jq '.networks[].on[] | select(.state != "made")'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var trouble string
			err := v.list(cmd, func(ctx context.Context, c *admin.Client) (listing, error) {
				reply, err := c.ClusterNetworks(ctx)
				trouble = reply.Trouble
				return v.clusterNetworks(reply), err
			})
			if trouble != "" && !v.json && !v.quiet && v.format == "" && err == nil {
				fmt.Fprintln(cmd.OutOrStdout(), printable(trouble))
			}
			return err
		},
	}
	v.flags(cmd, "print names only")
	return cmd
}

func (v *view) clusterNetworks(reply admin.ClusterNetworks) listing {
	l := listing{reply: reply, header: []string{"NETWORK", "SEGMENT", "SUBNETS", "HOST", "STATE", "REMARK"}, words: []int{5}}
	for _, n := range reply.Networks {
		var subnets []string
		for _, s := range n.Subnets {
			subnets = append(subnets, s.String())
		}
		l.items = append(l.items, n)
		l.names = append(l.names, n.Name)
		for _, on := range n.On {
			l.rows = append(l.rows, []string{n.Name, n.Segment, strings.Join(subnets, ","), on.Host, on.State, on.Why})
		}
		if len(n.On) == 0 {
			l.rows = append(l.rows, []string{n.Name, n.Segment, strings.Join(subnets, ","), "", "", ""})
		}
	}
	return l
}
