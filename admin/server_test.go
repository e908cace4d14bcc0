package admin

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newTestServer(ready bool) *Server {
	o := Options{Records: fixture{}, Publisher: fixture{}, Ready: make(chan struct{}), Build: Build{Version: "1.2.3", Go: "go1"}, Log: logrus.New()}
	if ready {
		c := make(chan struct{})
		close(c)
		o.Ready = c
	}
	return New(o)
}

// serve runs s on a socket and returns its client.
func serve(t *testing.T, s *Server) *Client {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "a.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return NewClient(socket)
}

func TestReplies(t *testing.T) {
	c := serve(t, newTestServer(true))
	networks, err := c.Networks(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, n := range networks.Networks {
		names = append(names, n.ID+" "+n.Name)
	}
	if d := cmp.Diff([]string{"eeee0000 web", "ffff0000 "}, names); d != "" {
		t.Errorf("networks (-want +got):\n%s", d)
	}
	if n := networks.Networks[0]; n.Endpoints != 2 || n.MTU != 1500 || n.Options["mtu"] != "1500" ||
		len(n.Subnets) != 2 || n.Subnets[0].Gateway != netip.MustParseAddr("172.20.0.1") || n.Subnets[1].Gateway.IsValid() {
		t.Errorf("network web: %+v", n)
	}

	endpoints, err := c.Endpoints(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	names = nil
	for _, e := range endpoints.Endpoints {
		names = append(names, strings.Join([]string{e.ID, e.NetworkName, e.Container, e.IPv4.String(), e.Link}, " "))
	}
	if d := cmp.Diff([]string{"e1 web app 172.20.0.2/24 fwv1", "e2 web db 172.20.0.3/24 fwv2", "e3   invalid Prefix fwv3"}, names); d != "" {
		t.Errorf("endpoints (-want +got):\n%s", d)
	}
	if e := endpoints.Endpoints; e[0].Joined || !e[1].Joined {
		t.Errorf("joined: %v %v, want false true", e[0].Joined, e[1].Joined)
	}

	ports, err := c.Ports(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	names = nil
	for _, p := range ports.Ports {
		names = append(names, netip.AddrPortFrom(p.HostIP, p.HostPort).String()+" "+p.Protocol+" "+p.Container+" "+netip.AddrPortFrom(p.IP, p.Port).String())
	}
	want := []string{
		"0.0.0.0:9 sctp app 172.20.0.2:9",
		"127.0.0.1:5432 tcp db 172.20.0.3:5432",
		"0.0.0.0:8080 tcp app 172.20.0.2:80",
		"[::]:8080 tcp app [fd00::2]:80",
		"0.0.0.0:8080 udp app 172.20.0.2:80",
	}
	if d := cmp.Diff(want, names); d != "" {
		t.Errorf("ports (-want +got):\n%s", d)
	}

	for _, p := range ports.Ports {
		by := ""
		if p.HostPort == 5432 {
			by = `unit "postgresql.service"`
		}
		if p.TakenBy != by {
			t.Errorf("port %d: taken by %q, want %q", p.HostPort, p.TakenBy, by)
		}
	}

	d, err := get[Daemon](t.Context(), c, "/v1/version")
	if err != nil || d != (Daemon{1, Build{Version: "1.2.3", Go: "go1"}}) {
		t.Errorf("daemon %+v, %v", d, err)
	}
	for _, v := range []int{networks.Version, endpoints.Version, ports.Version} {
		if v != 1 {
			t.Errorf("version %d, want 1", v)
		}
	}
}

// The fields of the JSON are a promise to scripts: this line only grows.
func TestJSON(t *testing.T) {
	w := httptest.NewRecorder()
	newTestServer(true).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/v1/networks", nil))
	want := `{"version":1,"networks":[` +
		`{"id":"eeee0000","name":"web","engine":"docker-1","mode":"bridge","link":"fwb1","mtu":1500,"internal":false,` +
		`"subnets":[{"subnet":"172.20.0.0/24","gateway":"172.20.0.1"},{"subnet":"fd00::/64","gateway":""}],` +
		`"options":{"mtu":"1500"},"endpoints":2,"created":"2026-09-01T12:00:00Z"},` +
		`{"id":"ffff0000","mode":"bridge","link":"fwb2","internal":true,"subnets":[],"options":{},"endpoints":1,"created":"2026-09-01T12:00:00Z"}]}` + "\n"
	if d := cmp.Diff(want, w.Body.String()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestRefusedCalls(t *testing.T) {
	tests := []struct {
		verb, path string
		ready      bool
		status     int
		want       string
	}{
		{"GET", "/v1/networks", false, 503, "still restoring"},
		{"GET", "/v1/version", false, 200, "1.2.3"},
		{"GET", "/v2/networks", true, 404, "no such call"},
		{"POST", "/v1/networks", true, 405, ""},
		{"DELETE", "/v1/networks", true, 405, ""},
		{"POST", "/v1/ports/add", false, 503, "still restoring"},
		{"POST", "/v1/ports/add", true, 400, "body"},
	}
	for _, tt := range tests {
		w := httptest.NewRecorder()
		newTestServer(tt.ready).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), tt.verb, tt.path, nil))
		if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.want) {
			t.Errorf("%s %s: %d %s, want %d %q", tt.verb, tt.path, w.Code, w.Body, tt.status, tt.want)
		}
	}
}

// TestChanges: what changes ports is asked for by the client as the server wants
// it, and a refusal is the driver's own line.
func TestChanges(t *testing.T) {
	c := serve(t, newTestServer(true))
	got, err := c.AddPorts(t.Context(), PortsChange{Container: "app", Ports: []string{"9:9/sctp"}})
	if err != nil || len(got.Ports) != 1 || got.Ports[0].HostPort != 9 || !got.Ports[0].Live || got.Ports[0].ReachableFrom != "all" {
		t.Errorf("added %+v, %v: want the live port 9", got.Ports, err)
	}
	if err := c.RemovePorts(t.Context(), PortsChange{Container: "app", Ports: []string{"9/sctp", "80"}}); err != nil {
		t.Error(err)
	}
	_, err = c.AddPorts(t.Context(), PortsChange{Container: "db", Ports: []string{"9:9"}})
	if err == nil || err.Error() != `container "db": no such thing` {
		t.Errorf("refused: %v", err)
	}
	_, err = c.AddPorts(t.Context(), PortsChange{Container: "app", Ports: []string{"nine"}})
	if err == nil || !strings.HasPrefix(err.Error(), `port "nine": `) {
		t.Errorf("nonsense: %v", err)
	}
	if err = c.RemovePorts(t.Context(), PortsChange{Container: "app"}); err == nil {
		t.Error("no ports: accepted")
	}
}

// TestTraffic: what goes by a port is told if it is asked for, and known.
func TestTraffic(t *testing.T) {
	c := serve(t, newTestServer(true))
	got, err := c.Ports(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range got.Ports {
		if p.Connections == nil || *p.Connections != 3 || p.Bytes != nil {
			t.Errorf("port %d: connections %v, bytes %v: want 3, and nothing where the host doesn't count", p.HostPort, p.Connections, p.Bytes)
		}
	}
	if len(got.Waiting) != 1 || got.Waiting[0].Why != "taken" {
		t.Errorf("waiting: %+v", got.Waiting)
	}
	if got, err = c.Ports(t.Context(), false); err != nil || got.Ports[0].Connections != nil {
		t.Errorf("not asked for: %v, %v", got.Ports[0].Connections, err)
	}
}

func TestClientErrors(t *testing.T) {
	dir := t.TempDir()
	_, err := NewClient(filepath.Join(dir, "none")).Networks(t.Context())
	if !errors.Is(err, ErrUnreachable) || !strings.HasSuffix(err.Error(), "none: daemon not reachable: no such file or directory") {
		t.Errorf("no socket: %v", err)
	}
	stale := filepath.Join(dir, "stale")
	l, err := net.Listen("unix", stale)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = l.Close()
	_, err = NewClient(stale).Networks(t.Context())
	if !errors.Is(err, ErrUnreachable) || !strings.HasSuffix(err.Error(), "connection refused") {
		t.Errorf("stale socket: %v", err)
	}
	_, err = serve(t, newTestServer(false)).Ports(t.Context(), false)
	if !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "still restoring") {
		t.Errorf("while restoring: %v", err)
	}
	if err := NewClient("x").unreachable(&net.OpError{Op: "dial", Err: &os.SyscallError{Syscall: "connect", Err: os.ErrPermission}}); !errors.Is(err, ErrPermission) || errors.Is(err, ErrUnreachable) {
		t.Errorf("no permission: %v", err)
	}
	// A daemon that talks nonsense is an error too, and one that is cut off.
	h := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }))
	h.Listener, err = net.Listen("unix", filepath.Join(dir, "html"))
	if err != nil {
		t.Fatal(err)
	}
	h.Start()
	defer h.Close()
	if _, err = NewClient(filepath.Join(dir, "html")).Networks(t.Context()); err == nil || !strings.Contains(err.Error(), "reply:") {
		t.Errorf("nonsense: %v", err)
	}
}

