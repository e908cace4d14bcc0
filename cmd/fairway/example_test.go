package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/spf13/pflag"
)

// The example file has every setting, with its default.
func TestExampleFile(t *testing.T) {
	text, err := os.ReadFile("../../packaging/fairway.yaml")
	if err != nil {
		t.Fatal(err)
	}
	active := regexp.MustCompile(`(?m)^#([a-z])`).ReplaceAllString(string(text), "$1")
	path := filepath.Join(t.TempDir(), "fairway.yaml")
	if err := os.WriteFile(path, []byte(active), 0o600); err != nil {
		t.Fatal(err)
	}
	var want, got config
	want.flags(pflag.NewFlagSet("", pflag.ContinueOnError))
	fs := pflag.NewFlagSet("daemon", pflag.ContinueOnError)
	got.flags(fs)
	none := func(string) (string, bool) { return "", false }
	if _, err := fillSettings(fs, none, path, true); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
		t.Errorf("defaults (-daemon +file):\n%s", d)
	}
	fs.VisitAll(func(f *pflag.Flag) {
		if !strings.Contains(string(text), "\n#"+f.Name+":") {
			t.Errorf("setting %s is missing", f.Name)
		}
	})
}
