package plugin

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"fairway/driver"
	"fairway/ipam"
	"fairway/store"

	"github.com/sirupsen/logrus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is both drivers: it notes each call as text and answers what the test
// put in it.
type fake struct {
	mu    sync.Mutex
	calls []string

	err     error
	reply   driver.EndpointReply
	joined  driver.Joined
	info    map[string]any
	pool    ipam.PoolReply
	address netip.Prefix
	before  func(ctx context.Context) // runs in every call
}

func (f *fake) note(ctx context.Context, format string, args ...any) error {
	f.mu.Lock()
	f.calls = append(f.calls, fmt.Sprintf(format, args...))
	f.mu.Unlock()
	if f.before != nil {
		f.before(ctx)
	}
	if f.err != nil {
		return f.err
	}
	return ctx.Err()
}

// taken returns the calls noted so far and forgets them.
func (f *fake) taken() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.calls
	f.calls = nil
	return c
}

func (f *fake) CheckGateway(ctx context.Context, n driver.NetworkSpec) (skip4, skip6 bool, err error) {
	return true, false, f.note(ctx, "CheckGateway %+v", n)
}

func (f *fake) CreateNetwork(ctx context.Context, n driver.NetworkSpec) error {
	return f.note(ctx, "CreateNetwork %+v", n)
}

func (f *fake) DeleteNetwork(ctx context.Context, id string) error {
	return f.note(ctx, "DeleteNetwork %s", id)
}

func (f *fake) CreateEndpoint(ctx context.Context, e driver.EndpointSpec) (driver.EndpointReply, error) {
	return f.reply, f.note(ctx, "CreateEndpoint %+v", e)
}

func (f *fake) DeleteEndpoint(ctx context.Context, n, e string) error {
	return f.note(ctx, "DeleteEndpoint %s %s", n, e)
}

func (f *fake) EndpointInfo(ctx context.Context, n, e string) (map[string]any, error) {
	return f.info, f.note(ctx, "EndpointInfo %s %s", n, e)
}

func (f *fake) Join(ctx context.Context, n, e, sandbox string, _ ...store.PortBinding) (driver.Joined, error) {
	return f.joined, f.note(ctx, "Join %s %s %s", n, e, sandbox)
}

func (f *fake) Leave(ctx context.Context, n, e string) error {
	return f.note(ctx, "Leave %s %s", n, e)
}

func (f *fake) Publish(ctx context.Context, n, e string, want driver.PublishSpec) error {
	return f.note(ctx, "Publish %s %s %+v", n, e, want)
}

func (f *fake) Unpublish(ctx context.Context, n, e string) error {
	return f.note(ctx, "Unpublish %s %s", n, e)
}

func (f *fake) RequestPool(ctx context.Context, p ipam.PoolSpec) (ipam.PoolReply, error) {
	return f.pool, f.note(ctx, "RequestPool %+v", p)
}

func (f *fake) ReleasePool(ctx context.Context, id string) error {
	return f.note(ctx, "ReleasePool %s", id)
}

func (f *fake) RequestAddress(ctx context.Context, a ipam.AddressSpec) (netip.Prefix, error) {
	return f.address, f.note(ctx, "RequestAddress %+v", a)
}

func (f *fake) ReleaseAddress(ctx context.Context, pool string, ip netip.Addr) error {
	return f.note(ctx, "ReleaseAddress %s %s", pool, ip)
}

func ready() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

func quiet() *logrus.Logger {
	l := logrus.New()
	l.SetOutput(io.Discard)
	return l
}

// newTestServer returns a server that is ready, on f, with what change sets.
func newTestServer(f *fake, change func(*Options)) *Server {
	o := Options{Networks: f, Addresses: f, Ready: ready(), Log: quiet()}
	if change != nil {
		change(&o)
	}
	return New(o)
}

// post sends body and returns the status and the reply.
func post(t *testing.T, h http.Handler, path, body string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(body)))
	if got := w.Header().Get("Content-Type"); got != contentType {
		t.Errorf("%s: Content-Type %q, want %q", path, got, contentType)
	}
	return w.Code, strings.TrimSpace(w.Body.String())
}
