package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/signal"
	"strings"
	"time"

	"fairway/trace"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// A watched packet is what fairway trace --live --json prints.
type watched struct {
	Version int            `json:"version"`
	Events  []watchedEvent `json:"events"`
	Dropped int            `json:"dropped"` // packets
	Seen    int            `json:"seen"`
}

type watchedEvent struct {
	Packet  uint32 `json:"packet"`
	Where   string `json:"where"`
	Handle  uint64 `json:"handle,omitempty"`
	Rule    string `json:"rule,omitempty"`
	Verdict string `json:"verdict"`
	In      string `json:"in,omitempty"`
	Out     string `json:"out,omitempty"`
}

// watchWay shows real packets from one end to the other for a while. What is
// from outside may have any source.
func watchWay(cmd *cobra.Command, w *trace.World, way trace.Way, args []string, live time.Duration, asJSON bool) error {
	ctx, stop := signal.NotifyContext(cmd.Context(), unix.SIGINT, unix.SIGTERM) // the table must go
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, live)
	defer cancel()
	p := way.Packet
	if args[0] == "outside" {
		p.Src = netip.Addr{}
	}
	out := watched{Version: 1, Events: []watchedEvent{}}
	seen, dropped := map[uint32]bool{}, map[uint32]bool{}
	err := w.Watch(ctx, p, func(e trace.Event) {
		seen[e.Packet] = true
		if strings.HasSuffix(e.Verdict, "drop") {
			dropped[e.Packet] = true
		}
		out.Events = append(out.Events, watchedEvent(e))
		if !asJSON {
			printEvent(cmd, e)
		}
	})
	if err != nil {
		return err
	}
	out.Seen, out.Dropped = len(seen), len(dropped)
	if asJSON {
		if err := printJSON(cmd.OutOrStdout(), out); err != nil {
			return err
		}
	}
	switch {
	case out.Seen == 0:
		return errors.New("no packet was seen: it doesn't come to this host, or stays within a bridge or a container")
	case out.Dropped > 0:
		return fmt.Errorf("%d of %d packets were dropped", out.Dropped, out.Seen)
	}
	return nil
}

func printEvent(cmd *cobra.Command, e trace.Event) {
	links := ""
	if e.In != "" || e.Out != "" {
		links = strings.TrimSpace("  " + e.In + " > " + e.Out)
	}
	rule := ""
	if e.Handle != 0 {
		rule = fmt.Sprintf(" handle %d", e.Handle)
	}
	if e.Rule != "" {
		rule += " \"" + e.Rule + "\""
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%08x %s%s: %s  %s\n", e.Packet, printable(e.Where), printable(rule), printable(e.Verdict), printable(links))
}
