//go:build release

package service

import (
	"bufio"
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

// diskScript makes a machine's disk in the directory $2: a copy of the file tree
// $1 that is thrown away, with what is in $2/files in /files. It is there as long
// as its process, over all boots.
const diskScript = `set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$2/disk"
cd "$2/disk"
mkdir upper work root
mount -t overlay overlay -o "lowerdir=$1,upperdir=upper,workdir=work" root
cd root
mkdir -p files old var/lib/docker sys/fs/cgroup dev var/log etc/systemd/system/docker.service.d
mount --bind "$2/files" files
mount -t tmpfs tmpfs var/lib/docker
# This engine reaches no firewall but its own, and has no D-Bus.
printf '[Service]\nExecStart=\nExecStart=/usr/sbin/dockerd -H unix:///run/docker.sock --exec-opt native.cgroupdriver=cgroupfs --storage-driver vfs\nType=notify\n' >etc/systemd/system/docker.service.d/test.conf
: >var/lib/dpkg/status
echo 0123456789abcdef0123456789abcdef >etc/machine-id # not the first boot, which enables all that there is
printf '[Unit]\nDescription=Test\nWants=multi-user.target\n' >etc/systemd/system/default.target
echo ready
exec sleep infinity
`

// bootScript boots the machine from its disk $1, with devices, control groups and
// a network of its own.
const bootScript = `set -e
cd "$1/disk/root"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
for d in run tmp dev; do mount -t tmpfs tmpfs $d; done
for d in null zero full random urandom tty; do : >dev/$d; mount --bind /dev/$d dev/$d; done
mkdir -p dev/shm dev/pts dev/mqueue dev/hugepages run/lock
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ip link set lo up
pivot_root . old
umount -l old
exec /lib/systemd/systemd --system --log-target=journal --show-status=0
`

// apart puts the script's process into a control group of its own: systemd takes
// the one it begins in for the root of all.
const apart = `set -e
at=$(sed -n 's/^cgroup2\? \([^ ]*\) cgroup2 .*/\1/p' /proc/self/mounts | head -n 1)/fairway-service-$1
mkdir -p "$at"
echo $$ >"$at/cgroup.procs"
echo "$at" >"$2/cgroup"
shift 2
exec "$@"
`

// A machine is a Debian that systemd runs.
type machine struct {
	t     *testing.T
	dir   string
	disk  *exec.Cmd
	init  *exec.Cmd // the parent of its systemd; nil: it is off
	pid   string    // of its systemd, in this process's namespace
	sends int       // how many containers were told to send
}

// boot starts a new machine that has the files of a directory in /files.
func boot(t *testing.T, files string) *machine {
	t.Helper()
	m := &machine{t: t, dir: t.TempDir()}
	if err := os.MkdirAll(filepath.Join(m.dir, "disk"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(files, filepath.Join(m.dir, "files")); err != nil {
		t.Fatal(err)
	}
	m.disk = m.command("unshare", "-m", "sh", "-c", diskScript, "disk", tree(t, "host"), m.dir)
	m.disk.Stdout = nil
	out, err := m.disk.StdoutPipe()
	if err == nil {
		err = m.disk.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			m.tell()
		}
		m.off()
		_ = m.disk.Process.Kill()
		_ = m.disk.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("make a disk: %q, %v", line, err)
	}
	m.on()
	return m
}

// command makes a command that ends with the test, and writes on the console.
func (m *machine) command(args ...string) *exec.Cmd {
	console, err := os.OpenFile(filepath.Join(m.dir, "console"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { console.Close() })
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "container=other", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stdout, cmd.Stderr = console, console
	return cmd
}

// on boots the machine, and waits until systemd has started what it is to.
func (m *machine) on() {
	m.t.Helper()
	m.init = m.command("sh", "-c", apart, "apart", fmt.Sprint(m.disk.Process.Pid), m.dir,
		"nsenter", "-t", fmt.Sprint(m.disk.Process.Pid), "-m",
		"unshare", "-m", "-p", "-f", "--kill-child=KILL", "-n", "-C", "-u", "-i", "sh", "-c", bootScript, "boot", m.dir)
	if err := m.init.Start(); err != nil {
		m.init = nil
		m.t.Fatal(err)
	}
	children := fmt.Sprintf("/proc/%[1]d/task/%[1]d/children", m.init.Process.Pid)
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
}

// off takes the power away.
func (m *machine) off() {
	if m.init == nil {
		return
	}
	_ = m.init.Process.Kill()
	_ = m.init.Wait()
	m.init = nil
	// The kernel ends the processes of the machine one after the other.
	at, err := os.ReadFile(filepath.Join(m.dir, "cgroup"))
	for end := time.Now().Add(10 * time.Second); err == nil && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if exec.Command("find", strings.TrimSpace(string(at)), "-depth", "-type", "d", "-exec", "rmdir", "{}", "+").Run() == nil {
			return
		}
	}
	m.t.Errorf("control group %s isn't empty after the machine's end: %v", at, err)
}

// shutdown has systemd stop all and end the machine.
func (m *machine) shutdown() {
	m.t.Helper()
	m.sh("systemctl --no-block reboot")
	ended := make(chan struct{})
	go func() {
		_ = m.init.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(2 * time.Minute):
		m.t.Error("the machine doesn't go down")
	}
	m.off()
}

// tell logs what the machine said.
func (m *machine) tell() {
	text, _ := os.ReadFile(filepath.Join(m.dir, "console"))
	journal := ""
	if m.init != nil {
		journal, _ = m.try("journalctl --no-pager -n 80 -u fairway.service -u fairway.socket -u docker.service; systemctl status --no-pager fairway.service; systemctl list-jobs --no-pager")
	}
	m.t.Logf("console:\n%s\njournal:\n%s", text, journal)
}

// try runs a line of shell on the machine.
func (m *machine) try(line string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "nsenter", "-t", m.pid, "-m", "-p", "-n", "-u", "-i", "-C", "-r", "-w", "--",
		"/usr/bin/env", "-i", "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "DEBIAN_FRONTEND=noninteractive", "sh", "-c", line)
	cmd.WaitDelay = time.Second // what it leaves in the background keeps the pipe
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState != nil && cmd.ProcessState.Success() {
		err = nil
	}
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
	for end := time.Now().Add(3 * time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
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
