package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"fairway/admin"
	"fairway/option"

	"github.com/spf13/cobra"
)

// An optionsView is what fairway options prints as JSON.
type optionsView struct {
	Version int          `json:"version"`
	Options []optionView `json:"options"`
}

// An optionView is one network option of a mode, as JSON.
type optionView struct {
	Mode    string `json:"mode"`
	Name    string `json:"name"`
	Allowed string `json:"allowed"`
	Meaning string `json:"meaning"`
}

func newOptionsCommand() *cobra.Command {
	var mode string
	var asJSON bool
	var modes []string
	for _, m := range optionTables() {
		modes = append(modes, m.mode)
	}
	cmd := &cobra.Command{
		Use:   "options [NAME]",
		Short: "List the options of networks, or explain one",
		Long: `List the options that docker network create -o takes, with what each allows, or
explain the one that is named. They are those of this program: no daemon is asked.`,
		Example: `  fairway options
  fairway options --mode macvlan
  fairway options antispoof`,
		Args: oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			found, err := findOptions(mode, args)
			if err != nil {
				return err
			}
			switch w := cmd.OutOrStdout(); {
			case asJSON:
				return printJSON(w, optionsView{admin.Version, found})
			case len(args) > 0:
				return explainOptions(w, found)
			default:
				return printTable(w, optionList(found))
			}
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			var out []cobra.Completion
			found, err := findOptions(mode, nil)
			if err != nil || len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			for _, o := range found {
				out = append(out, cobra.CompletionWithDesc(o.Name, o.Meaning))
			}
			return out, cobra.ShellCompDirectiveNoFileComp
		},
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().Var(&choice{p: &mode, allowed: modes}, "mode", "just those of this mode: "+oneOf(modes))
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, for scripts")
	return cmd
}

// findOptions returns the options of a mode, or of all for "", by mode and name;
// of a name just those that have it.
func findOptions(mode string, name []string) (out []optionView, err error) {
	var known []string
	for _, m := range optionTables() {
		if mode != "" && m.mode != mode {
			continue
		}
		table := slices.Clone(m.table)
		slices.SortFunc(table, func(a, b option.Option) int { return strings.Compare(a.Name, b.Name) })
		for _, o := range table {
			known = append(known, o.Name)
			if len(name) == 0 || o.Name == name[0] {
				out = append(out, optionView{m.mode, o.Name, o.Allowed, o.Meaning})
			}
		}
	}
	if len(out) == 0 {
		near := option.Nearest(name[0], known)
		if near == "" {
			return nil, usagef("option %q: unknown (fairway options)", name[0])
		}
		return nil, usagef("option %q: unknown; nearest is %q", name[0], near)
	}
	return out, nil
}

func optionList(all []optionView) listing {
	l := listing{header: []string{"MODE", "OPTION", "ALLOWED"}, words: []int{2}}
	for _, o := range all {
		l.rows = append(l.rows, []string{o.Mode, o.Name, o.Allowed})
	}
	return l
}

func explainOptions(w io.Writer, all []optionView) error {
	var errs []error
	for _, o := range all {
		_, err := fmt.Fprintf(w, "-o %s=   (mode %s)\n  allowed: %s\n  %s\n", o.Name, o.Mode, o.Allowed, o.Meaning)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
