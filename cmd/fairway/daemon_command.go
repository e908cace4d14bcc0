package main

import (
	"os"
	"os/signal"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

func newDaemonCommand() *cobra.Command {
	var cfg config
	var file string
	cmd := &cobra.Command{
		Use:   "daemon",
		Short: "Serve Docker's network and IPAM driver calls",
		Long: `Serve Docker Engine as its network driver and IPAM driver "fairway".

Every setting is a flag, an environment variable (--state-dir is
FAIRWAY_STATE_DIR) and a key of the file (state-dir: …). The flag wins, then
the variable, then the file.`,
		Example: `  fairway daemon
  fairway daemon --log-level debug --default-address-pool base=10.64.0.0/12,size=24
  FAIRWAY_IP_FORWARD=false fairway daemon`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := readConfig(cmd, file); err != nil {
				return err
			}
			journal := os.Getenv("JOURNAL_STREAM") != ""
			log := newLog(cmd.ErrOrStderr(), cfg, journal)
			if os.Getenv(managedMark) != "" {
				splitLog(log, cmd.OutOrStdout())
			}
			for _, remark := range strangeVariables(cmd.Flags(), os.Environ()) {
				log.Warn(remark)
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), unix.SIGINT, unix.SIGTERM)
			defer stop()
			d := &daemon{config: cfg, build: buildInfo(), log: log, compose: compose, settings: shownSettings(cmd.Flags())}
			return d.Run(ctx)
		},
	}
	cfg.flags(cmd.Flags())
	cmd.Flags().StringVar(&file, "config", defaultConfigFile, "`file` with settings; need not exist if this isn't given")
	return cmd
}

// readConfig fills in what the command line doesn't say.
func readConfig(cmd *cobra.Command, file string) error {
	mustExist := cmd.Flags().Changed("config")
	if v, ok := os.LookupEnv(envName("config")); ok && v != "" && !mustExist {
		file, mustExist = v, true
	}
	return fillSettings(cmd.Flags(), os.LookupEnv, file, mustExist)
}
