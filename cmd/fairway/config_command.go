package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"fairway/admin"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func newConfigCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check and show the daemon's settings",
		Long: `Check and show the daemon's settings.

Each is a flag of fairway daemon (--state-dir), an environment variable
(FAIRWAY_STATE_DIR) and a key of the file (state-dir: …). The flag wins, then the
variable, then the file. systemctl reload fairway (or SIGHUP) makes the daemon
read the file again: log-level, log-format, default-address-pool and the metrics'
settings change at once, the others when it starts again.`,
		Example: `  sudo fairway config check
  sudo fairway config show --running --origin`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newConfigCheckCommand(), newConfigShowCommand())
	return cmd
}

func newConfigCheckCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check [FILE]",
		Short: "Check a file of settings",
		Long: `Check a file of settings, /etc/fairway/fairway.yaml if none is named. Each mistake
is a line with its place and what is allowed; the exit code is 1 then. The daemon
isn't asked, and neither its flags nor the environment count.`,
		Example: `  fairway config check
  fairway config check ./fairway.yaml && sudo cp fairway.yaml /etc/fairway/`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return cobra.NoArgs(cmd, args[1:])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			file, named := defaultConfigFile, len(args) > 0
			if named {
				file = args[0]
			}
			return checkFile(cmd.OutOrStdout(), file, named)
		},
	}
}

// checkFile says what is wrong with a file of settings.
func checkFile(w io.Writer, file string, mustExist bool) error {
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		if mustExist {
			return usageError{err.Error()}
		}
		fmt.Fprintf(w, "%s: not there, so all settings have their defaults\n", printable(file))
		return nil
	}
	var cfg config
	flags := pflag.NewFlagSet("settings", pflag.ContinueOnError)
	cfg.flags(flags)
	origins, err := fillSettings(flags, func(string) (string, bool) { return "", false }, file, true)
	if err == nil {
		set := 0
		for _, o := range origins {
			if o != "default" {
				set++
			}
		}
		fmt.Fprintf(w, "%s: good, %d settings\n", printable(file), set)
		return nil
	}
	var all mistakes
	if !errors.As(err, &all) {
		all = mistakes{err}
	}
	for _, m := range all {
		fmt.Fprintln(w, printable(m.Error()))
	}
	return fmt.Errorf("%s: %d to be mended", file, len(all))
}

func newConfigShowCommand() *cobra.Command {
	var v view
	var cfg config
	var origin, running bool
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Show the settings in effect",
		Long: `Show the settings that a daemon would have if it started now, with the flags that
stand here and the environment of this shell; with --running those that the
daemon has. The output is a file of settings. --origin shows where each comes from.`,
		Example: `  fairway config show
  sudo fairway config show --running --origin
  fairway config show --log-level debug --origin`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			reply := admin.Settings{Version: admin.Version}
			var err error
			if running {
				if _, err = fillSetting(cmd.Flag("admin-socket"), os.LookupEnv, setting{}); err == nil {
					reply, err = admin.NewClient(cfg.AdminSocket).Settings(cmd.Context())
				}
			} else {
				_, reply.Settings, err = newSource(cmd.Flags()).read()
			}
			if err != nil {
				return err
			}
			switch w := cmd.OutOrStdout(); {
			case v.json:
				return printJSON(w, reply)
			case origin:
				return printTable(w, origins(reply))
			default:
				return printSettings(w, reply)
			}
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.BoolVar(&origin, "origin", false, "show where each value comes from")
	f.BoolVar(&running, "running", false, "show what the daemon has, and what waits for its next start")
	f.BoolVar(&v.json, "json", false, "print JSON, for scripts")
	cfg.flags(f)
	configFlag(f)
	return cmd
}

// origins lists settings with where they come from.
func origins(s admin.Settings) listing {
	l := listing{header: []string{"SETTING", "VALUE", "ORIGIN"}, words: []int{2, 3}}
	waits := false
	for _, one := range s.Settings {
		waits = waits || one.Next != nil
	}
	if waits {
		l.header = append(l.header, "AT THE NEXT START")
	}
	for _, one := range s.Settings {
		row := []string{one.Name, one.Value, one.Origin}
		if waits {
			next := ""
			if one.Next != nil {
				next = *one.Next
			}
			row = append(row, next)
		}
		l.rows = append(l.rows, row)
	}
	return l
}

// printSettings prints settings as their file has them.
func printSettings(w io.Writer, s admin.Settings) error {
	var b strings.Builder
	for _, one := range s.Settings {
		switch values := strings.Fields(one.Value); {
		case one.Name != "default-address-pool":
			fmt.Fprintf(&b, "%s: %s\n", one.Name, yamlText(one.Value))
		case len(values) == 0:
			fmt.Fprintf(&b, "%s: []\n", one.Name)
		default:
			fmt.Fprintf(&b, "%s:\n", one.Name)
			for _, v := range values {
				fmt.Fprintf(&b, "  - %s\n", yamlText(v))
			}
		}
		if one.Next != nil {
			fmt.Fprintf(&b, "# %s: %s   from the next start on\n", one.Name, yamlText(*one.Next))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// yamlText writes a value as YAML reads it. Paths, names and numbers are what
// they are there; the rest is quoted, with the escapes that both Go and YAML have.
func yamlText(s string) string {
	plain := s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-=,", r))
	})
	if plain && s[0] != '-' && s[0] != '=' && s[0] != ',' {
		return s
	}
	return strconv.QuoteToASCII(s)
}
