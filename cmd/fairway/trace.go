package main

import (
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
	"time"

	"fairway/trace"

	"github.com/spf13/cobra"
)

// A traced way is what fairway trace prints.
type traced struct {
	Version int         `json:"version"`
	From    string      `json:"from"`
	To      string      `json:"to"`
	Packet  string      `json:"packet"`
	Hops    []trace.Hop `json:"hops"`
	// Verdict is "ok", "DROP", "REFUSED", or "?" if it depends on what can't be
	// known; Reason says why, unless it is "ok".
	Verdict string `json:"verdict"`
	Reason  string `json:"reason,omitempty"`
}

func newTraceCommand() *cobra.Command {
	var v view
	var file, in string
	var v6 bool
	var live time.Duration
	cmd := &cobra.Command{
		Use:   "trace FROM TO[:PORT][/PROTO]",
		Short: "Show a packet's way, and what stops it",
		Long: `Show the way that the first packet of a connection takes through this host, hop by
hop, and the rule or route that stops it. No packet is sent: the way is worked
out from the records, routes, rules and sets, those of others included. It works
with the daemon down.

FROM and TO are a container (its name, its ID or the beginning of one), an
address, host, or outside: any machine beyond the uplink. Without a port, the
packet is an echo request. Exit code 1: it doesn't arrive.

With --live the way of real packets is shown that go from FROM to TO meanwhile, as
the kernel tells it: which rules of nftables (and iptables-nft) they met. Frames
within a bridge, and what stays in a container, aren't seen. Exit code 1: none was
seen, or one was dropped.`,
		Example: `  sudo fairway trace web db:5432
  sudo fairway trace outside 192.0.2.10:8080
  sudo fairway trace web outside:443 -6
  sudo fairway trace 203.0.113.7 web:80 --in eth1
  sudo fairway trace outside 192.0.2.10:8080 --live 10s`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			g, err := newGround(cmd, &v, file)
			if err != nil {
				return err
			}
			if g.storeErr != nil {
				return g.storeErr
			}
			w, err := trace.Look(cmd.Context(), g.records)
			if err != nil {
				return err
			}
			way, err := traceBetween(w, args[0], args[1], v6, in)
			if err != nil {
				return err
			}
			if live > 0 {
				return watchWay(cmd, w, way, args, live, v.json)
			}
			out := traced{1, args[0], args[1], way.Packet.String(), way.Hops, way.Verdict, way.Reason}
			if v.json {
				err = printJSON(cmd.OutOrStdout(), out)
			} else {
				err = printWay(cmd.OutOrStdout(), out)
			}
			if err == nil && (way.Verdict == trace.Dropped || way.Verdict == trace.Refused) {
				err = errFound
			}
			return err
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.BoolVarP(&v6, "ipv6", "6", false, "by IPv6, where FROM and TO don't say")
	f.StringVar(&in, "in", "", "the `link` that it comes in by, from outside")
	f.DurationVar(&live, "live", 0, "for so `long` show real packets")
	f.BoolVar(&v.json, "json", false, "print JSON, for scripts")
	groundFlags(cmd, &v, &file)
	return cmd
}

// traceBetween finds both ends and works out the way.
func traceBetween(w *trace.World, from, to string, v6 bool, in string) (trace.Way, error) {
	a, err := w.Find(from, false)
	if err != nil {
		return trace.Way{}, err
	}
	b, err := w.Find(to, true)
	if err != nil {
		return trace.Way{}, err
	}
	if a.Outside && b.Outside || a.Addr.IsValid() && a.Endpoint == nil && b.Outside {
		return trace.Way{}, usagef("%s and %s: want at least one end on this host", from, to)
	}
	return w.Trace(a, b, v6, in)
}

// printWay prints a hop a line, with the rule and the reason below where it ends.
func printWay(w io.Writer, t traced) error {
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i, h := range t.Hops {
		fmt.Fprintf(tab, "%s\t%s\t%s\t%s\n", strconv.Itoa(i+1), printable(h.Where), printable(h.What), h.Verdict)
	}
	if err := tab.Flush(); err != nil {
		return err
	}
	for _, h := range t.Hops {
		if h.Verdict != trace.OK && h.Rule != "" {
			fmt.Fprintf(w, "   rule: %s\n", printable(h.Rule))
		}
	}
	if t.Verdict == trace.OK {
		_, err := fmt.Fprintf(w, "it arrives: %s\n", printable(t.Packet))
		return err
	}
	_, err := fmt.Fprintf(w, "   reason: %s\n", printable(t.Reason))
	return err
}
