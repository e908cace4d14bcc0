package main

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"

	"fairway/admin"

	"github.com/spf13/cobra"
)

// version is set by the build: go build -ldflags "-X main.version=1.0.0".
var version = "dev" //nolint:gochecknoglobals // the linker sets it

func buildInfo() admin.Build {
	b := admin.Build{Version: version, Go: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	dirty := ""
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.modified":
			if s.Value == "true" {
				dirty = "+dirty"
			}
		}
	}
	if b.Revision != "" {
		b.Revision += dirty
	}
	return b
}

// A programView is what fairway version prints as JSON.
type programView struct {
	Version int         `json:"version"`
	Build   admin.Build `json:"build"`
}

func newVersionCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version of this binary",
		Long: `Print the version of this binary and what it was built from. It asks no
daemon: a running one may be older, until it is restarted.`,
		Example: `  fairway version
  fairway version --json | jq -r .build.revision`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b := buildInfo()
			if asJSON {
				return printJSON(cmd.OutOrStdout(), programView{admin.Version, b})
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "fairway %s (revision %s, %s)\n",
				b.Version, cmp.Or(b.Revision, "unknown"), b.Go)
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, for scripts")
	return cmd
}
