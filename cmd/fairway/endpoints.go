package main

import (
	"context"
	"net/netip"
	"strconv"
	"strings"

	"fairway/admin"

	"github.com/spf13/cobra"
)

func newEndpointsCommand() *cobra.Command {
	var v view
	cmd := &cobra.Command{
		Use:     "endpoints",
		Aliases: []string{"endpoint"},
		Short:   "List the containers' attachments to networks",
		Long: `List the endpoints: each is one container's attachment to one network.

CONTAINER is its name; "-" until the daemon has asked Docker. ADDRESS is what
Docker says it has, and with ipv6_mode=slaac what it has made of the LAN's router
advertisements. LINK is the
endpoint's end on the host, e.g. for tcpdump, or the parent in mode macvlan. DENIED counts what it sent from
addresses that aren't its own, or as a router or DHCP server, and was dropped;
"-" with antispoof=false.`,
		Example: `  sudo fairway endpoints
  sudo fairway endpoints --json | jq '.endpoints[] | select(.container == "web")'
  sudo tcpdump -i $(sudo fairway endpoints --format '{{.Container}} {{.Link}}' | awk '$1 == "web" {print $2}')`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return v.list(cmd, func(ctx context.Context, c *admin.Client) (listing, error) {
				reply, err := c.Endpoints(ctx)
				return v.endpoints(reply), err
			})
		},
	}
	v.flags(cmd, "print IDs only")
	return cmd
}

func (v *view) endpoints(reply admin.Endpoints) listing {
	l := listing{
		reply:  reply,
		header: []string{"ENDPOINT", "NETWORK", "MODE", "CONTAINER", "ADDRESS", "MAC", "LINK", "DENIED"},
	}
	for _, e := range reply.Endpoints {
		network := e.NetworkName
		if network == "" {
			network = v.id(e.Network)
		}
		var addresses []string
		for _, p := range append([]netip.Prefix{e.IPv4, e.IPv6}, e.SLAAC...) {
			if p.IsValid() {
				addresses = append(addresses, p.Addr().String())
			}
		}
		denied := ""
		if e.Denied != nil {
			denied = strconv.FormatUint(*e.Denied, 10)
		}
		l.items = append(l.items, e)
		l.names = append(l.names, v.id(e.ID))
		l.rows = append(l.rows, []string{
			v.id(e.ID), network, e.Mode, e.Container, strings.Join(addresses, ","), e.MAC, e.Link, denied,
		})
	}
	return l
}
