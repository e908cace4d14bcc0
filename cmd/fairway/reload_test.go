package main

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"fairway/admin"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"
)

// sourceWith returns the source of a command line, an environment and a file.
func sourceWith(t *testing.T, file string, env map[string]string, args ...string) source {
	t.Helper()
	var c config
	fs := pflag.NewFlagSet("daemon", pflag.ContinueOnError)
	c.flags(fs)
	configFlag(fs)
	if err := fs.Parse(append(args, "--config", file)); err != nil {
		t.Fatal(err)
	}
	s := newSource(fs)
	s.env = func(k string) (string, bool) { v, ok := env[k]; return v, ok }
	return s
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// each picks a field of every setting, by name.
func each(all []admin.Setting, field func(admin.Setting) string) map[string]string {
	out := map[string]string{}
	for _, s := range all {
		if v := field(s); v != "" && v != "default" {
			out[s.Name] = v
		}
	}
	return out
}

func TestOrigins(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f.yaml")
	writeFile(t, file, "# a remark\nlog-level: debug\nstate-dir: /file\nfirewall: iptables\nip-forward:\n")
	_, all, err := sourceWith(t, file, map[string]string{"FAIRWAY_STATE_DIR": "/env", "FAIRWAY_FIREWALL": "nftables", "FAIRWAY_LOG_FORMAT": ""},
		"--firewall", "auto", "--default-address-pool", "base=10.0.0.0/8,size=24", "--default-address-pool", "base=fd00::/48,size=64").read()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"log-level": file + ":2", "state-dir": "environment FAIRWAY_STATE_DIR",
		"firewall": "flag", "default-address-pool": "flag",
	}
	if d := cmp.Diff(want, each(all, func(s admin.Setting) string { return s.Origin })); d != "" {
		t.Errorf("origins (-want +got):\n%s", d)
	}
	i := slices.IndexFunc(all, func(s admin.Setting) bool { return s.Name == "default-address-pool" })
	if all[i].Value != "base=10.0.0.0/8,size=24 base=fd00::/48,size=64" {
		t.Errorf("pools %q", all[i].Value)
	}
}

// TestReload: what can change does at SIGHUP, once all is right; the rest waits,
// and is said.
func TestReload(t *testing.T) {
	states := notifications(t)
	file := filepath.Join(t.TempDir(), "f.yaml")
	writeFile(t, file, "log-level: info\nfirewall: auto\n")
	from := sourceWith(t, file, nil)
	cfg, settings, err := from.read()
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	log := newLog(&text, cfg, false)
	applied := make(chan config, 1)
	d := testDaemon(t, t.TempDir(), func(p *parts) {
		p.apply = func(c config) error { applied <- c; return nil }
	})
	d.log = log
	d.tuner = &tuner{read: from.read, now: settings, log: log, apply: []func(config) error{
		func(c config) error { setLog(log, c, false); return nil },
	}}
	stop := start(t, d)
	told := func(prefix string) {
		t.Helper()
		for state := range states {
			if strings.HasPrefix(state, prefix) {
				return
			}
		}
	}
	told("STATUS=fairway")
	hangUp := func(content string) {
		t.Helper()
		writeFile(t, file, content)
		if err := unix.Kill(os.Getpid(), unix.SIGHUP); err != nil {
			t.Fatal(err)
		}
		told("RELOADING=1\nMONOTONIC_USEC=")
		told("READY=1")
	}
	client := admin.NewClient(d.config.AdminSocket)
	shows := func(values, next map[string]string) {
		t.Helper()
		reply, err := client.Settings(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got := each(reply.Settings, func(s admin.Setting) string {
			if s.Origin == "default" {
				return ""
			}
			return s.Value
		})
		if d := cmp.Diff(values, got); d != "" {
			t.Errorf("settings (-want +got):\n%s", d)
		}
		got = each(reply.Settings, func(s admin.Setting) string {
			if s.Next == nil {
				return ""
			}
			return *s.Next
		})
		if d := cmp.Diff(next, got); d != "" {
			t.Errorf("waits for the next start (-want +got):\n%s", d)
		}
	}

	hangUp("log-level: debug\nfirewall: iptables\ndefault-address-pool: base=10.0.0.0/8,size=24\n")
	if c := <-applied; len(c.DefaultPools) != 1 || c.DefaultPools[0].Base != netip.MustParsePrefix("10.0.0.0/8") {
		t.Errorf("applied %+v", c)
	}
	if log.GetLevel() != logrus.DebugLevel {
		t.Errorf("level %s", log.GetLevel())
	}
	running := map[string]string{"log-level": "debug", "firewall": "auto", "default-address-pool": "base=10.0.0.0/8,size=24"}
	shows(running, map[string]string{"firewall": "iptables"})

	hangUp("log-level: trace\nfirewal: auto\n") // a mistake changes nothing
	shows(running, map[string]string{"firewall": "iptables"})
	select {
	case c := <-applied:
		t.Errorf("a file with a mistake was applied: %+v", c)
	default:
	}

	hangUp("firewall: auto\n") // back
	<-applied
	shows(map[string]string{"firewall": "auto"}, map[string]string{})
	if err := stop(); err != nil {
		t.Error(err)
	}
	for _, line := range []string{
		`reload: takes effect when the daemon starts again" from=auto origin="` + file + `:2" setting=firewall to=iptables`,
		`key \"firewal\": unknown; nearest is \"firewall\"`,
		`reload: changed" from=info origin="` + file + `:1" setting=log-level to=debug`,
	} {
		if !strings.Contains(text.String(), line) {
			t.Errorf("the log doesn't say %q:\n%s", line, text.String())
		}
	}
}

// What config show prints is a file that says the same.
func TestShownSettingsAreAFile(t *testing.T) {
	dir := t.TempDir()
	file, again := filepath.Join(dir, "f.yaml"), filepath.Join(dir, "g.yaml")
	writeFile(t, file, "docker-socket: \"\"\nstate-dir: \"/a b/\\\"c\\\": #d\"\nadmin-socket: \"/x\\\\y/ü\"\ndefault-address-pool:\n  - base=10.0.0.0/8,size=24\n  - base=fd00::/48,size=64\n")
	want, all, err := sourceWith(t, file, nil).read()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err = printSettings(&out, admin.Settings{Settings: all}); err != nil {
		t.Fatal(err)
	}
	writeFile(t, again, out.String())
	got, _, err := sourceWith(t, again, nil).read()
	if d := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); d != "" || err != nil {
		t.Errorf("%v, (-want +got):\n%s\nof:\n%s", err, d, out.String())
	}
}
