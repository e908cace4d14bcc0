package main

import (
	"context"
	"strconv"
	"strings"

	"fairway/admin"

	"github.com/spf13/cobra"
)

func newNetworksCommand() *cobra.Command {
	var v view
	cmd := &cobra.Command{
		Use:   "networks",
		Short: "List the networks that fairway runs",
		Long: `List the networks that fairway runs on this host.

NAME is Docker's; "-" until the daemon has asked Docker. LINK is the network's
link on the host (its bridge, or the parent), SUBNETS its pools, ENDPOINTS how many containers are attached.
REMARK, if there is any, says what a network waits for.`,
		Example: `  sudo fairway networks
  sudo fairway networks --json | jq '.networks[].subnets'
  sudo fairway networks --format '{{.Name}} {{.Link}} {{.MTU}}'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return v.list(cmd, func(ctx context.Context, c *admin.Client) (listing, error) {
				reply, err := c.Networks(ctx)
				return v.networks(reply), err
			})
		},
	}
	v.flags(cmd, "print IDs only")
	return cmd
}

func (v *view) networks(reply admin.Networks) listing {
	l := listing{
		reply:  reply,
		header: []string{"NETWORK", "NAME", "MODE", "LINK", "SUBNETS", "ENDPOINTS"},
	}
	remarks := false
	for _, n := range reply.Networks {
		subnets := make([]string, len(n.Subnets))
		for i, s := range n.Subnets {
			subnets[i] = s.Subnet.String()
		}
		l.items = append(l.items, n)
		l.names = append(l.names, v.id(n.ID))
		l.rows = append(l.rows, []string{
			v.id(n.ID), n.Name, n.Mode, n.Link, strings.Join(subnets, ","), strconv.Itoa(n.Endpoints),
		})
		if n.Remark != "" {
			remarks = true
		}
	}
	if remarks {
		l.header = append(l.header, "REMARK")
		l.words = append(l.words, len(l.header)-1)
		for i, n := range reply.Networks {
			l.rows[i] = append(l.rows[i], n.Remark)
		}
	}
	return l
}
