package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"fairway/nat/guard"
	"fairway/nat/nftables"
	"fairway/resolver"
	"fairway/store"

	"github.com/spf13/cobra"
)

func newResetCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "reset",
		Short: "Remove all of fairway's networks and records from this host",
		Long: `Remove all that fairway made from this host: links, rules, routes and sysctls of
each network, and then the records with their backups. The daemon must be stopped.
Docker still knows the networks: docker network rm them first.

It is refused while containers are attached to them.`,
		Example: `  sudo systemctl stop fairway.socket fairway.service
  sudo fairway reset`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := daemonConfig(cmd.Context())
			if err != nil {
				return err
			}
			return reset(cmd, cfg, force)
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "cut off containers that are attached")
	return cmd
}

var errNotRoot = usagef("want root: run it with sudo") //nolint:gochecknoglobals // an error value

// mayReset refuses while containers use fairway's networks, or a daemon runs.
func mayReset(cfg config, force bool) error {
	d, err := store.ReadDump(store.File(cfg.StateDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	n, err := d.Attached()
	if err == nil && n > 0 && !force {
		err = attachedError(n)
	}
	return err
}

// attachedError refuses since n containers would be cut off.
func attachedError(n int) error {
	return fmt.Errorf("%d containers are attached to fairway's networks: remove them, and the networks, first", n)
}

// reset removes what the records of cfg's state directory say, and then them.
func reset(cmd *cobra.Command, cfg config, force bool) error {
	if os.Geteuid() != 0 {
		return errNotRoot
	}
	if err := mayReset(cfg, force); err != nil {
		return err
	}
	if _, err := os.Stat(store.File(cfg.StateDir)); err == nil {
		cfg.LogLevel = "warning"
		if err := removeNetworks(cmd.Context(), cfg, cmd); err != nil {
			return err
		}
		if err := errors.Join(guard.Drop(), nftables.Drop(), resolver.Drop()); err != nil {
			return err
		}
	}
	if err := store.Remove(cfg.StateDir); err != nil {
		return err
	}
	_ = os.Remove(forwardGuarded(cfg))
	_ = os.Remove(cfg.StateDir) // it stays with what isn't ours
	_, err := fmt.Fprintln(cmd.OutOrStdout(), "removed "+cfg.StateDir)
	return err
}

// removeNetworks does to each network what docker network rm does.
func removeNetworks(ctx context.Context, cfg config, cmd *cobra.Command) (err error) {
	p, err := compose(ctx, cfg, newLog(cmd.ErrOrStderr(), cfg, false), func(time.Duration) {})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	if err := p.restore(ctx); err != nil {
		return err
	}
	for _, n := range p.records.Networks() {
		if err := p.networks.DeleteNetwork(ctx, n.ID); err != nil {
			return err
		}
		name := n.Name
		if name == "" {
			name = n.ID
		}
		fmt.Fprintln(cmd.OutOrStdout(), "removed network "+printable(name))
	}
	return nil
}
