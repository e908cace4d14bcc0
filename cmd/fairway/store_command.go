package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"fairway/admin"
	"fairway/store"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func newStoreCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "store",
		Short: "Check, back up, export and import the daemon's records",
		Long: `Check, back up, export and import the records of networks, endpoints, addresses and
ports: /var/lib/fairway/fairway.db. The daemon makes a backup beside it each hour
in which something changed, and keeps five.`,
		Example: `  sudo fairway store check
  sudo fairway store export >records.json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newStoreCheckCommand(), newStoreBackupCommand(), newStoreExportCommand(), newStoreImportCommand())
	return cmd
}

// records is where the commands of store look.
type records struct {
	view
	dir string
}

func (r *records) flags(cmd *cobra.Command) {
	cmd.Flags().SortFlags = false
	cmd.Flags().StringVar(&r.dir, "state-dir", "", "`directory` of the records; the daemon's own if this isn't given")
	r.socketFlag(cmd)
}

// file returns the path of a file that can be read: the one that is named, the
// daemon's if none runs, or else a backup that it makes now.
func (r *records) file(cmd *cobra.Command, args []string) (string, error) {
	if len(args) > 0 {
		return args[0], nil
	}
	if r.dir == "" {
		c, err := r.client(cmd)
		if err != nil {
			return "", err
		}
		b, err := c.Backup(cmd.Context())
		if !errors.Is(err, admin.ErrUnreachable) || errors.Is(err, admin.ErrRestoring) {
			return b.Path, err
		}
	}
	dir, err := r.directory(cmd.Context())
	return store.File(dir), err
}

// directory is where the records are, whether the daemon runs or not.
func (r *records) directory(ctx context.Context) (string, error) {
	if r.dir != "" {
		return r.dir, nil
	}
	cfg, err := daemonConfig(ctx)
	return cfg.StateDir, err
}

// daemonConfig returns what the daemon was told or, if none runs, what one would
// be told that starts now.
func daemonConfig(ctx context.Context) (config, error) {
	var flags config
	fs := pflag.NewFlagSet("settings", pflag.ContinueOnError)
	flags.flags(fs)
	configFlag(fs)
	cfg, _, err := newSource(fs).read()
	if err != nil {
		return cfg, err
	}
	running, err := admin.NewClient(cfg.AdminSocket).Settings(ctx)
	if err != nil {
		return cfg, nil //nolint:nilerr // there is none
	}
	for _, s := range running.Settings {
		if fs.Lookup(s.Name) != nil {
			if err := fs.Set(s.Name, s.Value); err != nil {
				return cfg, fmt.Errorf("setting %s of the daemon: %w", s.Name, err)
			}
		}
	}
	return flags, nil
}

// oneFile allows a command one file.
func oneFile(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return cobra.NoArgs(cmd, args[1:])
	}
	return nil
}

func newStoreCheckCommand() *cobra.Command {
	var r records
	cmd := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Check the records, or a backup of them",
		Long: `Check each page, each checksum and each record of a file. Of a daemon that runs it
is a backup made at this moment. The exit code is 1 if the file is damaged, or of a
newer fairway.`,
		Example: `  sudo fairway store check
  sudo fairway store check /var/lib/fairway/backup/fairway-20261121T150000.000Z.db`,
		Args: oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := r.file(cmd, args)
			if err != nil {
				return err
			}
			d, err := store.ReadDump(path)
			if err != nil {
				return notThere(err)
			}
			if r.json {
				return printJSON(cmd.OutOrStdout(), checked(path, d))
			}
			var counts []string
			for _, k := range store.Kinds() {
				counts = append(counts, fmt.Sprintf("%d %s", d.Count(k), k))
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: good: schema %d, instance %s, %s\n", printable(path), d.Schema, d.Instance, strings.Join(counts, ", "))
			return err
		},
	}
	cmd.Flags().BoolVar(&r.json, "json", false, "print JSON, for scripts")
	r.flags(cmd)
	return cmd
}

// notThere is what a file that isn't there is: wrong usage.
func notThere(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return usageError{strings.TrimPrefix(err.Error(), "store: ")}
	}
	return err
}

// A checkedView is what fairway store check prints as JSON.
type checkedView struct {
	Version  int            `json:"version"`
	Path     string         `json:"path"`
	Schema   int            `json:"schema"` // of the file
	Instance string         `json:"instance"`
	Records  map[string]int `json:"records"` // how many, by kind
}

func checked(path string, d store.Dump) checkedView {
	counts := map[string]int{}
	for _, k := range store.Kinds() {
		counts[k] = d.Count(k)
	}
	return checkedView{admin.Version, path, d.Schema, d.Instance, counts}
}

func newStoreBackupCommand() *cobra.Command {
	var r records
	cmd := &cobra.Command{
		Use:   "backup",
		Short: "Make a backup of the records now",
		Long: `Have the daemon make a backup of its records, and print its path. Calls go on
meanwhile. The five newest are kept. It can be put in the file's place as it is,
while no daemon runs: fairway store import.`,
		Example: `  sudo fairway store backup`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := r.client(cmd)
			if err != nil {
				return err
			}
			b, err := c.Backup(cmd.Context())
			if err == nil {
				_, err = fmt.Fprintln(cmd.OutOrStdout(), printable(b.Path))
			}
			return err
		},
	}
	r.socketFlag(cmd)
	return cmd
}

func newStoreExportCommand() *cobra.Command {
	var r records
	cmd := &cobra.Command{
		Use:   "export [FILE]",
		Short: "Print the records as JSON",
		Long: `Print the records, or those in a backup, as JSON. fairway store import makes
a file of them again, also on another host.`,
		Example: `  sudo fairway store export >records.json`,
		Args:    oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := r.file(cmd, args)
			if err != nil {
				return err
			}
			d, err := store.ReadDump(path)
			if err != nil {
				return notThere(err)
			}
			return writeDump(cmd.OutOrStdout(), d)
		},
	}
	r.flags(cmd)
	return cmd
}

// writeDump prints records; nothing in them moves a terminal's cursor.
func writeDump(w io.Writer, d store.Dump) error {
	text, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, escapeJSON(string(text))+"\n")
	return err
}

func newStoreImportCommand() *cobra.Command {
	var r records
	var replace bool
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Make the records of an export or a backup",
		Long: `Make the records of what fairway store export printed, or of a backup; "-" reads
the standard input. No daemon may run. Records that are there are refused without
--replace; with it they go to the backups.

The daemon then makes the kernel as these records say: networks that they lack are
gone from it, though Docker still knows them.`,
		Example: `  sudo systemctl stop fairway.socket fairway.service
  sudo fairway store import --replace records.json
  sudo systemctl start fairway.socket fairway.service`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			from := cmd.InOrStdin()
			if args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return usageError{err.Error()}
				}
				defer f.Close()
				from = f
			}
			dir, err := r.directory(cmd.Context())
			if err != nil {
				return err
			}
			old, err := store.Import(dir, from, replace)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s written; before it: %s\n", printable(store.File(dir)), printable(cmp.Or(old, "none")))
			return err
		},
	}
	cmd.Flags().BoolVar(&replace, "replace", false, "in place of records that are there")
	r.flags(cmd)
	return cmd
}
