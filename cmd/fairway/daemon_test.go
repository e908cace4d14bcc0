package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fairway/admin"
	"fairway/metrics"
	"fairway/plugin"
	"fairway/store"

	"github.com/sirupsen/logrus"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childSocket); dir != "" {
		os.Exit(childDaemon(dir))
	}
	if v := os.Getenv(childVersion); v != "" {
		version = v
	}
	if os.Getenv(childCommand) != "" {
		os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
	}
	goleak.VerifyTestMain(m)
}

// childCommand tells the test's own binary, run as a child, to be fairway.
const childCommand = "TEST_FAIRWAY"

// childVersion tells such a child of what version it is.
const childVersion = "TEST_FAIRWAY_VERSION"

// childDaemon runs a daemon until SIGTERM.
func childDaemon(dir string) int {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
	defer stop()
	log := logrus.New()
	d := &daemon{
		config:  config{Socket: filepath.Join(dir, "fairway.sock"), AdminSocket: filepath.Join(dir, "admin.sock")},
		log:     log,
		metrics: metrics.New(metrics.Options{Log: log}),
		compose: func(context.Context, config, logrus.FieldLogger) (parts, error) {
			return parts{
				networks: deaf{}, addresses: deaf{}, records: noRecords{},
				restore: func(context.Context) error { return nil },
			}, nil
		},
	}
	if err := d.Run(ctx); err != nil {
		log.Error(err)
		return 1
	}
	return 0
}

// deaf is a driver that only lets endpoints leave.
type deaf struct {
	plugin.Networks
	plugin.Addresses
}

func (deaf) Leave(context.Context, string, string) error { return nil }

type noRecords struct{}

func (noRecords) Denied(context.Context) map[string]uint64 { return nil }
func (noRecords) Networks() []store.Network                { return nil }
func (noRecords) Endpoints() []store.Endpoint              { return nil }
func (noRecords) Taken(string, store.PortBinding) (by string, taken bool) {
	return "", false
}

func (noRecords) PortStates(context.Context, bool) admin.States { return admin.States{} }

// testDaemon is a daemon in a directory of its own, of parts that change may change.
func testDaemon(t *testing.T, dir string, change func(*parts)) *daemon {
	t.Helper()
	log := logrus.New()
	log.SetOutput(io.Discard)
	return &daemon{
		config:  config{Socket: filepath.Join(dir, "fairway.sock"), AdminSocket: filepath.Join(dir, "admin.sock")},
		build:   admin.Build{Version: "1.0.0"},
		log:     log,
		metrics: metrics.New(metrics.Options{Log: log}),
		compose: func(context.Context, config, logrus.FieldLogger) (parts, error) {
			p := parts{
				networks: deaf{}, addresses: deaf{}, records: noRecords{},
				restore: func(context.Context) error { return nil },
			}
			if change != nil {
				change(&p)
			}
			return p, nil
		},
	}
}

// start runs d until stop, which returns what Run did.
func start(t *testing.T, d *daemon) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- d.Run(ctx) }()
	t.Cleanup(cancel)
	return func() error { cancel(); return <-ran }
}

func ask(socket, path string) (string, error) {
	return askWith(socket, path, `{"NetworkID":"n","EndpointID":"e"}`)
}

func askWith(socket, path, body string) (string, error) {
	c := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}
	resp, err := c.Post("http://d"+path, "", strings.NewReader(body)) //nolint:noctx // has a time-out
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return strings.TrimSpace(string(b)), err
}

// await repeats what fails until it succeeds, for a while.
func await(t *testing.T, what string, try func() error) {
	t.Helper()
	var err error
	for range 500 {
		if err = try(); err == nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%s: %v", what, err)
}

// notifications stands in for systemd.
func notifications(t *testing.T) <-chan string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("NOTIFY_SOCKET", path)
	states, done := make(chan string, 100), make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 4096)
		for {
			n, err := c.Read(b)
			if err != nil {
				return
			}
			states <- string(b[:n])
		}
	}()
	t.Cleanup(func() { _ = c.Close(); <-done })
	return states
}

