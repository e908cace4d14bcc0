//go:build release

package service

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// one returns the file of a directory that fits a pattern.
func one(t *testing.T, dir, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(found) != 1 {
		t.Fatalf("%s in %s: %v, %v", pattern, dir, found, err)
	}
	return found[0]
}

// TestDeb: the package on a fresh Debian, from the installation to the purge.
func TestDeb(t *testing.T) {
	t.Parallel()
	first, second := release(t, "0.1.0"), release(t, "0.2.0")
	dir := programs(t)
	for name, from := range map[string]string{"first.deb": first, "second.deb": second} {
		if err := os.Link(one(t, from, "*.deb"), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	m := boot(t, dir)
	m.docker()
	before := m.files()
	is := func(line, want string) {
		t.Helper()
		if got := m.sh(line + " || :"); got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}

	m.sh("dpkg -i /files/first.deb")
	is("systemctl is-enabled fairway.socket fairway.service", "enabled\nenabled")
	is("systemctl is-active fairway.socket fairway.service", "active\nactive")
	m.sh("fairway status --check ready --wait 20s")
	is("fairway version | cut -d' ' -f2", "0.1.0")
	m.pair()
	m.sh(pingAB)
	m.sh("echo 'log-level: debug' >>/etc/fairway/fairway.yaml && systemctl reload fairway")
	is("fairway config show --running --origin | grep ^log-level | tr -s ' '", "log-level debug /etc/fairway/fairway.yaml:"+m.sh("wc -l </etc/fairway/fairway.yaml"))

	m.during(func() { m.sh("dpkg -i /files/second.deb") })
	m.sh("fairway status --check ready --wait 20s")
	is("fairway status --json | sed -n 's/.*\"version\": \"\\(.*\\)\".*/\\1/p'", "0.2.0")
	is("tail -n 1 /etc/fairway/fairway.yaml", "log-level: debug")
	is("fairway endpoints -q | wc -l", "2")

	m.during(func() { m.sh("dpkg -r fairway") })
	is("systemctl is-active fairway.socket fairway.service", "inactive\ninactive")
	is("ls /etc/fairway/fairway.yaml /var/lib/fairway/fairway.db /usr/bin/fairway 2>/dev/null", "/etc/fairway/fairway.yaml\n/var/lib/fairway/fairway.db")
	m.sh("dpkg -i /files/second.deb")
	m.sh("fairway status --check ready --wait 20s && " + pingAB)

	out := m.sh("dpkg -P fairway 2>&1") // refused as far as it would cut containers off
	if !strings.Contains(out, "2 containers are attached") {
		t.Errorf("purge with containers:\n%s", out)
	}
	m.sh(pingAB)
	m.sh("dpkg -i /files/second.deb && fairway status --check ready --wait 20s")
	m.sh("docker rm -f left right")
	m.sh("dpkg -P fairway")
	m.nothingLeft(before)
}

// TestInstall: the same by fairway install, from one file.
func TestInstall(t *testing.T) {
	t.Parallel()
	m := boot(t, programs(t, "1", "2"))
	m.docker()
	before := m.files()
	m.sh("/files/fairway1 install && fairway status --check ready --wait 20s")
	m.pair()
	m.sh(pingAB)
	m.journal()
	m.during(func() { m.sh("/files/fairway2 install && fairway status --check ready --wait 20s") })
	if got := m.sh("fairway status"); !strings.HasPrefix(got, "fairway 2,") {
		t.Errorf("after the upgrade: %s", got)
	}
	m.sh("/files/fairway2 install --replace-plugin && test -S /run/docker/plugins/fairway:latest.sock")
	if out, err := m.try("fairway uninstall --purge"); err == nil || !strings.Contains(out, "2 containers are attached") {
		t.Errorf("purge with containers: %v\n%s", err, out)
	}
	m.during(func() { m.sh("/files/fairway2 uninstall") })
	kept := []string{"/etc/default/fairway", "/etc/fairway", "/etc/fairway/fairway.yaml", "/var/lib/fairway"} // what a purge takes
	for _, path := range m.left(before) {
		if !slices.Contains(kept, path) && !strings.HasPrefix(path, "/var/lib/fairway/") {
			t.Errorf("%s is left by uninstall", path)
		}
	}
	m.sh("/files/fairway2 install && fairway status --check ready --wait 20s && " + pingAB + " && " + askRight)
	m.sh("docker rm -f left right")
	m.sh("fairway uninstall --purge")
	m.nothingLeft(before)
}
