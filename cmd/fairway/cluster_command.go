package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"fairway/admin"

	"github.com/spf13/cobra"
)

func newClusterCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cluster",
		Short: "Show and change the hosts that overlay networks span",
		Long: `Show and change the hosts of the cluster that this one is in: those whose
daemons have the same --cluster and --cluster-name.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newClusterHostsCommand(), newClusterForgetCommand())
	return cmd
}

func newClusterHostsCommand() *cobra.Command {
	var v view
	cmd := &cobra.Command{
		Use:   "hosts",
		Short: "List the hosts of the cluster",
		Long: `List the hosts of the cluster. This one has a * at its name.

ADDRESS is where the others send its segments' packets. STATE is alive, or
silent: nothing was heard of its daemon in the last seconds; it may be stopped,
gone, or cut off from etcd, and what its containers send goes on being delivered.
Why this host itself takes no part in the cluster, if so, stands below the list.`,
		Example: `  sudo fairway cluster hosts
  sudo fairway cluster hosts --json | jq '.hosts[] | select(.alive | not).name'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var trouble []string
			err := v.list(cmd, func(ctx context.Context, c *admin.Client) (listing, error) {
				reply, err := c.ClusterHosts(ctx)
				if reply.Trouble != "" {
					trouble = append(trouble, reply.Trouble)
				}
				trouble = append(trouble, reply.Alarms...)
				return v.hosts(reply), err
			})
			for _, t := range trouble {
				if !v.json && !v.quiet && v.format == "" && err == nil {
					fmt.Fprintln(cmd.OutOrStdout(), printable(t))
				}
			}
			return err
		},
	}
	v.flags(cmd, "print names only")
	return cmd
}

func (v *view) hosts(reply admin.ClusterHosts) listing {
	l := listing{reply: reply, header: []string{"HOST", "ADDRESS", "STATE", "FAIRWAY", "SEGMENTS", "ENDPOINTS"}}
	for _, h := range reply.Hosts {
		name, state := h.Name, "silent"
		if h.Name == reply.Self {
			name += "*"
		}
		if h.Alive {
			state = "alive"
		}
		l.items = append(l.items, h)
		l.names = append(l.names, h.Name)
		l.rows = append(l.rows, []string{name, h.Address.String(), state, h.Version, strings.Join(h.Segments, ","), strconv.Itoa(h.Endpoints)})
	}
	return l
}

func newClusterForgetCommand() *cobra.Command {
	var v view
	cmd := &cobra.Command{
		Use:   "forget HOST",
		Short: "Take a host that is gone for good out of the cluster",
		Long: `Take a host that is gone for good out of the cluster: its endpoints, and the
addresses that it had. These go to other hosts' containers: the host's own must
not run any more. A host that is alive is refused: stop its daemon first.`,
		Example: "  sudo fairway cluster forget web3",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := v.client(cmd)
			if err != nil {
				return err
			}
			if err := c.ForgetHost(cmd.Context(), args[0]); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s forgotten\n", printable(args[0]))
			return err
		},
	}
	v.socketFlag(cmd)
	return cmd
}
