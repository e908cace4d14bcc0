//go:build release

package service

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestReproducible: the same sources make the same bytes.
func TestReproducible(t *testing.T) {
	t.Parallel()
	var sums []string
	for _, dir := range []string{release(t, "0.1.0"), makeRelease(t, t.TempDir(), "0.1.0")} {
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

// TestLintian: Debian's linter has nothing to say, but for the overrides.
func TestLintian(t *testing.T) {
	t.Parallel()
	if out := lint(t, release(t, "0.1.0"), "lintian --allow-root --no-cfg --fail-on error,warning /files/*.deb"); out != "" {
		t.Errorf("lintian:\n%s", out)
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
	if out := lint(t, dir, "promtool check rules /files/alerts.yaml"); !strings.Contains(out, "SUCCESS: 20 rules found") {
		t.Errorf("rules:\n%s", out)
	}
}
