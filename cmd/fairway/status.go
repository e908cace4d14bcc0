package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"fairway/admin"

	"github.com/spf13/cobra"
)

func newStatusCommand() *cobra.Command {
	var v view
	var check string
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show how the daemon is",
		Long: `Show how the daemon is: what it runs, whether the kernel is as recorded, and
what it had to repair since others changed it. Exit code 1: it is failing.

With --check just what is wrong is printed: the exit code is 0 if the daemon
answers (live), or has restored its networks, too (ready).`,
		Example: `  sudo fairway status
  sudo fairway status --check ready --wait 60s && docker compose up -d
  sudo fairway status --json | jq .repaired_rules.count`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := v.client(cmd)
			if err != nil {
				return err
			}
			s, err := awaited(cmd.Context(), c, check, wait)
			if err != nil {
				return err
			}
			switch {
			case check != "":
			case v.json:
				err = printJSON(cmd.OutOrStdout(), s)
			default:
				err = printStatus(cmd.OutOrStdout(), s, time.Now())
			}
			if err == nil && s.State == admin.StateFailing && check != "live" {
				err = errors.New("the kernel can't be made as recorded: " + s.Trouble)
			}
			return err
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.BoolVar(&v.json, "json", false, "print JSON, for scripts")
	f.Var(&choice{p: &check, allowed: []string{"live", "ready"}}, "check", "tell just by the exit code: live or ready")
	f.DurationVar(&wait, "wait", 0, "try again for this `long` until the daemon is ready, or live with --check live")
	v.socketFlag(cmd)
	return cmd
}

// again is how long a command waits between two tries.
const again = 200 * time.Millisecond

// awaited returns the daemon's status as soon as that is what check wants, or an
// error after wait.
func awaited(ctx context.Context, c *admin.Client, check string, wait time.Duration) (admin.Status, error) {
	for deadline := time.Now().Add(wait); ; {
		s, err := c.Status(ctx)
		ready := err == nil && (s.State != admin.StateRestoring || check == "live")
		if ready || time.Until(deadline) < again {
			if !ready && err == nil && (check != "" || wait > 0) {
				err = fmt.Errorf("%w: it is still restoring its networks", admin.ErrRestoring)
			}
			return s, err
		}
		select {
		case <-ctx.Done():
			return s, ctx.Err()
		case <-time.After(again):
		}
	}
}

// printStatus prints one screen.
func printStatus(w io.Writer, s admin.Status, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintf(t, "fairway %s, pid %d, up %s: %s\n", printable(s.Daemon.Version), s.PID, ago(now, s.Started), s.State)
	if s.State == admin.StateRestoring {
		return t.Flush()
	}
	fmt.Fprintf(t, "networks\t%d, %d endpoints, %d published ports\n", s.Networks, s.Endpoints, s.Ports)
	if len(s.Leases) > 0 || s.LeasesLost > 0 {
		all := 0
		for _, n := range s.Leases {
			all += n
		}
		fmt.Fprintf(t, "DHCP leases\t%d, %d bound, %d lost now, %d times since the start\n", all, s.Leases["bound"], s.Leases["lost"], s.LeasesLost)
	}
	if c := s.Cluster; c != nil {
		fmt.Fprintf(t, "cluster\t%s: %d hosts, %d alive; this one is %s\n", c.Name, c.Hosts, c.Alive, c.Self)
		if c.Trouble != "" {
			fmt.Fprintf(t, "\ttakes no part: %s\n", printable(c.Trouble))
		}
		if c.Alarms > 0 {
			fmt.Fprintf(t, "\t%d alarms: fairway cluster hosts\n", c.Alarms)
		}
	}
	fmt.Fprintf(t, "firewall\t%s\n", s.Firewall)
	switch {
	case s.Trouble != "":
		fmt.Fprintf(t, "kernel\tnot as recorded: %s\n", printable(s.Trouble))
	case !s.Checked.IsZero():
		fmt.Fprintf(t, "kernel\tas recorded, %s ago\n", ago(now, s.Checked))
	}
	for _, r := range []struct {
		of string
		admin.Repaired
	}{{"links", s.RepairedLinks}, {"rules", s.RepairedRules}} {
		if r.Count == 0 {
			fmt.Fprintf(t, "%s\tnothing repaired\n", r.of)
			continue
		}
		fmt.Fprintf(t, "%s\t%d repaired, the last %s ago: %s\n", r.of, r.Count, ago(now, r.Last), printable(r.What))
	}
	return t.Flush()
}

// ago says how long before now something was, in its two largest units.
func ago(now, then time.Time) string {
	d := now.Sub(then)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(max(d, 0).Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 24*time.Hour:
		return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%d days %d h", int(d.Hours())/24, int(d.Hours())%24)
}