// TestStatus: what isn't known yet isn't said.
func TestStatus(t *testing.T) {
	got, err := serve(t, newTestServer(false)).Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got.State != StateRestoring || got.Networks != 0 || got.PID != os.Getpid() || got.Daemon.Version != "1.2.3" || got.Started.IsZero() {
		t.Errorf("while restoring: %+v", got)
	}
	s := newTestServer(true)
	c := serve(t, s)
	for trouble, state := range map[string]string{"": StateHealthy, "no space": StateFailing} {
		s.Health = troubled(trouble)
		if got, err = c.Status(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got.State != state || got.Networks != 2 || got.Endpoints != 3 || got.Ports != 5 || got.Firewall != "nftables" || got.RepairedLinks.Count != 7 {
			t.Errorf("trouble %q: %+v", trouble, got)
		}
	}
}

// troubled is the health of a daemon that can't repair something, unless it is "".
type troubled string

func (h troubled) Health() Status {
	return Status{Firewall: "nftables", Trouble: string(h), RepairedLinks: Repaired{Count: 7}}
}

// TestOwnAffairs: a backup and the settings are the daemon's to give.
func TestOwnAffairs(t *testing.T) {
	s := newTestServer(false)
	c := serve(t, s)
	for what, err := range map[string]error{
		"settings": func() error { _, err := c.Settings(t.Context()); return err }(),
		"backup":   func() error { _, err := c.Backup(t.Context()); return err }(),
	} {
		if err == nil {
			t.Errorf("%s of a daemon that has none: no error", what)
		}
	}
	o := s.Options
	o.Config = func() []Setting { return []Setting{{Name: "log-level", Value: "info", Origin: "default", Live: true}} }
	fails := errors.New("store: backup: no space left on device")
	o.Backup = func(context.Context) (string, error) { return "/b.db", fails }
	c = serve(t, New(o))
	got, err := c.Settings(t.Context())
	if err != nil || got.Version != 1 || len(got.Settings) != 1 || got.Settings[0].Next != nil || !got.Settings[0].Live {
		t.Errorf("settings %+v, %v", got, err)
	}
	if _, err := c.Backup(t.Context()); err == nil || !strings.HasSuffix(err.Error(), fails.Error()) {
		t.Errorf("a backup that fails: %v", err)
	}
	fails = nil
	if b, err := c.Backup(t.Context()); err != nil || b.Path != "/b.db" {
		t.Errorf("backup %+v, %v", b, err)
	}
}
