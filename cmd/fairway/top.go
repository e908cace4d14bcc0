package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"slices"
	"time"

	"fairway/admin"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// A topCommand is one run of fairway top.
type topCommand struct {
	view
	once     bool
	every    time.Duration
	order    string
	network  string
	dropping bool
}

func newTopCommand() *cobra.Command {
	var t topCommand
	var words []string
	for _, o := range orders() {
		words = append(words, string(o))
	}
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Show what containers send and receive, live",
		Long: `Show what each container sends and receives on each network, as it does: bits and
packets a second, packets that were dropped and why, and open connections. It
needs nothing in the image. DROPS/S counts what the link dropped (link: a full
queue), and what wasn't the container's own to send (antispoof).

Keys: s sorts by the next column, n shows one network after the other, d those that
lose packets only, q ends it. Where the output is no terminal, or with --once, one
list is printed of what happened within --interval.`,
		Example: `  sudo fairway top
  sudo fairway top --once --sort drops
  sudo fairway top --json --interval 10s | jq '.endpoints[] | select(.dropped.antispoof > 0)'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return t.run(cmd) },
	}
	f := cmd.Flags()
	t.flags(cmd, "print IDs of endpoints only")
	f.BoolVar(&t.once, "once", false, "print one list and end")
	f.DurationVar(&t.every, "interval", 0, "`time` between two looks (default 1s, 400ms for one list)")
	f.Var(&choice{p: &t.order, allowed: words}, "sort", "what comes first: "+oneOf(words))
	f.StringVar(&t.network, "network", "", "show this `network` only, by its name")
	f.BoolVar(&t.dropping, "drops", false, "show those that lose packets only")
	t.order = string(byTraffic)
	f.Lookup("sort").DefValue = t.order
	_ = cmd.RegisterFlagCompletionFunc("network", names(&t.view, false, networkNames))
	return cmd
}

func (t *topCommand) run(cmd *cobra.Command) error {
	if t.every != 0 && (t.every < shortestInterval || t.every > longestInterval) {
		return usagef("flag --interval: want a time from %s to %s", shortestInterval, longestInterval)
	}
	c, err := t.client(cmd)
	if err != nil {
		return err
	}
	screen, live := cmd.OutOrStdout().(*os.File)
	if t.once || t.json || t.quiet || t.format != "" || !live || !isTerminal(screen) || !isTerminal(os.Stdin) {
		return t.list(cmd, func(ctx context.Context, c *admin.Client) (listing, error) {
			if t.every == 0 {
				t.every = 400 * time.Millisecond
			}
			before, err := c.Traffic(ctx)
			if err != nil {
				return listing{}, err
			}
			rates, _, err := t.next(ctx, c, before)
			return t.listRates(rates), err
		})
	}
	if t.every == 0 {
		t.every = time.Second
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	return t.follow(ctx, c, screen)
}

// next waits for the interval and looks again.
func (t *topCommand) next(ctx context.Context, c *admin.Client, before admin.Traffic) (topped, admin.Traffic, error) {
	select {
	case <-ctx.Done():
		return topped{}, before, ctx.Err()
	case <-time.After(t.every):
	}
	after, err := c.Traffic(ctx)
	if err != nil {
		return topped{}, before, err
	}
	return t.chosen(ratesOf(before, after)), after, nil
}

// chosen leaves out what isn't to be shown, and sorts the rest.
func (t *topCommand) chosen(r topped) topped {
	r.Endpoints = slices.DeleteFunc(slices.Clone(r.Endpoints), func(r rate) bool {
		drops, _ := r.drops()
		return t.network != "" && r.Network != t.network || t.dropping && drops == 0
	})
	order(t.order).sort(r.Endpoints)
	return r
}

// press does what a key says, and reports whether it ends the show. Networks are
// those that there are, sorted.
func (t *topCommand) press(key byte, networks []string) (end bool) {
	switch key {
	case 's':
		all := orders()
		t.order = string(all[(slices.Index(all, order(t.order))+1)%len(all)])
	case 'n':
		all := append([]string{""}, networks...) // all, then one after the other
		t.network = all[(slices.Index(all, t.network)+1)%len(all)]
	case 'd':
		t.dropping = !t.dropping
	case 'q', 4: // Ctrl-D; Ctrl-C is a signal
		return true
	}
	return false
}

// networksOf returns the names of the networks of rates, sorted.
func networksOf(r topped) (names []string) {
	for _, e := range r.Endpoints {
		names = append(names, e.Network)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// keys sends what is typed until the terminal ends.
func keys(from io.Reader) <-chan byte {
	out := make(chan byte)
	go func() {
		defer close(out)
		b := make([]byte, 1)
		for {
			if n, err := from.Read(b); n == 0 || err != nil {
				return
			}
			out <- b[0]
		}
	}()
	return out
}
