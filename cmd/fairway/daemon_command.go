package main

import (
	"context"
	"os"
	"os/signal"

	"fairway/event"
	"fairway/metrics"

	sd "github.com/coreos/go-systemd/v22/journal"
	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

func newDaemonCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "daemon",
		Short: "Serve Docker's network and IPAM driver calls",
		Long: `Serve Docker Engine as its network driver and IPAM driver "fairway".

Every setting is a flag, an environment variable (--state-dir is
FAIRWAY_STATE_DIR) and a key of the file (state-dir: …). The flag wins, then
the variable, then the file. SIGHUP makes it read the file again: see
fairway config.`,
		Example: `  fairway daemon
  fairway daemon --log-level debug --default-address-pool base=10.64.0.0/12,size=24
  FAIRWAY_IP_FORWARD=false fairway daemon`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			from := newSource(cmd.Flags())
			cfg, settings, err := from.read()
			if err != nil {
				return err
			}
			journal := os.Getenv("JOURNAL_STREAM") != ""
			log := newLog(cmd.ErrOrStderr(), cfg, journal)
			if native, err := sd.StderrIsJournalStream(); native && err == nil {
				toJournal(log, cmd.ErrOrStderr())
			}
			if os.Getenv(managedMark) != "" {
				splitLog(log, cmd.OutOrStdout())
			}
			events := event.NewRing(eventsKept)
			log.AddHook(events)
			for _, remark := range strangeVariables(cmd.Flags(), os.Environ()) {
				log.Warn(remark)
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), unix.SIGINT, unix.SIGTERM)
			defer stop()
			build := buildInfo()
			measure := metrics.New(metrics.Options{Version: build.Version, Revision: build.Revision, Go: build.Go, Log: log})
			whole := func(ctx context.Context, c config, log logrus.FieldLogger) (parts, error) {
				return compose(ctx, c, log, measure.Committed)
			}
			d := &daemon{config: cfg, build: build, log: log, compose: whole, metrics: measure, events: events, settings: shownSettings(settings), tuner: &tuner{
				read: from.read, now: settings, log: log,
				apply: []func(config) error{func(c config) error { setLog(log, c, journal); return nil }},
			}}
			return d.Run(ctx)
		},
	}
	var cfg config
	cfg.flags(cmd.Flags())
	configFlag(cmd.Flags())
	return cmd
}
