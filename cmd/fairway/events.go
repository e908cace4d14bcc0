package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os/signal"
	"slices"
	"strings"
	"time"

	"fairway/admin"
	"fairway/event"
	"fairway/option"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// eventsKept is how many events the daemon keeps.
const eventsKept = 4096

// An eventLine is what fairway events --json prints a line of.
type eventLine struct {
	Version int `json:"version"`
	event.Event
}

func newEventsCommand() *cobra.Command {
	var v view
	var since string
	var kept bool
	var only []string
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Show what happens to networks, as it happens",
		Long: `Show what happens to networks, as it happens: containers that come and go, ports
that are published, what was repaired, refused or lost. --since shows what happened
before, too: the daemon keeps the last 4096 events since it started, and the journal
has them all (journalctl -u fairway). Ctrl-C ends it; the exit code is 3 if the
daemon does.`,
		Example: `  sudo fairway events
  sudo fairway events --since 1h --kept
  sudo fairway events --only denied,repair --json | jq -r .fields.container`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := knownEvents(only); err != nil {
				return err
			}
			from, err := sinceTime(since, time.Now())
			if err != nil {
				return err
			}
			c, err := v.client(cmd)
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), unix.SIGINT, unix.SIGTERM)
			defer stop()
			return c.Events(ctx, from, !kept, func(e event.Event) error {
				if len(only) > 0 && !slices.Contains(only, e.Kind) && e.Kind != event.Lost {
					return nil
				}
				return printHappened(cmd.OutOrStdout(), e, v.json)
			})
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&since, "since", "", "begin with what happened since a `time`: 10m ago, or 2026-11-21T15:04:05Z")
	f.BoolVar(&kept, "kept", false, "show what the daemon has kept, and end")
	f.StringSliceVar(&only, "only", nil, "just these `kinds`, e.g. attach,detach")
	f.BoolVar(&v.json, "json", false, "print a line of JSON for each, for scripts")
	v.socketFlag(cmd)
	_ = cmd.RegisterFlagCompletionFunc("only", cobra.FixedCompletions(eventNames(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func eventNames() (names []string) {
	for _, k := range event.Kinds() {
		names = append(names, k.Name)
	}
	slices.Sort(names)
	return names
}

// knownEvents refuses names that no event has.
func knownEvents(only []string) error {
	names := eventNames()
	for _, name := range only {
		if !slices.Contains(names, name) {
			return usagef("flag --only=%q: unknown; nearest is %q; want some of %s", name, option.Nearest(name, names), strings.Join(names, ", "))
		}
	}
	return nil
}

// sinceTime reads a time, or how long ago it was; "" is the zero time.
func sinceTime(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, usagef("flag --since=%q: want a duration such as 10m, or a time such as 2026-11-21T15:04:05Z", text)
	}
	return at, nil
}

// printHappened prints an event in a line.
func printHappened(w io.Writer, e event.Event, asJSON bool) error {
	if asJSON {
		line, err := json.Marshal(eventLine{admin.Version, e})
		if err == nil {
			_, err = fmt.Fprintln(w, escapeJSON(string(line)))
		}
		return err
	}
	words := []string{e.Time.UTC().Format("2006-01-02T15:04:05.000Z"), e.Kind + ":", e.Message}
	for _, name := range slices.Sorted(maps.Keys(e.Fields)) {
		value := e.Fields[name]
		if name == "network_id" { // its name is there, too
			continue
		}
		if name == "endpoint" && len(value) > 12 {
			value = value[:12]
		}
		words = append(words, name+"="+cell(value))
	}
	_, err := fmt.Fprintln(w, printable(strings.Join(words, " ")))
	return err
}
