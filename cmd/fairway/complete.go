package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"fairway/admin"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// completeTime is how long the shell waits for names that the daemon knows.
const completeTime = time.Second

// completeFlags makes the shell complete what flags of commands below cmd allow.
func completeFlags(cmd *cobra.Command) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		switch v := f.Value.(type) {
		case *choice:
			_ = cmd.RegisterFlagCompletionFunc(f.Name, cobra.FixedCompletions(v.allowed, cobra.ShellCompDirectiveNoFileComp))
		case *pathValue: // files, which is the default
		default:
			if f.Name != "config" {
				_ = cmd.RegisterFlagCompletionFunc(f.Name, cobra.NoFileCompletions)
			}
		}
	})
	if cmd.ValidArgsFunction == nil && !cmd.HasSubCommands() {
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	}
	for _, c := range cmd.Commands() {
		completeFlags(c)
	}
}

// names returns what the shell completes a word with: names that ask finds, each
// with a remark. Without a daemon there are none.
func names(v *view, first bool, ask func(context.Context, *admin.Client) (map[string]string, error)) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if first && len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx := cmd.Context()
		if ctx == nil {
			ctx = context.Background()
		}
		ctx, cancel := context.WithTimeout(ctx, completeTime)
		defer cancel()
		c, err := v.client(cmd)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		found, err := ask(ctx, c)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var out []cobra.Completion
		for name, remark := range found {
			// What isn't printed as it is can't be typed either.
			if strings.HasPrefix(name, word) && name != "" && printable(name) == name {
				out = append(out, cobra.CompletionWithDesc(name, printable(remark)))
			}
		}
		slices.Sort(out)
		return out, cobra.ShellCompDirectiveNoFileComp
	}
}

// containerNames are those of containers on fairway's networks.
func containerNames(ctx context.Context, c *admin.Client) (map[string]string, error) {
	reply, err := c.Endpoints(ctx)
	out := map[string]string{}
	for _, e := range reply.Endpoints {
		out[e.Container] = strings.TrimPrefix(out[e.Container]+" "+e.NetworkName, " ")
	}
	return out, err
}

// networkNames are those of fairway's networks.
func networkNames(ctx context.Context, c *admin.Client) (map[string]string, error) {
	reply, err := c.Networks(ctx)
	out := map[string]string{}
	for _, n := range reply.Networks {
		out[n.Name] = n.Mode
	}
	return out, err
}
