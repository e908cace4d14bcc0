package lab

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// commandTime bounds every command that a test runs in a machine. It is long
// because some tests keep the machine busy with hundreds of them.
const commandTime = 5 * time.Minute

// A Machine is a set of namespaces with a root directory of its own, like a
// computer on a LAN. Its first process is the probe's init.
type Machine struct {
	Name string

	tools *Tools
	root  Engine
	dir   string // writable layer, data, logs; stays over a reboot
	init  *exec.Cmd
	stdin io.Closer
	binds []string
	args  []string
}

func newMachine(tools *Tools, root Engine, name string, args ...string) (*Machine, error) {
	dir, err := os.MkdirTemp(tools.dir, name+"-")
	if err != nil {
		return nil, err
	}
	return &Machine{
		Name: name, tools: tools, root: root, dir: dir, args: args,
		binds: []string{tools.bin() + ":/fw", filepath.Dir(root.Root) + ":/engines", dir + "/log:/log"},
	}, nil
}

// boot starts the machine's first process and waits until its root is there.
func (m *Machine) boot() error {
	args := append([]string{"init", m.dir, "-root", m.root.Root, "-name", m.Name}, m.args...)
	for _, b := range m.binds {
		args = append(args, "-bind", b)
	}
	m.init = exec.Command(filepath.Join(m.tools.bin(), "probe"), args...)
	m.init.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
		Setpgid:    true, // an interrupt at the terminal is the test process' to handle
	}
	var complaint bytes.Buffer
	m.init.Stderr = &complaint
	m.init.Env = []string{"PATH=/usr/sbin:/usr/bin:/fw"}
	stdin, err := m.init.StdinPipe()
	if err != nil {
		return err
	}
	m.stdin = stdin
	stdout, err := m.init.StdoutPipe()
	if err != nil {
		return err
	}
	if err := m.init.Start(); err != nil {
		return fmt.Errorf("lab: start %s: %w", m.Name, err)
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
		return errors.Join(fmt.Errorf("lab: start %s: %w: %s", m.Name, err, complaint.String()), m.off())
	}
	_, err = m.try("ip", "link", "set", "lo", "up")
	return err
}

// off ends every process of the machine, as pulling the plug does. What is in
// its directory stays.
func (m *Machine) off() error {
	if m.init == nil {
		return nil
	}
	err := errors.Join(m.stdin.Close(), ignoreExit(m.init.Wait()))
	m.init = nil
	return err
}

func ignoreExit(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil
	}
	return err
}

// PID is that of the machine's first process, as the test process sees it.
func (m *Machine) PID() int { return m.init.Process.Pid }

// command makes a command that runs in all namespaces of the machine.
func (m *Machine) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "nsenter", append([]string{
		"--target", strconv.Itoa(m.PID()), "--mount", "--pid", "--net", "--ipc", "--uts", "--",
	}, args...)...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/fw", "HOME=/root", "LANG=C"}
	cmd.WaitDelay = 20 * time.Second // for what it leaves behind to close its output
	return cmd
}

// Try runs a command in the machine and returns what it printed, without the
// last line's end.
func (m *Machine) Try(args ...string) (string, error) { return m.try(args...) }

func (m *Machine) try(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), commandTime)
	defer cancel()
	out, err := m.command(ctx, args...).CombinedOutput()
	text := strings.TrimRight(string(out), "\n")
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		err = fmt.Errorf("%s: %s: %w: %s", m.Name, strings.Join(args, " "), err, text)
	}
	return text, err
}

// Exec runs a command in the machine; the test ends if it fails.
func (m *Machine) Exec(t testing.TB, args ...string) string {
	t.Helper()
	out, err := m.try(args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Sh runs a line of shell in the machine; the test ends if it fails.
func (m *Machine) Sh(t testing.TB, script string) string {
	t.Helper()
	return m.Exec(t, "sh", "-ec", script)
}

// Start runs a command in the machine in the background until the test ends
// or the function it returns is called. Its output's first line is awaited.
func (m *Machine) Start(t testing.TB, args ...string) (*Background, func()) {
	t.Helper()
	b, err := m.start(args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.stop)
	return b, b.stop
}
