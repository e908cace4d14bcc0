package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

const unitDir = "../../packaging/systemd"

// unitSettings returns the values of each key of a unit file, in order.
func unitSettings(t *testing.T, name string) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(unitDir, name))
	if err != nil {
		t.Fatal(err)
	}
	values := map[string][]string{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line[0] == '[' {
			continue
		}
		k, v, ok := strings.Cut(line, "=")
		if !ok || strings.TrimSpace(k) != k {
			t.Fatalf("%s: line %q", name, line)
		}
		values[k] = append(values[k], v)
	}
	return values
}

// The units and the daemon must agree on paths and codes.
func TestUnitsFitTheDaemon(t *testing.T) {
	var c config
	c.flags(pflag.NewFlagSet("daemon", pflag.ContinueOnError))
	socket := unitSettings(t, "fairway.socket")
	if got, want := socket["ListenStream"], []string{c.Socket, c.ipvlanSocket(), c.AdminSocket}; !slices.Equal(got, want) {
		t.Errorf("ListenStream %q, want the daemon's own paths %q", got, want)
	}
	if got, want := unitSettings(t, "replace-plugin.conf")["ListenStream"], []string{c.replacedSocket()}; !slices.Equal(got, want) {
		t.Errorf("replace-plugin.conf: ListenStream %q, want %q", got, want)
	}
	service := unitSettings(t, "fairway.service")
	for k, want := range map[string]string{
		"Type":                     "notify",
		"RestartPreventExitStatus": "2", // exitUsage
		"Requires":                 "fairway.socket",
		"Before":                   "docker.service",
		"StateDirectory":           filepath.Base(c.StateDir),
		"RuntimeDirectory":         filepath.Base(filepath.Dir(c.AdminSocket)),
		// The socket unit's socket is in that directory.
		"RuntimeDirectoryPreserve": "yes",
		"NoNewPrivileges":          "yes",
		"LimitNOFILE":              "1048576", // a file per published port
		"ProtectSystem":            "strict",
		"CapabilityBoundingSet":    "CAP_NET_ADMIN CAP_NET_RAW CAP_NET_BIND_SERVICE CAP_SYS_ADMIN",
	} {
		if got := service[k]; !slices.Equal(got, []string{want}) {
			t.Errorf("fairway.service: %s=%q, want %q", k, got, want)
		}
	}
	if got := socket["SocketMode"]; !slices.Equal(got, []string{"0600"}) {
		t.Errorf("fairway.socket: SocketMode=%q, want 0600", got)
	}
}
