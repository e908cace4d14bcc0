//go:build release

package service

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"fairway/event"
)

// release makes a release of a version for this machine and returns its directory.
func release(t *testing.T, version string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), version)
	cmd := exec.CommandContext(t.Context(), "../../packaging/release/make", dir, version, runtime.GOARCH)
	cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=1790000000")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make release: %v\n%s", err, out)
	}
	return dir
}

// one returns the file of a directory that fits a pattern.
func one(t *testing.T, dir, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(found) != 1 {
		t.Fatalf("%s in %s: %v, %v", pattern, dir, found, err)
	}
	return found[0]
}

// docker starts the machine's engine and gives it an image, box.
func (m *machine) docker() {
	m.t.Helper()
	m.sh("systemctl start docker")
	m.sh("mkdir -p /tmp/box/bin && cp /bin/busybox /tmp/box/bin/ && tar -c -C /tmp/box . | docker import - box")
}

// run starts a container that stays, on the network web.
func (m *machine) run(name string) {
	m.t.Helper()
	m.sh("docker run -d --name " + name + " --network web box /bin/busybox sleep 100000")
}

const pingAB = "docker exec left /bin/busybox ping -c 1 -w 5 right"

// during runs f while left sends right 20 packets a second, none of which may be
// lost: the answers are numbered.
func (m *machine) during(f func()) {
	m.t.Helper()
	m.pings++
	file := fmt.Sprintf("/out%d", m.pings)
	m.sh("docker exec -d left /bin/busybox sh -c '/bin/busybox ping -i 0.05 right >" + file + "'")
	m.await("the first answers", func() error { return m.answered(file, 20) })
	f()
	m.await("more answers", func() error { return m.answered(file, 20) })
	out := m.sh("docker exec left /bin/busybox cat " + file)
	for i, answer := range regexp.MustCompile(`seq=(\d+) `).FindAllStringSubmatch(out, -1) {
		if answer[1] != strconv.Itoa(i) {
			m.t.Errorf("packet %d was lost: the next answer is %s", i, answer[1])
			return
		}
	}
}

// answered reports an error unless more than least answers came, and the last
// of them a moment ago.
func (m *machine) answered(file string, least int) error {
	count := "docker exec left /bin/busybox wc -l " + file + " | cut -d' ' -f1"
	was, err := m.try(count)
	if err != nil {
		return err
	}
	time.Sleep(500 * time.Millisecond)
	is, err := m.try(count)
	if n, _ := strconv.Atoi(is); err == nil && (n < least || was == is) {
		err = fmt.Errorf("%s answers, then %s", was, is)
	}
	return err
}

// files lists what is on the machine's disk, but what Docker, systemd and dpkg
// keep for themselves.
func (m *machine) files() string {
	m.t.Helper()
	return m.sh(`find / -xdev \( -path /files -o -path /root -o -path /var/lib/docker -o -path /var/lib/containerd -o -path /var/lib/systemd ` +
		`-o -path /var/lib/dpkg -o -path /var/log -o -path /var/cache -o -path /etc/docker -o -path /opt -o -path /var/tmp \) -prune -o -print | sort`)
}

// nothingLeft compares the machine with what it was, and its kernel with one that
// never saw fairway.
func (m *machine) nothingLeft(before string) {
	m.t.Helper()
	had := map[string]bool{}
	for _, path := range strings.Fields(before) {
		had[path] = true
	}
	for _, path := range strings.Fields(m.files()) {
		if !had[path] {
			m.t.Errorf("%s is left", path)
		}
	}
	for what, line := range map[string]string{
		"links":  "ip -o link | grep ' fw' || :",
		"tables": "nft list tables | grep fairway || :",
		"chains": "iptables-save | grep -i fairway || :; ip6tables-save | grep -i fairway || :",
		"rules":  "ip rule | grep 'proto 102' || :; ip -6 rule | grep 'proto 102' || :",
		"routes": "ip route show table 4000; ip route show table 4001; ip -6 route show table 4000; ip -6 route show table 4001",
		"units":  "systemctl list-unit-files --no-legend 'fairway*'; systemctl --failed --no-legend 'fairway*'",
	} {
		if out, _ := m.try(line + " 2>/dev/null"); out != "" && !strings.Contains(out, "does not exist") {
			m.t.Errorf("%s are left:\n%s", what, out)
		}
	}
}

