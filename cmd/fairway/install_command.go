package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"fairway/admin"
	"fairway/install"
	"fairway/packaging"

	"github.com/spf13/cobra"
)

// An installation is what the flags of install and uninstall say.
type installation struct {
	root          string
	program       string
	packaged      bool
	replacePlugin bool
	purge         bool
	layout        install.Layout
	files         []install.File
}

func newInstallCommand() *cobra.Command {
	var i installation
	cmd := &cobra.Command{
		Use:   "install",
		Short: "Install this program as a service of this host",
		Long: `Install this program as a service of a host with systemd, where there is no
package of it: the program, units, manual pages and shell completions, and what
makes NetworkManager, systemd-networkd and udev leave fairway's links alone. All
is in /usr/local and /etc. The service is started, and at each boot before Docker.

It may be repeated: a newer program takes the place of one that runs, and
containers keep their connections. Settings in /etc/fairway stay as they are.`,
		Example: `  sudo ./fairway install
  sudo ./fairway install --replace-plugin`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := i.prepare(cmd.Root()); err != nil {
				return err
			}
			return i.install(cmd)
		},
	}
	cmd.Flags().BoolVar(&i.replacePlugin, "replace-plugin", false, "also serve the networks that the managed plugin fairway:latest made; it must be removed")
	cmd.Flags().StringVar(&i.program, "program", "", "install the program at this `path` instead of this one")
	cmd.Flags().BoolVar(&i.packaged, "packaged", false, "where a distribution's package puts them")
	_ = cmd.Flags().MarkHidden("program") // for those who make packages
	_ = cmd.Flags().MarkHidden("packaged")
	i.rootFlag(cmd)
	return cmd
}

func newUninstallCommand() *cobra.Command {
	var i installation
	cmd := &cobra.Command{
		Use:   "uninstall",
		Short: "Remove what install put on this host",
		Long: `Stop the service, and remove what fairway install put on this host.

Networks, their records in /var/lib/fairway and the settings stay: containers
talk on, and after fairway install all is managed as before. --purge removes those,
too: each network from the kernel, all records and their backups. It is refused
while containers are attached to fairway's networks.`,
		Example: `  sudo fairway uninstall
  sudo fairway uninstall --purge`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := i.prepare(cmd.Root()); err != nil {
				return err
			}
			return i.uninstall(cmd)
		},
	}
	cmd.Flags().BoolVar(&i.purge, "purge", false, "remove networks, records and settings, too")
	i.rootFlag(cmd)
	return cmd
}

func (i *installation) rootFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&i.root, "root", "/", "work on the files below this `directory`, and start or stop nothing")
}

// prepare finds out where everything goes.
func (i *installation) prepare(root *cobra.Command) (err error) {
	if i.root, err = filepath.Abs(i.root); err != nil {
		return usageError{err.Error()}
	}
	if i.program == "" {
		if i.program, err = os.Executable(); err != nil {
			return fmt.Errorf("find own file: %w", err)
		}
	}
	i.layout = install.ByHand()
	if i.packaged {
		i.layout = install.Packaged()
	}
	parts, err := installParts(root)
	if err != nil {
		return err
	}
	i.files, err = i.layout.Files(packaging.Files, parts, i.replacePlugin)
	if err != nil || !i.here() {
		return err
	}
	if os.Geteuid() != 0 {
		return errNotRoot
	}
	unit := install.Packaged().Units + "/fairway.service"
	if _, err := os.Stat(unit); err == nil {
		return fmt.Errorf("%s: fairway is a package here; use the package manager, or remove the package first", unit)
	}
	if !install.HasSystemd() {
		return errors.New("this host isn't run by systemd: start \"fairway daemon\" by other means, before Docker")
	}
	return nil
}

// here reports whether it is about this host itself.
func (i *installation) here() bool { return i.root == "/" }

// installParts makes manual pages and completions.
func installParts(root *cobra.Command) (install.Parts, error) {
	var bash, zsh, fish bytes.Buffer
	err := errors.Join(root.GenBashCompletionV2(&bash, true), root.GenZshCompletion(&zsh), root.GenFishCompletion(&fish, true))
	return install.Parts{Man: manuals(root), Bash: bash.Bytes(), Zsh: zsh.Bytes(), Fish: fish.Bytes()}, err
}

func (i *installation) install(cmd *cobra.Command) error {
	newProgram, err := install.Copy(i.root, i.layout.Program, i.program)
	if err != nil {
		return err
	}
	changed, err := install.Write(i.root, i.files)
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	if newProgram {
		fmt.Fprintln(out, "wrote "+i.layout.Program)
	}
	for _, path := range changed {
		fmt.Fprintln(out, "wrote "+path)
	}
	if !i.here() {
		return nil
	}
	i.layout.Tell(cmd.Context())
	newUnit, newSockets := i.layout.NewUnits(changed)
	if err := install.Start(cmd.Context(), newProgram || newUnit, newSockets); err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, "fairway runs; make a network with: docker network create -d fairway web")
	return err
}

func (i *installation) uninstall(cmd *cobra.Command) error {
	var cfg config
	var err error
	if i.here() {
		if i.purge {
			if cfg, err = daemonConfig(cmd.Context()); err != nil {
				return err
			}
			if err = i.mayPurge(cmd.Context(), cfg); err != nil {
				return err
			}
		}
		if err := install.Stop(cmd.Context()); err != nil {
			return err
		}
		if i.purge {
			if err := reset(cmd, cfg, false); err != nil {
				return err
			}
		}
	}
	files, err := i.layout.Files(packaging.Files, install.Parts{}, true) // the plugin's replacement may be there
	if err != nil {
		return err
	}
	files = append(files, i.files...)
	files = append(files, install.File{Path: i.layout.Program})
	removed, err := install.Remove(i.root, files, i.purge)
	for _, path := range removed {
		fmt.Fprintln(cmd.OutOrStdout(), "removed "+path)
	}
	if err != nil || !i.here() {
		return err
	}
	i.layout.Tell(cmd.Context())
	return install.Forget(cmd.Context())
}

// mayPurge refuses while containers use fairway's networks.
func (i *installation) mayPurge(ctx context.Context, cfg config) error {
	reply, err := admin.NewClient(cfg.AdminSocket).Endpoints(ctx)
	if err != nil {
		return mayReset(cfg, false) // it doesn't run
	}
	n := 0
	for _, e := range reply.Endpoints {
		if e.Joined {
			n++
		}
	}
	if n > 0 {
		return attachedError(n)
	}
	return nil
}
