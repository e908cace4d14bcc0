package main

import (
	"context"
	"fmt"

	"fairway/admin"
	"fairway/store"

	"github.com/spf13/cobra"
)

func newPortsAddCommand() *cobra.Command {
	var v view
	var network string
	cmd := &cobra.Command{
		Use:   "add CONTAINER " + admin.AddForm + "...",
		Short: "Publish ports of a running container",
		Long: `Publish ports of a running container, as docker run -p does before it runs.

They are kept when the container, the daemon or the machine starts again, until
they are removed, or the container or its network is. CONTAINER is a name, an ID
or its beginning. HOST-END:PORT takes the first free port of a range,
HOST-END:PORT-END publishes as many. What is published is shown.`,
		Example: `  sudo fairway ports add web 9090:80
  sudo fairway ports add web 127.0.0.1:9090:80 5353:53/udp
  sudo fairway ports add turn 5000-5009:5000-5009/udp`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := changeOf(args, network, admin.ParseAdd)
			if err != nil {
				return err
			}
			return v.list(cmd, func(ctx context.Context, client *admin.Client) (listing, error) {
				reply, err := client.AddPorts(ctx, c)
				return v.ports(reply, false), err
			})
		},
	}
	v.flags(cmd, "print HOST:PORT/PROTO only")
	cmd.ValidArgsFunction = names(&v, true, containerNames)
	networkFlag(cmd, &v, &network)
	return cmd
}

func newPortsRemoveCommand() *cobra.Command {
	var v view
	var network string
	cmd := &cobra.Command{
		Use:     "remove CONTAINER " + admin.RemoveForm + "...",
		Aliases: []string{"rm"},
		Short:   "Take published ports of a container off the host",
		Long: `Take published ports of a container off the host, and cut the connections that
came by them.

Ports of docker run -p can be removed, too: they stay so for this container, but
each time it starts they are published until the daemon has asked Docker which
container it is, mostly for less than a second. "fairway ports add" brings them
back. docker inspect shows them still.`,
		Example: `  sudo fairway ports remove web 9090
  sudo fairway ports remove web 127.0.0.1:9090 5353/udp
  sudo fairway ports remove turn 5000-5009/udp`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := changeOf(args, network, admin.ParseRemove)
			if err != nil {
				return err
			}
			client, err := v.client(cmd)
			if err != nil {
				return err
			}
			return client.RemovePorts(cmd.Context(), c)
		},
	}
	v.socketFlag(cmd)
	cmd.ValidArgsFunction = names(&v, true, containerNames)
	networkFlag(cmd, &v, &network)
	return cmd
}

func networkFlag(cmd *cobra.Command, v *view, network *string) {
	cmd.Flags().StringVar(network, "network", "", "`name` or ID of the container's network, if not that of its gateway")
	_ = cmd.RegisterFlagCompletionFunc("network", names(v, false, networkNames))
}

// changeOf reads the arguments, before the daemon does, so that a mistake in them
// is one of usage.
func changeOf(args []string, network string, parse func(string) ([]store.PortBinding, error)) (admin.PortsChange, error) {
	c := admin.PortsChange{Container: args[0], Network: network, Ports: args[1:]}
	if args[0] == "" {
		return c, usagef("container %q: want a name or an ID", args[0])
	}
	if _, err := c.Parse(parse); err != nil {
		return c, usagef("%s", fmt.Sprint(err))
	}
	return c, nil
}
