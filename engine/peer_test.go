package engine

import (
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// In a process of its own under another name, the test binary plays an engine:
// it dials the socket that standEnv names and waits for the end of its input.
const standEnv = "ENGINE_TEST_DIAL"

func TestMain(m *testing.M) {
	if socket := os.Getenv(standEnv); socket != "" {
		conn, err := net.Dial("unix", socket)
		if err != nil {
			os.Stderr.WriteString(err.Error())
			os.Exit(1)
		}
		_, _ = io.Copy(io.Discard, os.Stdin)
		conn.Close()
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// dialAs has a process with the command line dial the plugin's socket and
// returns our end of the connection.
func dialAs(t testing.TB, dir string, args ...string) net.Conn {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cmd := exec.Cmd{Path: self, Args: args, Dir: dir, Env: append(os.Environ(), standEnv+"="+socket), Stderr: os.Stderr}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func TestPeerEngine(t *testing.T) {
	dir := t.TempDir()
	real := filepath.Join(dir, "real")
	if err := os.Mkdir(real, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(real, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	config := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	withRoot := config("root.json", `{"debug": true, "data-root": "/srv/docker"}`)
	withGraph := config("graph.json", `{"graph": "/srv/graph"}`)
	broken := config("broken.json", `{"data-root": `)

	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"no dockerd", []string{"/usr/bin/curl", "--data-root", "/x"}, ""},
		{"a default", []string{"dockerd", "--config-file", "/nonexistent"}, "/var/lib/docker"},
		{"a flag", []string{"/usr/bin/dockerd", "--data-root", "/nonexistent/x/", "-H", "fd://"}, "/nonexistent/x"},
		{"config", []string{"dockerd", "--config-file=" + withRoot}, "/srv/docker"},
		{"config of old", []string{"dockerd", "--config-file", withGraph}, "/srv/graph"},
		{"broken config", []string{"dockerd", "--config-file", broken}, "/var/lib/docker"},
		{"flag before config", []string{"dockerd", "-g/flag", "--config-file", withRoot}, "/flag"},
		{"a link", []string{"dockerd", "--data-root", filepath.Join(dir, "link")}, real},
		{"relative", []string{"dockerd", "--data-root", "real"}, real},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := dialAs(t, dir, c.args...)
			if got := PeerEngine(conn); got != c.want {
				t.Errorf("%q: %q, want %q", c.args, got, c.want)
			}
			conn.Close()
			if got := PeerEngine(conn); got != "" {
				t.Errorf("closed: %q", got)
			}
		})
	}
	if a, b := net.Pipe(); PeerEngine(a) != "" || PeerEngine(b) != "" {
		t.Error("a pipe is an engine")
	}
	for _, pid := range []int{0, -1, 1 << 30} {
		if got := IDOf(pid); got != "" {
			t.Errorf("IDOf(%d) = %q", pid, got)
		}
	}
}

func TestParseFlags(t *testing.T) {
	for args, want := range map[string]flags{
		"":                                {"", defaultConfig},
		"--data-root /a":                  {"/a", defaultConfig},
		"--data-root=/a":                  {"/a", defaultConfig},
		"--graph /a":                      {"/a", defaultConfig},
		"--graph=/a":                      {"/a", defaultConfig},
		"-g /a":                           {"/a", defaultConfig},
		"-g=/a":                           {"/a", defaultConfig},
		"-g/a":                            {"/a", defaultConfig},
		"-Dg /a":                          {"/a", defaultConfig},
		"-Dg/a":                           {"/a", defaultConfig},
		"-D -g /a --graph /b":             {"/b", defaultConfig},
		"--data-root":                     {"", defaultConfig},
		"-g":                              {"", defaultConfig},
		"-H -g --data-root /a":            {"/a", defaultConfig},
		"-H=-g /a":                        {"", defaultConfig},
		"-Hfd:// --config-file /c":        {"", "/c"},
		"--config-file=/c --data-root=/a": {"/a", "/c"},
		"-- --data-root /a":               {"", defaultConfig},
		"--data-roots /a - -":             {"", defaultConfig},
		"--host --data-root --debug -g/a": {"/a", defaultConfig},
	} {
		if got := parseFlags(strings.Fields(args)); got != want {
			t.Errorf("%q: %+v, want %+v", args, got, want)
		}
	}
}

func FuzzParseFlags(f *testing.F) {
	f.Add("dockerd\x00-Dg\x00/a")
	f.Add("-\x00--\x00-g")
	f.Fuzz(func(t *testing.T, cmdline string) {
		args := strings.Split(cmdline, "\x00")
		got := parseFlags(args)
		if got.root != "" && !strings.Contains(cmdline, got.root) {
			t.Errorf("%q: %+v", cmdline, got)
		}
	})
}

func BenchmarkPeerEngine(b *testing.B) {
	conn := dialAs(b, "/", "dockerd", "--data-root", "/var/lib")
	for b.Loop() {
		if PeerEngine(conn) != "/var/lib" {
			b.Fatal("wrong")
		}
	}
}
