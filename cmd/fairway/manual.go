package main

import (
	"cmp"
	"fmt"
	"strings"

	"fairway/bridge"
	"fairway/macvlan"
	"fairway/option"
	"fairway/overlay"
	"fairway/transparent"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// manuals returns the manual pages by file name: one for each command, made of
// what its --help says, fairway.yaml(5) and fairway-options(7).
func manuals(root *cobra.Command) map[string][]byte {
	pages := map[string][]byte{
		"fairway.yaml.5":    settingsPage(),
		"fairway-options.7": optionsPage(),
	}
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		if !c.IsAvailableCommand() || c.Name() == "help" || c.Name() == "completion" {
			return
		}
		pages[pageName(c)+".8"] = commandPage(c)
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root)
	return pages
}

// pageName is what a command's page is called: fairway-ports-add.
func pageName(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

// A page is the text of a manual page in the macros of man(7).
type page struct{ strings.Builder }

func newPage(name string, section int, short string) *page {
	p := &page{}
	fmt.Fprintf(p, ".TH %s %d \"\" \"fairway %s\" \"Fairway\"\n", strings.ToUpper(roff(name)), section, roff(version))
	fmt.Fprintf(p, ".SH NAME\n%s \\- %s\n", roff(name), roff(short))
	return p
}

// roff escapes text: see groff_char(7).
func roff(s string) string {
	return strings.NewReplacer(`\`, `\(rs`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`).Replace(s)
}

// line is text that begins a line, where a dot would be a request.
func line(s string) string {
	if strings.HasPrefix(s, ".") {
		return `\&` + roff(s)
	}
	return roff(s)
}

func (p *page) section(name string) { fmt.Fprintf(p, ".SH %s\n", name) }

// text adds paragraphs, which blank lines separate. Indented lines stay as they are.
func (p *page) text(s string) {
	for paragraph := range strings.SplitSeq(strings.Trim(s, "\n"), "\n\n") {
		p.WriteString(".PP\n")
		verbatim := false
		for l := range strings.SplitSeq(paragraph, "\n") {
			if indented := strings.HasPrefix(l, "  "); indented != verbatim {
				p.WriteString(map[bool]string{true: ".RS 2\n.nf\n", false: ".fi\n.RE\n"}[indented])
				verbatim = indented
			}
			p.WriteString(line(strings.TrimSpace(l)) + "\n")
		}
		if verbatim {
			p.WriteString(".fi\n.RE\n")
		}
	}
}

// entry adds a term and what it means.
func (p *page) entry(term, text string) {
	fmt.Fprintf(p, ".TP\n\\fB%s\\fR\n%s\n", roff(term), line(text))
}

func (p *page) flags(fs *pflag.FlagSet) {
	fs.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		value, usage := pflag.UnquoteUsage(f)
		term := "--" + f.Name
		if f.Shorthand != "" {
			term = "-" + f.Shorthand + ", " + term
		}
		if value != "" && f.NoOptDefVal == "" {
			term += " " + value
		}
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0s" {
			usage += " (default " + f.DefValue + ")"
		}
		p.entry(term, usage)
	})
}

func commandPage(c *cobra.Command) []byte {
	c.InitDefaultHelpFlag()
	p := newPage(pageName(c), 8, lower(c.Short))
	p.section("SYNOPSIS")
	fmt.Fprintf(p, "\\fB%s\\fR%s\n", roff(c.CommandPath()), roff(strings.TrimPrefix(c.UseLine(), c.CommandPath())))
	p.section("DESCRIPTION")
	p.text(cmp.Or(c.Long, c.Short+"."))
	if c.HasAvailableSubCommands() {
		p.section("COMMANDS")
		for _, sub := range c.Commands() {
			if sub.IsAvailableCommand() && sub.Name() != "help" {
				p.entry(strings.TrimPrefix(sub.CommandPath(), "fairway "), sub.Short)
			}
		}
	}
	p.section("OPTIONS")
	p.flags(c.Flags())
	if c.Example != "" {
		p.section("EXAMPLES")
		p.text(c.Example)
	}
	p.section("EXIT STATUS")
	p.text("0 good, 1 bad, 2 wrong usage, 3 daemon not reachable, 4 no permission.")
	also := []string{"fairway.yaml(5)", "fairway-options(7)"}
	if c.HasParent() {
		also = append([]string{pageName(c.Parent()) + "(8)"}, also...)
	}
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() && sub.Name() != "help" {
			also = append(also, pageName(sub)+"(8)")
		}
	}
	p.section("SEE ALSO")
	p.text(strings.Join(also, ",\n"))
	return []byte(p.String())
}

// lower makes the first letter small, but of a word that is all capitals.
func lower(s string) string {
	if len(s) > 1 && s[1] >= 'a' && s[1] <= 'z' && !strings.HasPrefix(s, "Docker") {
		return strings.ToLower(s[:1]) + s[1:]
	}
	return s
}

func settingsPage() []byte {
	var c config
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	c.flags(fs)
	p := newPage("fairway.yaml", 5, "settings of the fairway daemon")
	p.section("SYNOPSIS")
	p.text(defaultConfigFile)
	p.section("DESCRIPTION")
	p.text(`One YAML mapping of settings to values. The daemon runs without the file. A flag
of fairway-daemon(8) wins over an environment variable (state-dir is
FAIRWAY_STATE_DIR), and that over the file. A key or a value that isn't known is
refused with its line.

Settings marked as live change when the daemon is told to reload (systemctl
reload fairway, SIGHUP), the others when it starts again.`)
	p.section("SETTINGS")
	fs.VisitAll(func(f *pflag.Flag) {
		_, usage := pflag.UnquoteUsage(f)
		if f.DefValue != "" {
			usage += " (default " + f.DefValue + ")"
		}
		if live(f.Name) {
			usage += "; live"
		}
		p.entry(f.Name, usage)
	})
	p.section("SEE ALSO")
	p.text("fairway-config(8), fairway-daemon(8)")
	return []byte(p.String())
}

// optionTables returns what docker network create -o takes, by mode.
func optionTables() []modeOptions {
	return []modeOptions{
		{"bridge", bridge.Table(&bridge.Options{})},
		{"macvlan", macvlan.Table(&macvlan.Options{})},
		{"ipvlan", macvlan.IPvlanTable(&macvlan.Options{})},
		{"overlay", overlay.Table(&overlay.Options{})},
		{"transparent", transparent.Table(&transparent.Options{})},
	}
}

type modeOptions struct {
	mode  string
	table option.Table
}

func optionsPage() []byte {
	p := newPage("fairway-options", 7, "options of fairway's networks")
	p.section("SYNOPSIS")
	p.text("docker network create -d fairway -o NAME=VALUE ... NETWORK")
	p.section("DESCRIPTION")
	p.text("A wrong option is refused when the network is created: one line names the option,\nthe value, what is allowed and the nearest name.")
	for _, m := range optionTables() {
		p.section("MODE " + strings.ToUpper(m.mode))
		for _, o := range m.table {
			p.entry(o.Name, o.Allowed+". "+o.Meaning)
		}
	}
	p.section("SEE ALSO")
	p.text("fairway(8), fairway-networks(8)")
	return []byte(p.String())
}
