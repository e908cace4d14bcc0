package plugin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"
)

const leaveBody = `{"NetworkID":"n1","EndpointID":"e1"}`

func TestNotACall(t *testing.T) {
	f := &fake{}
	s := newTestServer(f, func(o *Options) { o.BodyLimit = 100 })
	tests := []struct {
		verb, path, body string
		status           int
		want             string
	}{
		{"POST", "/NetworkDriver.Nonsense", "{}", 404, "no such method"},
		{"POST", "/", "{}", 404, "no such method"},
		{"POST", "/NetworkDriver.Leave/", leaveBody, 404, "no such method"},
		{"GET", "/NetworkDriver.Leave", "", 405, "want POST"},
		{"PUT", "/IpamDriver.ReleasePool", leaveBody, 405, "want POST"},
		{"POST", "/NetworkDriver.Leave", leaveBody + strings.Repeat(" ", 100), 413, "more than 100 bytes"},
		{"POST", "/Plugin.Activate", strings.Repeat(" ", 101), 413, "more than 100 bytes"},
	}
	for _, tt := range tests {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), tt.verb, tt.path, strings.NewReader(tt.body)))
		var got struct{ Err string }
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Errorf("%s %s: reply %q: %v", tt.verb, tt.path, w.Body, err)
		}
		if w.Code != tt.status || !strings.Contains(got.Err, tt.want) {
			t.Errorf("%s %s: %d %q, want %d %q", tt.verb, tt.path, w.Code, got.Err, tt.status, tt.want)
		}
	}
	if calls := f.taken(); calls != nil {
		t.Errorf("reached the driver: %v", calls)
	}
}

// A body of just the limit is served: the limit cuts nothing off that passes.
func TestBodyLimit(t *testing.T) {
	f := &fake{}
	s := newTestServer(f, func(o *Options) { o.BodyLimit = int64(len(leaveBody)) })
	if status, reply := post(t, s, "/NetworkDriver.Leave", leaveBody); status != 200 || reply != "{}" {
		t.Errorf("body at the limit: %d %s", status, reply)
	}
	// The default holds a container that publishes every port.
	var b strings.Builder
	b.WriteString(`{"NetworkID":"n1","EndpointID":"e1","Options":{"com.docker.network.portmap":[`)
	for proto := 6; proto <= 17; proto += 11 {
		for p := 1; p <= 65535; p++ {
			if b.String()[b.Len()-1] == '}' {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, `{"Proto":%d,"IP":"","Port":%d,"HostIP":"0.0.0.0","HostPort":%d,"HostPortEnd":%d}`, proto, p, p, p)
		}
	}
	b.WriteString(`]}}`)
	if status, reply := post(t, newTestServer(f, nil), "/NetworkDriver.ProgramExternalConnectivity", b.String()); status != 200 || reply != "{}" {
		t.Errorf("every port published, %d bytes: %d %.200s", b.Len(), status, reply)
	}
}

func TestPanicIsAnError(t *testing.T) {
	var log bytes.Buffer
	f := &fake{before: func(context.Context) { panic("index out of range") }}
	s := newTestServer(f, func(o *Options) {
		l := logrus.New()
		l.SetOutput(&log)
		o.Log = l
	})
	if status, reply := post(t, s, "/NetworkDriver.Leave", leaveBody); status != 200 || !strings.Contains(reply, `{"Err":"internal error`) {
		t.Errorf("reply %d %s", status, reply)
	}
	if status, reply := post(t, s, "/IpamDriver.ReleasePool", `{"PoolID":"p"}`); status != 200 || !strings.Contains(reply, `{"Error":"internal error`) {
		t.Errorf("reply %d %s", status, reply)
	}
	for _, want := range []string{"panic: index out of range", "serve_test.go", "NetworkDriver.Leave"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("log lacks %q:\n%s", want, log.String())
		}
	}
}

func TestWaitsForReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, opened := &fake{}, make(chan struct{})
		s := newTestServer(f, func(o *Options) { o.Ready = opened })
		start := time.Now()
		for path, m := range methods() {
			if !m.atOnce {
				continue
			}
			if status, reply := post(t, s, path, `{"NetworkID":"n1"}`); status != 200 || strings.Contains(reply, "Err") {
				t.Errorf("%s before the restore: %d %s", path, status, reply)
			}
		}
		if waited := time.Since(start); waited != 0 {
			t.Errorf("calls that need no records waited %s", waited)
		}
		_, reply := post(t, s, "/NetworkDriver.Leave", leaveBody)
		if !strings.Contains(reply, "still restoring") || time.Since(start) != 15*time.Second {
			t.Errorf("after %s: %s", time.Since(start), reply)
		}
		if calls := f.taken(); calls != nil {
			t.Errorf("reached the driver before the restore: %v", calls)
		}
		time.AfterFunc(10*time.Second, func() { close(opened) })
		if _, reply := post(t, s, "/NetworkDriver.Leave", leaveBody); reply != "{}" {
			t.Errorf("once restored: %s", reply)
		}
	})
}

func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		f.before = func(ctx context.Context) { <-ctx.Done(); f.err = fmt.Errorf("bridge: wait: %w", ctx.Err()) }
		start := time.Now()
		_, reply := post(t, newTestServer(f, nil), "/NetworkDriver.Leave", leaveBody)
		if want := `{"Err":"not done within 25s: bridge: wait: context deadline exceeded"}`; reply != want || time.Since(start) != 25*time.Second {
			t.Errorf("after %s: %s, want %s", time.Since(start), reply, want)
		}
	})
}

// A call whose client goes away is finished: it does not stop half-way.
func TestClientGone(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	f := &fake{}
	f.before = func(run context.Context) { cancel(); f.err = run.Err() }
	w := httptest.NewRecorder()
	newTestServer(f, nil).ServeHTTP(w, httptest.NewRequestWithContext(ctx, "POST", "/NetworkDriver.Leave", strings.NewReader(leaveBody)))
	if got := strings.TrimSpace(w.Body.String()); got != "{}" {
		t.Errorf("reply %s, want {}", got)
	}
}

func TestLogLines(t *testing.T) {
	var log bytes.Buffer
	l := logrus.New()
	l.SetOutput(&log)
	f := &fake{}
	s := newTestServer(f, func(o *Options) { o.Log = l })
	post(t, s, "/NetworkDriver.Leave", leaveBody)
	if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "level=info") ||
		!strings.Contains(got, "endpoint=e1") || !strings.Contains(got, "network=n1") || !strings.Contains(got, "took=") {
		t.Errorf("a change logs:\n%s", got)
	}
	log.Reset()
	post(t, s, "/NetworkDriver.EndpointOperInfo", leaveBody)
	post(t, s, "/IpamDriver.GetDefaultAddressSpaces", "")
	if got := log.String(); got != "" {
		t.Errorf("calls that change nothing log at info:\n%s", got)
	}
}

// serve runs a server on a socket of its own and returns a client that keeps
// its connections, as dockerd's does.
func serve(t testing.TB, s *Server) (c *http.Client, stop func() error) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "p.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()
	tr := &http.Transport{
		MaxIdleConnsPerHost: 6,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}
	stop = sync.OnceValue(func() error {
		cancel()
		defer tr.CloseIdleConnections()
		return <-served
	})
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return &http.Client{Transport: tr}, stop
}

func send(c *http.Client, path, body string) (string, error) {
	resp, err := c.Post("http://plugin.moby.localhost"+path, "", strings.NewReader(body)) //nolint:noctx // bounded by the server
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return strings.TrimSpace(string(b)), err
}

