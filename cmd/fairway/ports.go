package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"fairway/admin"

	"github.com/spf13/cobra"
)

func newPortsCommand() *cobra.Command {
	var v view
	cmd := &cobra.Command{
		Use:     "ports",
		Aliases: []string{"port"},
		Short:   "List the published ports",
		Long: `List the ports that fairway publishes; docker ps can't show another driver's.

HOST is the address on the host, "*" for all of the target's family, "::" for
all of IPv6 if the target has IPv4; TARGET is what answers. Ports in a row are
shown as a range.
PROXIED is what the daemon carries itself, since the kernel can't translate it:
"all", which is IPv6 to IPv4, or "local", which is ::1 and link-local clients.
The container sees an address of the host's then. TAKEN BY is there when somebody on the
host took a port while the daemon was down: other machines still reach the
container, and fairway takes the port back once it is free.
Ports of a network with publish_by=docker are Docker's: docker ps shows those.`,
		Example: `  sudo fairway ports
  sudo fairway ports -q
  sudo fairway ports --json | jq '.ports[] | select(.host_port == 8080)'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return v.list(cmd, func(ctx context.Context, c *admin.Client) (listing, error) {
				reply, err := c.Ports(ctx)
				return v.ports(reply), err
			})
		},
	}
	v.flags(cmd, "print HOST:PORT/PROTO only")
	return cmd
}

func (v *view) ports(reply admin.Ports) listing {
	l := listing{
		reply:  reply,
		header: []string{"HOST", "PROTO", "PUBLISHED", "CONTAINER", "TARGET"},
	}
	proxied := slices.ContainsFunc(reply.Ports, func(p admin.Port) bool { return p.Proxied != "" })
	if proxied {
		l.header = append(l.header, "PROXIED")
	}
	taken := slices.ContainsFunc(reply.Ports, func(p admin.Port) bool { return p.TakenBy != "" })
	if taken {
		l.header = append(l.header, "TAKEN BY")
	}
	for _, p := range reply.Ports {
		l.items = append(l.items, p)
		l.names = append(l.names, fmt.Sprintf("%s/%s", netip.AddrPortFrom(p.HostIP, p.HostPort), p.Protocol))
	}
	for _, r := range ranges(reply.Ports) {
		container := r.first.Container
		if container == "" {
			container = v.id(r.first.Endpoint)
		}
		row := []string{r.host(), r.first.Protocol, r.published(), container, r.target()}
		if proxied {
			row = append(row, r.first.Proxied)
		}
		if taken {
			row = append(row, r.first.TakenBy)
		}
		l.rows = append(l.rows, row)
	}
	return l
}

// A portRange is ports in a row that lead to ports in a row of one container.
type portRange struct {
	first admin.Port
	n     uint16 // how many more
}

// ranges joins ports that are in a row. They are sorted by their number, so
// that a range may have others between its own.
func ranges(ports []admin.Port) []*portRange {
	var all []*portRange
	open := map[admin.Port]*portRange{} // by the port that would come next
	for _, p := range ports {
		next := p
		next.HostPort++
		next.Port++
		r, ok := open[p]
		if ok {
			delete(open, p)
			r.n++
		} else {
			r = &portRange{first: p}
			all = append(all, r)
		}
		if next.HostPort != 0 && next.Port != 0 {
			open[next] = r
		}
	}
	return all
}

func (r portRange) host() string {
	if r.first.HostIP.IsUnspecified() && r.first.HostIP.Is6() == r.first.IP.Is6() {
		return "*"
	}
	return r.first.HostIP.String()
}

func (r portRange) published() string { return span(r.first.HostPort, r.n) }

func (r portRange) target() string {
	if r.n == 0 {
		return netip.AddrPortFrom(r.first.IP, r.first.Port).String()
	}
	if r.first.IP.Is6() {
		return fmt.Sprintf("[%s]:%s", r.first.IP, span(r.first.Port, r.n))
	}
	return fmt.Sprintf("%s:%s", r.first.IP, span(r.first.Port, r.n))
}

func span(first, more uint16) string {
	if more == 0 {
		return strconv.Itoa(int(first))
	}
	return fmt.Sprintf("%d-%d", first, first+more)
}
