//go:build release

package service

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// bootScript makes a machine of the file tree $1 in the directory $2 and boots
// it: a copy of the tree that is thrown away, with devices, empty control groups
// and a network of its own. What is in $2/files is in its /files.
const bootScript = `set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$2/disk"
cd "$2/disk"
mkdir upper work root
mount -t overlay overlay -o "lowerdir=$1,upperdir=upper,workdir=work" root
cd root
mkdir -p files var/lib/docker sys/fs/cgroup dev/shm dev/pts var/log etc/systemd/system/docker.service.d
mount --bind "$2/files" files
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
for d in run tmp dev var/lib/docker; do mount -t tmpfs tmpfs $d; done
for d in null zero full random urandom tty; do : >dev/$d; mount --bind /dev/$d dev/$d; done
mkdir -p dev/shm dev/pts dev/mqueue dev/hugepages run/lock
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
# This engine reaches no firewall but its own, and has no D-Bus.
printf '[Service]\nExecStart=\nExecStart=/usr/sbin/dockerd -H unix:///run/docker.sock --exec-opt native.cgroupdriver=cgroupfs --storage-driver vfs\nType=notify\n' >etc/systemd/system/docker.service.d/test.conf
: >var/lib/dpkg/status
ln -s /bin/busybox usr/bin/diff # dpkg wants one
echo 0123456789abcdef0123456789abcdef >etc/machine-id # not the first boot, which enables all that there is
printf '[Unit]\nDescription=Test\nWants=multi-user.target\n' >etc/systemd/system/default.target
ip link set lo up
mkdir -p old
pivot_root . old
umount -l old
exec /lib/systemd/systemd --system --log-target=journal --show-status=0
`

// A machine is a Debian that runs.
type machine struct {
	t     *testing.T
	pid   string // of its systemd, in this process's namespace
	dir   string
	pings int // how many were begun
}

// boot starts a machine that has the files of a directory in /files.
func boot(t *testing.T, files string) *machine {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "disk"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(files, filepath.Join(dir, "files")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, "unshare", "-m", "-p", "-f", "--kill-child=KILL", "-n", "-C", "-u", "-i",
		"sh", "-c", bootScript, "boot", tree(t, "host"), dir)
	cmd.Env = append(os.Environ(), "container=other", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log, err := os.Create(filepath.Join(dir, "console"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	m := &machine{t: t, dir: dir}
	t.Cleanup(func() {
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			journal, _ := m.try("journalctl --no-pager -n 60 -u fairway.service -u fairway.socket -u docker.service; systemctl status --no-pager fairway.service")
			t.Logf("console:\n%s\njournal:\n%s", text, journal)
		}
		cancel()
		_ = cmd.Wait()
	})
	children := fmt.Sprintf("/proc/%d/task/%d/children", cmd.Process.Pid, cmd.Process.Pid)
	m.await("systemd", func() error {
		text, err := os.ReadFile(children)
		if m.pid = strings.TrimSpace(string(text)); err != nil || m.pid == "" {
			return fmt.Errorf("%s: %q, %w", children, text, err)
		}
		if out, err := m.try("systemctl is-active multi-user.target"); err != nil {
			return fmt.Errorf("%s: %w", out, err)
		}
		return nil
	})
	return m
}

// try runs a line of shell on the machine.
func (m *machine) try(line string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "nsenter", "-t", m.pid, "-m", "-p", "-n", "-u", "-i", "-C", "-r", "-w", "--",
		"/usr/bin/env", "-i", "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "DEBIAN_FRONTEND=noninteractive", "sh", "-c", line)
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// sh runs a line that must succeed, and returns what it prints.
func (m *machine) sh(line string) string {
	m.t.Helper()
	out, err := m.try(line)
	if err != nil {
		m.t.Fatalf("%s: %v\n%s", line, err, out)
	}
	return out
}

// await repeats what fails until it succeeds, for a while.
func (m *machine) await(what string, f func() error) {
	m.t.Helper()
	var err error
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if err = f(); err == nil {
			return
		}
	}
	m.t.Fatalf("%s: %v", what, err)
}

// tree returns the directory of a file tree that test/engines/prepare makes.
func tree(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "../engines/prepare", name).Output()
	fields := strings.Fields(string(out))
	if err != nil || len(fields) < 2 {
		t.Fatalf("prepare %s: %v: %s", name, err, out)
	}
	return fields[1]
}
