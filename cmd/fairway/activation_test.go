package main

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// childSocket tells the test's own binary, run as a child, to be a daemon with
// the sockets in this directory. See TestMain.
const childSocket = "TEST_DAEMON_DIR"

// A daemon that systemd starts for its sockets serves those, and leaves them
// there for systemd when it ends.
func TestSocketActivation(t *testing.T) {
	dir := t.TempDir()
	names := []string{"fairway.sock", "fairway:latest.sock", "fairway-ipvlan.sock", "admin.sock"}
	var files []*os.File
	for _, name := range names {
		l, err := net.Listen("unix", filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		l.(*net.UnixListener).SetUnlinkOnClose(false)
		f, err := l.(*net.UnixListener).File()
		if err != nil {
			t.Fatal(err)
		}
		_ = l.Close()
		defer f.Close()
		files = append(files, f)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// LISTEN_PID is the daemon's own: the shell becomes the daemon.
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", `LISTEN_PID=$$ exec "$0"`, self)
	cmd.Env = append(os.Environ(), childSocket+"="+dir, "LISTEN_FDS=4", "LISTEN_FDNAMES=fairway.socket:fairway.socket:fairway.socket:fairway.socket")
	cmd.ExtraFiles = files // from descriptor 3 on, as systemd does
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// The first request waits in the socket until the daemon is there.
	for _, name := range names[:2] {
		reply, err := ask(filepath.Join(dir, name), "/NetworkDriver.Leave")
		if err != nil || reply != "{}" {
			t.Errorf("%s: Leave: %q, %v", name, reply, err)
		}
	}
	if reply, err := ask(filepath.Join(dir, names[2]), "/IpamDriver.GetCapabilities"); err != nil || !strings.Contains(reply, `"RequiresMACAddress":false`) {
		t.Errorf("%s: GetCapabilities: %q, %v", names[2], reply, err)
	}
	if _, err := ask(filepath.Join(dir, "admin.sock"), "/"); err != nil {
		t.Errorf("admin socket: %v", err)
	}
	if err := cmd.Process.Signal(unix.SIGTERM); err != nil {
		t.Error(err)
	}
	timer := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	if err := cmd.Wait(); err != nil {
		t.Errorf("daemon: %v\n%s", err, out.String())
	}
	if !strings.Contains(out.String(), "ready") {
		t.Errorf("log:\n%s", out.String())
	}
	for _, name := range names {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Errorf("systemd's socket is gone: %v", err)
		}
	}
}
