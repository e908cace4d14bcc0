package main

import (
	"errors"
	"strings"

	"fairway/admin"
	"fairway/option"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Exit codes, the same for every command.
const (
	exitGood        = 0
	exitBad         = 1 // the thing asked about, or the daemon, is bad
	exitUsage       = 2
	exitUnreachable = 3
	exitPermission  = 4
	exitPartly      = 5 // a part of it is done
)

func exitCode(err error) int {
	switch {
	case err == nil:
		return exitGood
	case errors.Is(err, errUsage):
		return exitUsage
	case errors.Is(err, admin.ErrPermission):
		return exitPermission
	case errors.Is(err, admin.ErrUnreachable):
		return exitUnreachable
	case errors.Is(err, errPartly):
		return exitPartly
	}
	return exitBad
}

// hint says what to do about err; "" for nothing.
func hint(err error) string {
	var own *permissionError
	switch {
	case errors.As(err, &own):
		return "run it with sudo"
	case errors.Is(err, admin.ErrPermission):
		return "the socket is root's: run it with sudo"
	case errors.Is(err, admin.ErrRestoring):
		return "try again in a moment"
	case errors.Is(err, admin.ErrUnreachable):
		return "is it running? systemctl status fairway"
	}
	return ""
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "fairway",
		Short: "Docker's networks, by fairway",
		Long: `Fairway is a network driver and IPAM driver for Docker Engine.

Networks are made with docker:
  docker network create -d fairway --ipam-driver fairway web

The other commands show what the daemon runs. Exit codes: 0 good, 1 bad,
2 wrong usage, 3 daemon not reachable, 4 no permission, 5 partly done.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          unknownCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(newDaemonCommand(), newStatusCommand(), newNetworksCommand(), newEndpointsCommand(), newPortsCommand(), newLeasesCommand(), newInspectCommand(), newEventsCommand(), newTopCommand(), newOptionsCommand(), newConfigCommand(), newStoreCommand(),
		newInstallCommand(), newUninstallCommand(), newResetCommand(), newVersionCommand(), newManagedCommand())
	root.AddCommand(newDoctorCommand(), newBugreportCommand(), newClusterCommand(), newNetworkCommand(), newRepairCommand(), newTraceCommand(), newPingCommand())
	checkUsage(root)
	completeFlags(root)
	return root
}

// checkUsage makes what commands below cmd refuse a matter of usage.
func checkUsage(cmd *cobra.Command) {
	for _, c := range cmd.Commands() {
		c.Args = usageArgs(c.Args)
		checkUsage(c)
	}
}

// usageArgs makes what check refuses a matter of usage.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		err := check(cmd, args)
		if takes := strings.Fields(cmd.Use)[1:]; err != nil && len(takes) > len(args) {
			return usagef("%s: want %s (%s --help)", cmd.CommandPath(), strings.Join(takes, " "), cmd.CommandPath())
		}
		if err != nil {
			return usagef("%s %q: unknown argument (%s --help)", cmd.CommandPath(), args[0], cmd.CommandPath())
		}
		return nil
	}
}

func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	return usagef("command %q: unknown; nearest is %q (fairway --help)", args[0], option.Nearest(args[0], names))
}

// flagError makes a wrong flag a matter of usage, with the nearest name.
func flagError(cmd *cobra.Command, err error) error {
	var missing *pflag.NotExistError
	var invalid *pflag.InvalidValueError
	switch {
	case errors.As(err, &missing) && len(missing.GetSpecifiedName()) > 1:
		known := map[string]bool{}
		cmd.Flags().VisitAll(func(f *pflag.Flag) { known["--"+f.Name] = true })
		name := "--" + missing.GetSpecifiedName()
		return usagef("flag %s: unknown%s", name, strings.ReplaceAll(nearest(name, known), `"`, ""))
	case errors.As(err, &invalid):
		return usagef("flag --%s=%q: %s", invalid.GetFlag().Name, invalid.GetValue(), errors.Unwrap(invalid))
	}
	return usagef("%s (%s --help)", err, cmd.CommandPath())
}
