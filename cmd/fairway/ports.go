package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"fairway/admin"

	"github.com/spf13/cobra"
)

func newPortsCommand() *cobra.Command {
	var v view
	var stats bool
	cmd := &cobra.Command{
		Use:     "ports",
		Aliases: []string{"port"},
		Short:   "List the published ports, publish and unpublish them",
		Long: `List the ports that fairway publishes; docker ps can't show another driver's.

HOST is the address on the host, "*" for all of the target's family, "::" for
all of IPv6 if the target has IPv4; TARGET is what answers. Ports in a row are
shown as a range.
REACHABLE FROM is by what the kernel holds now, not by what was asked for: all,
what the option publish says, host firewall (publish=host-firewall: whoever the
host's own INPUT rules let in), this host (published on a loopback address, or
IP forwarding is off), routing (by a route to the container's address) or
nobody, with the reason. Rules of other programs aren't looked at.
PROXIED is what the daemon carries itself, since the kernel can't translate it:
"all", which is IPv6 to IPv4, or "local", which is ::1 and link-local clients.
The container sees an address of the host's then. "all" are also the ports that
the host firewall decides about; there it sees clients on other machines.
TAKEN BY is there when somebody on the host took a port while the daemon was
down: other machines still reach the container, and fairway takes the port back
once it is free.
--stats shows the connections that are open now and what they carried; "-" where
the daemon carries all, and where the host doesn't count (sysctl net.netfilter.nf_conntrack_acct=1).
Ports of a network with publish_by=docker are Docker's: docker ps shows those.`,
		Example: `  sudo fairway ports
  sudo fairway ports --stats
  sudo fairway ports add web 9090:80
  sudo fairway ports --json | jq '.ports[] | select(.host_port == 8080)'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return v.list(cmd, func(ctx context.Context, c *admin.Client) (listing, error) {
				reply, err := c.Ports(ctx, stats)
				return v.ports(reply, stats), err
			})
		},
	}
	v.flags(cmd, "print HOST:PORT/PROTO only")
	cmd.Flags().BoolVar(&stats, "stats", false, "show what goes by each port")
	cmd.AddCommand(newPortsAddCommand(), newPortsRemoveCommand())
	return cmd
}

func (v *view) ports(reply admin.Ports, stats bool) listing {
	l := listing{
		reply:  reply,
		header: []string{"HOST", "PROTO", "PUBLISHED", "CONTAINER", "TARGET", "REACHABLE FROM"},
		words:  []int{5},
	}
	if stats {
		l.header = append(l.header, "CONNS", "PACKETS", "BYTES")
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
		row := []string{r.host(), r.first.Protocol, r.published(), container, r.target(), reachable(r.first)}
		if stats {
			row = append(row, count(r.conns), count(r.packets), size(r.bytes))
		}
		if proxied {
			row = append(row, r.first.Proxied)
		}
		if taken {
			row = append(row, r.first.TakenBy)
		}
		l.rows = append(l.rows, row)
	}
	for _, w := range reply.Waiting {
		row := []string{hostColumn(w.HostIP), w.Protocol, strconv.Itoa(int(w.HostPort)), w.Container, "-:" + strconv.Itoa(int(w.Port)), "nobody: " + w.Why}
		l.rows = append(l.rows, append(row, make([]string, len(l.header)-len(row))...))
	}
	return l
}

func reachable(p admin.Port) string {
	if p.Why != "" {
		return p.ReachableFrom + ": " + p.Why
	}
	if strings.ContainsAny(p.ReachableFrom, "/:") {
		return p.ReachableFrom + " (publish)"
	}
	return p.ReachableFrom
}

// A portRange is ports in a row that lead to ports in a row of one container.
type portRange struct {
	first admin.Port
	n     uint16 // how many more

	conns, packets, bytes *uint64 // of all; nil: not known
}

// ranges joins ports that are in a row. They are sorted by their number, so
// that a range may have others between its own.
func ranges(ports []admin.Port) []*portRange {
	var all []*portRange
	open := map[admin.Port]*portRange{} // by the port that would come next
	for _, p := range ports {
		conns, packets, bytes := p.Connections, p.Packets, p.Bytes
		p.Connections, p.Packets, p.Bytes = nil, nil, nil
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
		r.conns, r.packets, r.bytes = sum(r.conns, conns), sum(r.packets, packets), sum(r.bytes, bytes)
		if next.HostPort != 0 && next.Port != 0 {
			open[next] = r
		}
	}
	return all
}

// sum adds what is known.
func sum(a, b *uint64) *uint64 {
	if a == nil {
		return b
	}
	if b == nil {
		return a
	}
	n := *a + *b
	return &n
}

func count(n *uint64) string {
	if n == nil {
		return ""
	}
	return strconv.FormatUint(*n, 10)
}

// size writes bytes as ls -h does: 22M is 22 times 1024 times 1024.
func size(n *uint64) string {
	if n == nil || *n < 1024 {
		return count(n)
	}
	f, unit := float64(*n), 0
	for ; f >= 1024 && unit < 6; unit++ {
		f /= 1024
	}
	if f < 10 {
		return fmt.Sprintf("%.1f%c", f, " KMGTPE"[unit])
	}
	return fmt.Sprintf("%.0f%c", f, " KMGTPE"[unit])
}

func (r portRange) host() string {
	if r.first.HostIP.IsUnspecified() && r.first.HostIP.Is6() != r.first.IP.Is6() {
		return r.first.HostIP.String() // proxied
	}
	return hostColumn(r.first.HostIP)
}

func hostColumn(ip netip.Addr) string {
	if !ip.IsValid() || ip.IsUnspecified() {
		return "*"
	}
	return ip.String()
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