// TestDeb: the package on a fresh Debian, from the installation to the purge.
func TestDeb(t *testing.T) {
	first, second := release(t, "0.1.0"), release(t, "0.2.0")
	t.Run("reproducible", func(t *testing.T) { reproducible(t, first, release(t, "0.1.0")) })
	t.Run("lintian", func(t *testing.T) { lintian(t, first) })
	dir := t.TempDir()
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
	m.sh("docker network create -d fairway --ipam-driver fairway web")
	m.run("left")
	m.run("right")
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

// reproducible: the same sources make the same bytes.
func reproducible(t *testing.T, dirs ...string) {
	var sums []string
	for _, dir := range dirs {
		text, err := os.ReadFile(filepath.Join(dir, "SHA256SUMS"))
		if err != nil {
			t.Fatal(err)
		}
		sums = append(sums, string(text))
	}
	if sums[0] != sums[1] || strings.Count(sums[0], "\n") != 5 {
		t.Errorf("first\n%sthen\n%s", sums[0], sums[1])
	}
}

// lintian: Debian's linter has nothing to say, but for the overrides.
func lintian(t *testing.T, dir string) {
	if out := lint(t, dir, "lintian --allow-root --no-cfg --fail-on error,warning /files/*.deb"); out != "" {
		t.Errorf("lintian:\n%s", out)
	}
}

// TestInstall: the same by fairway install, from one file.
func TestInstall(t *testing.T) {
	dir := t.TempDir()
	for _, version := range []string{"1", "2"} {
		cmd := exec.CommandContext(t.Context(), "go", "build", "-ldflags", "-X main.version="+version, "-o", filepath.Join(dir, "fairway"+version), "../../cmd/fairway")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	m := boot(t, dir)
	m.docker()
	before := m.files()
	m.sh("/files/fairway1 install && fairway status --check ready --wait 20s")
	m.sh("docker network create -d fairway --ipam-driver fairway web")
	m.run("left")
	m.run("right")
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
	m.sh("/files/fairway2 uninstall && " + pingAB)
	m.sh("/files/fairway2 install && fairway status --check ready --wait 20s && " + pingAB)
	m.sh("docker rm -f left right")
	m.sh("fairway uninstall --purge")
	m.nothingLeft(before)
}

// journal: what happened to two containers is found in the journal by the kind of
// event and by fields, and explained by the catalogue.
func (m *machine) journal() {
	m.t.Helper()
	for _, k := range event.Kinds() {
		if k.Name != event.Attach {
			continue
		}
		m.sh("journalctl --sync")
		found := m.sh("journalctl -q -o json --output-fields=ENDPOINT,SYSLOG_IDENTIFIER,_SYSTEMD_UNIT MESSAGE_ID=" + k.ID)
		if strings.Count(found, `"ENDPOINT":"`) != 2 || strings.Count(found, `"_SYSTEMD_UNIT":"fairway.service"`) != 2 || strings.Count(found, `"SYSLOG_IDENTIFIER":"fairway"`) != 2 {
			m.t.Errorf("two containers were attached; the journal has\n%s", found)
		}
		if text := m.sh("journalctl -q -x -n 1 MESSAGE_ID=" + k.ID); !strings.Contains(text, k.Title) || strings.Contains(text, "@NETWORK@") {
			m.t.Errorf("journalctl -x explains it with\n%s", text)
		}
	}
}

// lint runs a line in the tree of linters, with files in /files.
func lint(t *testing.T, files, line string) string {
	t.Helper()
	const script = `set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$3"
cd "$3"
mkdir upper work root
mount -t overlay overlay -o "lowerdir=$1,upperdir=upper,workdir=work" root
mkdir -p root/files
mount --bind "$2" root/files
mount -t proc proc root/proc
for d in null zero urandom; do : >root/dev/$d; mount --bind /dev/$d root/dev/$d; done
ln -sf debian root/etc/dpkg/origins/default
exec chroot root sh -c "$4"
`
	cmd := exec.CommandContext(t.Context(), "unshare", "-m", "-p", "-f", "-n", "sh", "-c", script, "lint", tree(t, "lint"), files, t.TempDir(), line)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/tmp", "LC_ALL=C"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Sprintf("%s%v", out, err)
	}
	return string(out)
}

// TestPromtool: Prometheus's own tool takes the metrics and the alert rules.
func TestPromtool(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{"../../packaging/monitoring/alerts.yaml", "../../metrics/testdata/full.prom"} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(path)), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out := lint(t, dir, "promtool check metrics </files/full.prom"); out != "" {
		t.Errorf("metrics:\n%s", out)
	}
	if out := lint(t, dir, "promtool check rules /files/alerts.yaml"); !strings.Contains(out, "SUCCESS: 17 rules found") {
		t.Errorf("rules:\n%s", out)
	}
}
