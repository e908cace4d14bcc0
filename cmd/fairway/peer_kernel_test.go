//go:build kernel

package main

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/sirupsen/logrus"
)

const nobody = 65534

// openDir makes a directory that every user may look into; t.TempDir's isn't.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "fairway") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// asNobody returns what a command prints to another user, and its exit code.
func asNobody(t *testing.T, dir string, args ...string) (string, int) {
	t.Helper()
	self, err := os.ReadFile("/proc/self/exe") // may be where nobody else can run it
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "fairway")
	if err := os.WriteFile(program, self, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Env = append(os.Environ(), childCommand+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("run as nobody (want root for this test): %v", err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// Another user is kept out by the socket's mode, and refused where somebody
// loosened that.
func TestWrongUser(t *testing.T) {
	dir := openDir(t)
	path := filepath.Join(dir, "admin.sock")
	l, err := listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var log bytes.Buffer
	logger := logrus.New()
	logger.SetOutput(&log)
	accepted := make(chan net.Conn, 10)
	done := make(chan error, 1)
	go func() {
		for {
			c, err := (guarded{l, logger}).Accept()
			if err != nil {
				done <- err
				return
			}
			accepted <- c
		}
	}()
	if out, code := asNobody(t, dir, "networks", "--admin-socket", path); code != exitPermission ||
		!strings.Contains(out, "no permission\nhint: ") || !strings.Contains(out, "sudo") {
		t.Errorf("mode 0600: exit %d\n%s", code, out)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	if out, code := asNobody(t, dir, "networks", "--admin-socket", path); code != exitUnreachable {
		t.Errorf("mode 0666: exit %d\n%s", code, out)
	}
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	own := <-accepted
	if _, err := own.Write([]byte("hello")); err != nil {
		t.Error(err)
	}
	_ = own.Close()
	if b, err := io.ReadAll(c); string(b) != "hello" {
		t.Errorf("root reads %q, %v", b, err)
	}
	_ = l.Close()
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	if len(accepted) > 0 {
		t.Error("the other user was accepted")
	}
	if got := log.String(); !strings.Contains(got, "wrong user") || !strings.Contains(got, "uid=65534") {
		t.Errorf("log: %s", got)
	}
}