// Calls run beside each other: all of them meet in the driver at one time.
func TestConcurrentCalls(t *testing.T) {
	const n = 64
	var inside sync.WaitGroup
	inside.Add(n)
	f := &fake{before: func(context.Context) { inside.Done(); inside.Wait() }}
	c, _ := serve(t, newTestServer(f, func(o *Options) {
		o.PeerEngine = func(net.Conn) string { return "engine-1" }
	}))
	errs := make(chan error, n)
	for i := range n {
		go func() {
			reply, err := send(c, "/NetworkDriver.CreateNetwork", fmt.Sprintf(`{"NetworkID":"n%d"}`, i))
			if err == nil && reply != "{}" {
				err = fmt.Errorf("network %d: %s", i, reply)
			}
			errs <- err
		}()
	}
	for range n {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	seen := map[string]bool{}
	for _, call := range f.taken() {
		if !strings.Contains(call, "Engine:engine-1") {
			t.Errorf("call without its engine: %s", call)
		}
		seen[call] = true
	}
	if len(seen) != n {
		t.Errorf("%d different calls, want %d", len(seen), n)
	}
}

// Stopping lets calls under way finish, and cuts off those that don't.
func TestStop(t *testing.T) {
	for _, tt := range []struct {
		name  string
		hangs bool
	}{{"finishes", false}, {"hangs", true}} {
		t.Run(tt.name, func(t *testing.T) {
			entered, leave := make(chan struct{}), make(chan struct{})
			ended := make(chan error, 1)
			f := &fake{before: func(ctx context.Context) {
				close(entered)
				select {
				case <-leave:
				case <-ctx.Done():
				}
				ended <- ctx.Err()
			}}
			c, stop := serve(t, newTestServer(f, func(o *Options) { o.StopTimeout = 100 * time.Millisecond }))
			replied := make(chan string, 1)
			go func() {
				reply, _ := send(c, "/NetworkDriver.Leave", leaveBody)
				replied <- reply
			}()
			<-entered
			if !tt.hangs {
				time.AfterFunc(20*time.Millisecond, func() { close(leave) })
			}
			if err := stop(); err != nil {
				t.Errorf("Serve: %v", err)
			}
			if err := <-ended; (err != nil) != tt.hangs {
				t.Errorf("call's context: %v", err)
			}
			if reply := <-replied; (reply == "{}") == tt.hangs {
				t.Errorf("reply %q", reply)
			}
		})
	}
}

// What is broken tells its capabilities, or Docker would forget the driver, and
// why it does nothing else.
func TestBroken(t *testing.T) {
	f := &fake{}
	s := newTestServer(f, func(o *Options) { o.Broken, o.Ready = errors.New("no space left"), nil })
	for path, want := range map[string]string{
		"/NetworkDriver.GetCapabilities":      `{"Scope":"local"`,
		"/IpamDriver.GetDefaultAddressSpaces": `{"LocalDefaultAddressSpace":`,
		"/NetworkDriver.CreateNetwork":        `{"Err":"no space left"}`,
		"/IpamDriver.RequestPool":             `{"Error":"no space left"}`,
		"/NetworkDriver.DeleteEndpoint":       `{"Err":"no space left"}`,
	} {
		if code, got := post(t, s, path, "{}"); code != http.StatusOK || !strings.HasPrefix(got, want) {
			t.Errorf("%s: %d %s, want %s", path, code, got, want)
		}
	}
	if calls := f.taken(); len(calls) > 0 {
		t.Errorf("the driver was called: %q", calls)
	}
}

// A connection on which nothing was asked is no call under way.
func TestStopWithSilentConnection(t *testing.T) {
	var log bytes.Buffer
	l := logrus.New()
	l.SetOutput(&log)
	l.SetLevel(logrus.WarnLevel)
	c, stop := serve(t, newTestServer(&fake{}, func(o *Options) { o.Log = l }))
	dial := c.Transport.(*http.Transport).DialContext
	silent, err := dial(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	// Connections are accepted in order: with this call's the other one's is.
	if reply, err := send(c, "/NetworkDriver.Leave", leaveBody); err != nil || reply != "{}" {
		t.Fatalf("%q, %v", reply, err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if log.Len() > 0 {
		t.Errorf("log:\n%s", log.String())
	}
}