func TestDaemon(t *testing.T) {
	states := notifications(t)
	dir := t.TempDir()
	restored, ended, closed := make(chan struct{}), make(chan struct{}), false
	d := testDaemon(t, dir, func(p *parts) {
		p.restore = func(ctx context.Context) error {
			select {
			case <-restored:
			case <-ctx.Done():
			}
			return ctx.Err()
		}
		p.tasks = []task{{"background", func(ctx context.Context) error {
			<-ctx.Done()
			close(ended)
			return ctx.Err()
		}}}
		p.close = func() error { closed = true; return nil }
	})
	stop := start(t, d)
	await(t, "Activate before the restore", func() error {
		reply, err := ask(d.config.Socket, "/Plugin.Activate")
		if err == nil && reply != `{"Implements":["NetworkDriver","IpamDriver"]}` {
			t.Fatalf("Activate: %s", reply)
		}
		return err
	})
	if state := <-states; state != "STATUS=restoring networks" {
		t.Errorf("told systemd %q", state)
	}
	client := admin.NewClient(d.config.AdminSocket)
	if _, err := client.Networks(t.Context()); !errors.Is(err, admin.ErrUnreachable) {
		t.Errorf("networks before the restore: %v", err)
	}
	left := make(chan string, 1)
	go func() {
		reply, _ := ask(d.config.Socket, "/NetworkDriver.Leave")
		left <- reply
	}()
	select {
	case reply := <-left:
		t.Errorf("Leave before the restore: %s", reply)
	case state := <-states:
		t.Errorf("told systemd %q before the restore", state)
	case <-time.After(50 * time.Millisecond):
	}
	close(restored)
	if reply := <-left; reply != "{}" {
		t.Errorf("Leave: %s", reply)
	}
	for _, want := range []string{"READY=1", "STATUS=fairway 1.0.0: healthy; 0 networks, 0 endpoints, 0 published ports"} {
		if state := <-states; state != want {
			t.Errorf("told systemd %q, want %q", state, want)
		}
	}
	if _, err := client.Networks(t.Context()); err != nil {
		t.Errorf("networks: %v", err)
	}
	if err := stop(); err != nil {
		t.Errorf("Run: %v", err)
	}
	<-ended
	if state := <-states; state != "STOPPING=1" {
		t.Errorf("told systemd %q", state)
	}
	if !closed {
		t.Error("parts are not closed")
	}
	noSockets(t, d)
}

func noSockets(t *testing.T, d *daemon) {
	t.Helper()
	for _, path := range []string{d.config.Socket, d.config.AdminSocket} {
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", path, err)
		}
	}
}

func TestDaemonFails(t *testing.T) {
	broken := errors.New("store: state.db: invalid database")
	tests := []struct {
		name   string
		change func(*daemon, *parts)
	}{
		{"compose", func(d *daemon, _ *parts) {
			d.compose = func(context.Context, config, logrus.FieldLogger) (parts, error) { return parts{}, broken }
		}},
		{"restore", func(_ *daemon, p *parts) { p.restore = func(context.Context) error { return broken } }},
		{"a task", func(_ *daemon, p *parts) {
			p.tasks = []task{{"watch", func(context.Context) error { return broken }}}
		}},
		{"close", func(_ *daemon, p *parts) {
			p.tasks = []task{{"watch", func(context.Context) error { return errors.New("over") }}}
			p.close = func() error { return broken }
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var d *daemon
			d = testDaemon(t, t.TempDir(), func(p *parts) { tt.change(d, p) })
			tt.change(d, &parts{})
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if err := d.Run(ctx); !errors.Is(err, broken) {
				t.Errorf("Run: %v, want %v", err, broken)
			}
			noSockets(t, d)
		})
	}
}

func TestSecondDaemon(t *testing.T) {
	dir := t.TempDir()
	first := testDaemon(t, dir, nil)
	stop := start(t, first)
	await(t, "first daemon", func() error { _, err := ask(first.config.Socket, "/Plugin.Activate"); return err })
	second := testDaemon(t, dir, nil)
	second.compose = func(context.Context, config, logrus.FieldLogger) (parts, error) {
		t.Error("the second daemon came to its store")
		return parts{}, errors.New("two daemons")
	}
	if err := second.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "another daemon serves it") {
		t.Errorf("second daemon: %v", err)
	}
	if _, err := ask(first.config.Socket, "/Plugin.Activate"); err != nil {
		t.Errorf("first daemon after the second: %v", err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestWatchdog(t *testing.T) {
	states := notifications(t)
	t.Setenv("WATCHDOG_USEC", "30000")
	stop := start(t, testDaemon(t, t.TempDir(), nil))
	seen := 0
	for seen < 3 {
		select {
		case s := <-states:
			if s == "WATCHDOG=1" {
				seen++
			}
		case <-time.After(5 * time.Second):
			t.Fatalf("%d signs of life, want 3", seen)
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}
