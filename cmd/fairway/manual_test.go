package main

import (
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Each command that people call has a page with all of its flags, the pages name
// only pages that there are, and each setting and option is in one.
func TestManuals(t *testing.T) {
	root := newRootCommand()
	pages := manuals(root)
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		if !c.IsAvailableCommand() || c.Name() == "help" {
			return
		}
		text := string(pages[pageName(c)+".8"])
		if text == "" {
			t.Errorf("%s has no page", c.CommandPath())
		}
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden && !strings.Contains(text, roff("--"+f.Name)) {
				t.Errorf("the page of %s lacks --%s", c.CommandPath(), f.Name)
			}
		})
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root)
	for name, text := range pages {
		if strings.HasPrefix(name, "fairway-managed") {
			t.Errorf("%s: a hidden command has a page", name)
		}
		for _, m := range regexp.MustCompile(`(fairway[a-z.\\-]*)\(([0-9])\)`).FindAllStringSubmatch(string(text), -1) {
			if also := strings.ReplaceAll(m[1], `\`, "") + "." + m[2]; pages[also] == nil {
				t.Errorf("%s names %s, which isn't there", name, also)
			}
		}
		for l := range strings.Lines(string(text)) {
			if strings.HasPrefix(l, ".") && !regexp.MustCompile(`^\.(TH|SH|PP|TP|RS|RE|nf|fi)\b`).MatchString(l) {
				t.Errorf("%s: line %q is a request", name, l)
			}
		}
	}
	for _, want := range []string{"state-dir", "metrics-address"} {
		if !strings.Contains(string(pages["fairway.yaml.5"]), roff(want)) {
			t.Errorf("fairway.yaml(5) lacks %s", want)
		}
	}
	for _, want := range []string{"antispoof", "macvlan_mode"} {
		if !strings.Contains(string(pages["fairway-options.7"]), want) {
			t.Errorf("fairway-options(7) lacks %s", want)
		}
	}
}
