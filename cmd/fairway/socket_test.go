package main

import (
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestListen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run", "plugins", "fairway.sock")
	l, err := listen(path)
	if err != nil {
		t.Fatal(err)
	}
	modes := map[string]fs.FileMode{path: fs.ModeSocket | 0o600, filepath.Dir(path): fs.ModeDir | 0o755}
	for name, want := range modes {
		if info, err := os.Stat(name); err != nil || info.Mode() != want {
			t.Errorf("%s: %v %v, want %v", name, info.Mode(), err, want)
		}
	}
	if _, err := listen(path); err == nil || !strings.Contains(err.Error(), "another daemon serves it") {
		t.Errorf("a second time: %v", err)
	}
	// The refused one must not have taken the socket away.
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatalf("the first no longer answers: %v", err)
	}
	_ = c.Close()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("own socket is left after Close: %v", err)
	}
}

func TestListenStale(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	dead, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	dead.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = dead.Close()
	l, err := listen(path)
	if err != nil {
		t.Fatalf("a stale socket in the way: %v", err)
	}
	_ = l.Close()
}

func TestListenRefuses(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listen(file); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("a file in the way: %v", err)
	}
	if b, _ := os.ReadFile(file); string(b) != "precious" {
		t.Error("the file in the way is gone")
	}
	if _, err := listen(filepath.Join(file, "s")); err == nil {
		t.Error("a file as directory: no error")
	}
	open := filepath.Join(dir, "open")
	if err := os.Mkdir(open, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := listen(filepath.Join(open, "s")); err == nil || !strings.Contains(err.Error(), "writable by everybody") {
		t.Errorf("a directory that everybody writes: %v", err)
	}
	if err := os.Chmod(open, 0o777|fs.ModeSticky); err != nil {
		t.Fatal(err)
	}
	l, err := listen(filepath.Join(open, "s"))
	if err != nil {
		t.Fatalf("a sticky directory: %v", err)
	}
	_ = l.Close()
}

// Of many that start at once, one gets the socket.
func TestListenRace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	const n = 20
	type result struct {
		l   *net.UnixListener
		err error
	}
	results := make(chan result, n)
	for range n {
		go func() {
			l, err := listen(path)
			results <- result{l, err}
		}()
	}
	var got []*net.UnixListener
	for range n {
		if r := <-results; r.err == nil {
			got = append(got, r.l)
		}
	}
	if len(got) != 1 {
		t.Errorf("%d of %d got the socket, want 1", len(got), n)
	}
	for _, l := range got {
		_ = l.Close()
	}
}

// passed returns what systemd would pass for a socket at path.
func passed(t *testing.T, name, path string) *os.File {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	f, err := l.(*net.UnixListener).File()
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	fd, err := unix.Dup(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	return os.NewFile(uintptr(fd), name)
}

func TestPassedSockets(t *testing.T) {
	dir := t.TempDir()
	cfg := config{Socket: filepath.Join(dir, "fairway.sock"), AdminSocket: filepath.Join(dir, "admin.sock")}
	other := filepath.Join(dir, "other.sock")
	tests := []struct {
		name  string
		names []string
		paths []string
		want  string // "plugin admin", or what the error says
	}{
		{"none", nil, nil, ""},
		{"one unit, told apart by path", []string{"fairway.socket", "fairway.socket"}, []string{cfg.Socket, cfg.AdminSocket}, "admin plugin"},
		{"by name", []string{"admin", "plugin"}, []string{other, cfg.Socket}, "admin plugin"},
		{"only Docker's", []string{"fairway.socket"}, []string{other}, "plugin"},
		{"a strange one", []string{"x"}, []string{other}, "want one at"},
		{"two alike", []string{"admin", "admin"}, []string{cfg.AdminSocket, other}, "want one at"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var files []*os.File
			for i := range tt.names {
				files = append(files, passed(t, tt.names[i], tt.paths[i]))
			}
			got, err := passedSockets(files, cfg)
			var uses []string
			for _, use := range []string{"admin", "plugin"} {
				if l := got[use]; l != nil {
					uses = append(uses, use)
					_ = l.Close()
				}
			}
			text := strings.Join(uses, " ")
			if err != nil {
				text = err.Error()
			}
			if !strings.Contains(text, tt.want) || tt.want == "" && text != "" {
				t.Errorf("got %q, want %q", text, tt.want)
			}
			for _, p := range tt.paths {
				if _, err := os.Stat(p); err != nil {
					t.Errorf("systemd's socket is gone: %v", err)
				}
				_ = os.Remove(p)
			}
		})
	}
	pipe, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if _, err := passedSockets([]*os.File{pipe}, cfg); err == nil {
		t.Error("a pipe is taken for a socket")
	}
}
