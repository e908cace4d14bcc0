package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"text/template"

	"fairway/admin"

	"github.com/spf13/cobra"
)

// A view is how a command shows what it asked the daemon for.
type view struct {
	socket  string
	json    bool
	quiet   bool
	noTrunc bool
	format  string
}

// flags declares the flags that all commands share. What -q prints is the
// command's to say.
func (v *view) flags(cmd *cobra.Command, quiet string) {
	f := cmd.Flags()
	f.SortFlags = false
	f.BoolVar(&v.json, "json", false, "print JSON, for scripts")
	f.StringVar(&v.format, "format", "", "print each by a Go `template` over the JSON's values")
	f.BoolVarP(&v.quiet, "quiet", "q", false, quiet)
	f.BoolVar(&v.noTrunc, "no-trunc", false, "print IDs in full")
	v.socketFlag(cmd)
}

// socketFlag declares the flag for the daemon's socket.
func (v *view) socketFlag(cmd *cobra.Command) {
	f := cmd.Flags()
	f.SortFlags = false
	f.Var(&pathValue{p: &v.socket, most: maxSocketPath}, "admin-socket", "`path` of the daemon's socket")
	v.socket = defaultAdminSocket
	f.Lookup("admin-socket").DefValue = defaultAdminSocket
}

// client returns the client for the daemon that the flag or the environment names.
func (v *view) client(cmd *cobra.Command) (*admin.Client, error) {
	f := cmd.Flags().Lookup("admin-socket")
	if _, err := fillSetting(f, os.LookupEnv, setting{}); err != nil {
		return nil, err
	}
	return admin.NewClient(v.socket), nil
}

// A listing is a reply of the daemon, ready to be shown.
type listing struct {
	reply  any // for --json
	items  []any
	names  []string // for -q
	header []string
	rows   [][]string
	words  []int // columns of our own words, in which blanks need no quotes
}

// show prints l as the flags say.
func (v *view) show(w io.Writer, l listing) error {
	switch {
	case v.json:
		return printJSON(w, l.reply)
	case v.quiet:
		for _, n := range l.names {
			fmt.Fprintln(w, printable(n))
		}
		return nil
	case v.format != "":
		return printTemplate(w, v.format, l.items)
	}
	return printTable(w, l)
}

// id shortens an ID as docker does.
func (v *view) id(s string) string {
	if v.noTrunc || len(s) <= 12 {
		return s
	}
	return s[:12]
}

func printJSON(w io.Writer, v any) error {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	_, err := io.WriteString(w, escapeJSON(b.String()))
	return err
}

func printTemplate(w io.Writer, format string, items []any) error {
	if format == "json" {
		for _, item := range items {
			line, err := json.Marshal(item)
			if err != nil {
				return err
			}
			fmt.Fprintln(w, escapeJSON(string(line)))
		}
		return nil
	}
	t, err := template.New("format").Parse(strings.NewReplacer(`\t`, "\t", `\n`, "\n").Replace(format))
	if err != nil {
		return usagef("flag --format: %s", strings.TrimPrefix(err.Error(), "template: "))
	}
	for _, item := range items {
		var b strings.Builder
		if err := t.Execute(&b, item); err != nil {
			return usagef("flag --format: %s", strings.TrimPrefix(err.Error(), "template: "))
		}
		fmt.Fprintln(w, printableText(b.String()))
	}
	return nil
}

// printTable prints rows below a header, columns two blanks apart.
func printTable(w io.Writer, l listing) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, strings.Join(l.header, "\t"))
	for _, row := range l.rows {
		cells := make([]string, len(row))
		for i, c := range row {
			if slices.Contains(l.words, i) && c != "" {
				cells[i] = printable(c)
			} else {
				cells[i] = cell(c)
			}
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	return t.Flush()
}

// list runs a command that lists what ask asks for.
func (v *view) list(cmd *cobra.Command, ask func(context.Context, *admin.Client) (listing, error)) error {
	if v.json && v.quiet || v.json && v.format != "" || v.quiet && v.format != "" {
		return usagef("want one of --json, --format and --quiet")
	}
	c, err := v.client(cmd)
	if err != nil {
		return err
	}
	l, err := ask(cmd.Context(), c)
	if err != nil {
		return err
	}
	return v.show(cmd.OutOrStdout(), l)
}
