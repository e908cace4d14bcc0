//go:build bench

package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// A daemon is `fairway daemon` as a process of its own, in a network namespace
// of its own.
type daemon struct {
	*client
	cmd   *exec.Cmd
	links *netlink.Handle // looks into the daemon's namespace
	log   string
	done  chan error
}

// startDaemon starts a daemon with a fresh state directory and waits until it
// serves. It ends with the benchmark.
func startDaemon(b *testing.B, name string, args ...string) *daemon {
	b.Helper()
	dir := filepath.Join(world.dir, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		b.Fatal(err)
	}
	socket := filepath.Join(dir, "plugin.sock")
	d := &daemon{client: newClient(socket), log: filepath.Join(dir, "log"), done: make(chan error, 1)}
	d.cmd = exec.Command(world.fairway, append([]string{
		"daemon", "--socket", socket, "--admin-socket", filepath.Join(dir, "admin.sock"),
		"--state-dir", filepath.Join(dir, "state"), "--docker-socket=",
	}, args...)...)
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	log, err := os.Create(d.log)
	if err != nil {
		b.Fatal(err)
	}
	defer log.Close()
	d.cmd.Stdout, d.cmd.Stderr = log, log
	if d.links, err = d.start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { d.stop(b) })
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err = d.try("/IpamDriver.GetDefaultAddressSpaces", nil); err == nil {
			return d
		}
		if time.Now().After(deadline) {
			b.Fatalf("%s: not ready: %v\n%s", name, err, d.tail())
		}
	}
}

// start starts the process on a thread that is in a new network namespace and
// stays: the process ends with its thread (PR_SET_PDEATHSIG).
func (d *daemon) start() (*netlink.Handle, error) {
	type result struct {
		links *netlink.Handle
		err   error
	}
	started := make(chan result)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread is of no other use
		links, err := newNamespace()
		if err == nil {
			err = d.cmd.Start()
		}
		started <- result{links, err}
		if err == nil {
			d.done <- d.cmd.Wait()
		}
	}()
	r := <-started
	return r.links, r.err
}

// newNamespace moves the thread into a new network namespace, in which the
// loopback is up.
func newNamespace() (*netlink.Handle, error) {
	ns, err := netns.New()
	if err != nil {
		return nil, fmt.Errorf("new network namespace: %w", err)
	}
	defer ns.Close()
	h, err := netlink.NewHandleAt(ns)
	if err != nil {
		return nil, err
	}
	lo, err := h.LinkByName("lo")
	if err != nil {
		return nil, err
	}
	return h, h.LinkSetUp(lo)
}

func (d *daemon) stop(b *testing.B) {
	d.links.Close()
	_ = d.cmd.Process.Signal(unix.SIGTERM)
	select {
	case <-d.done:
	case <-time.After(20 * time.Second):
		_ = d.cmd.Process.Kill()
		b.Errorf("the daemon did not end within 20 s of SIGTERM\n%s", d.tail())
	}
}

// tail returns the end of the daemon's log.
func (d *daemon) tail() string {
	raw, _ := os.ReadFile(d.log)
	lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
	return strings.Join(lines[max(0, len(lines)-10):], "\n")
}

// memory returns the daemon's resident memory, in KiB.
func (d *daemon) memory() int {
	raw, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.cmd.Process.Pid))
	for line := range strings.Lines(string(raw)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "VmRSS:" {
			n, _ := strconv.Atoi(f[1])
			return n
		}
	}
	return 0
}

// clean waits until none of the links is there any more, and returns how long
// that took.
func (d *daemon) clean(b *testing.B, links []string) time.Duration {
	start := time.Now()
	for _, name := range links {
		for {
			if _, err := d.links.LinkByName(name); err != nil {
				break // LinkNotFoundError
			}
			if time.Since(start) > 20*time.Second {
				b.Fatalf("link %s is still there after 20 s\n%s", name, d.tail())
			}
			time.Sleep(time.Millisecond)
		}
	}
	return time.Since(start)
}
