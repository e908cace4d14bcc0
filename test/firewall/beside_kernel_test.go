//go:build kernel

package firewall

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A machine runs programs of a root directory (test/engines/prepare) on the
// host's network, in mount and PID namespaces of its own: what they write is
// gone with it, and this machine's own configuration isn't touched.
type machine struct {
	host *namespace
	run  string // its /run, as the test sees it
	init *exec.Cmd
}

// enter is what makes the machine: a layer of memory over the root, and what the
// kernel shows of the namespaces. It then waits for the end of its input.
const enter = `set -e
mount --make-rprivate /
mount -t tmpfs none "$2"
mkdir "$2/upper" "$2/work" "$2/root"
mount -t overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" none "$2/root"
mount --bind "$3" "$2/root/run"
mount --bind /dev "$2/root/dev"
mount -t proc proc "$2/root/proc"
mount -t sysfs sysfs "$2/root/sys"
exec chroot "$2/root" /bin/sh -c 'echo ready; read end'
`

// newMachine makes one of the roots' machines on a host.
func newMachine(t *testing.T, host *namespace, root string) *machine {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "../engines/prepare", root).Output()
	var stderr []byte
	if e, ok := err.(*exec.ExitError); ok { //nolint:errorlint // exec's own
		stderr = e.Stderr
	}
	f := strings.Fields(string(out))
	if err != nil || len(f) != 3 {
		t.Fatalf("prepare %s: %v: %q\n%s", root, err, out, stderr)
	}
	t.Logf("%s %s", f[0], f[2])
	m := &machine{host: host, run: filepath.Join(t.TempDir(), "run")}
	if err := os.Mkdir(m.run, 0o755); err != nil {
		t.Fatal(err)
	}
	var complaint bytes.Buffer
	m.init = exec.Command("/bin/sh", "-c", enter, "enter", f[1], t.TempDir(), m.run)
	m.init.SysProcAttr = &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID}
	m.init.Stderr = &complaint
	end, err := m.init.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	ready, err := m.init.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	host.do(func() { err = m.init.Start() })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		end.Close()
		_ = m.init.Wait()
	})
	if line := make([]byte, 6); true {
		if _, err := ready.Read(line); err != nil {
			t.Fatalf("machine of %s: %v: %s", root, err, complaint.String())
		}
	}
	return m
}

// command makes a command that runs in the machine.
func (m *machine) command(ctx context.Context, command ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "nsenter", append([]string{
		"--target", fmt.Sprint(m.init.Process.Pid), "--mount", "--pid", "--net", "--root", "--wd=/", "--",
	}, command...)...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin", "LANG=C", "PYTHONDONTWRITEBYTECODE=1"}
	cmd.WaitDelay = time.Second
	return cmd
}

// do runs a command in the machine and returns what it prints.
func (m *machine) do(t *testing.T, command ...string) string {
	t.Helper()
	out, err := m.command(t.Context(), command...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(command, " "), err, out)
	}
	return string(out)
}

// start runs a program until the function that it returns is called, or the
// test ends.
func (m *machine) start(t *testing.T, command ...string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := m.command(ctx, command...)
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true} // nsenter's child is what must end
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second // for that to close its output
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	stop = func() {
		cancel()
		<-ended
	}
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			t.Logf("%s:\n%s", command[0], log.String())
		}
	})
	return stop
}

// within waits until a condition holds.
func within(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !holds(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 60 s", what)
		}
	}
}
