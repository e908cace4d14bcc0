package main

import (
	"context"
	"time"

	"fairway/admin"

	"github.com/spf13/cobra"
)

func newLeasesCommand() *cobra.Command {
	var v view
	cmd := &cobra.Command{
		Use:     "leases",
		Aliases: []string{"lease"},
		Short:   "List the addresses that DHCP servers have given",
		Long: `List the DHCP leases of networks with --ipam-opt source=dhcp.

SERVER is who gave the address and PARENT the link of the host that it is behind.
STATE is bound; verifying, after the daemon's start; renewing, by its server;
rebinding, by any; requesting; or lost: no server stands by it any more, the
container keeps it, and the daemon goes on asking. EXPIRES is when the lease ends
unless it is renewed. WHY, if there is any, is why it isn't bound. --json tells
what else the server says: routers, DNS and NTP servers, domain, MTU, routes.`,
		Example: `  sudo fairway leases
  sudo fairway leases --json | jq '.lost_total, (.leases[] | select(.state != "bound"))'
  sudo fairway leases --format '{{.IP}} {{.Hostname}} {{.DNS}}'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return v.list(cmd, func(ctx context.Context, c *admin.Client) (listing, error) {
				reply, err := c.Leases(ctx)
				return v.leases(reply), err
			})
		},
	}
	v.flags(cmd, "print addresses only")
	return cmd
}

func (v *view) leases(reply admin.Leased) listing {
	l := listing{
		reply:  reply,
		header: []string{"ADDRESS", "CONTAINER", "NETWORK", "MAC", "PARENT", "SERVER", "STATE", "EXPIRES"},
	}
	reasons := false
	for _, lease := range reply.Leases {
		network := lease.NetworkName
		if network == "" {
			network = v.id(lease.Network)
		}
		address, server, expires := "", "", ""
		if lease.IP.IsValid() {
			address = lease.IP.String()
			l.names = append(l.names, address)
		}
		if lease.Server.IsValid() {
			server = lease.Server.String()
		}
		switch {
		case !lease.Expires.IsZero():
			expires = lease.Expires.UTC().Format(time.RFC3339)
		case !lease.Obtained.IsZero():
			expires = "never"
		}
		l.items = append(l.items, lease)
		l.rows = append(l.rows, []string{address, lease.Container, network, lease.MAC, lease.Parent, server, lease.State, expires})
		reasons = reasons || lease.Why != ""
	}
	if reasons {
		l.header = append(l.header, "WHY")
		l.words = append(l.words, len(l.header)-1)
		for i, lease := range reply.Leases {
			l.rows[i] = append(l.rows[i], lease.Why)
		}
	}
	return l
}
