package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"fairway/metrics"
	"fairway/store"
)

// freePort returns an address of this host on which nobody listens.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // at once
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// read returns what is at a path of an address, with the status.
func read(t *testing.T, address, path string) (int, string, error) {
	t.Helper()
	c := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Get("http://" + address + path) //nolint:noctx // has a time-out
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// someNetwork is what a daemon runs that has one network.
type someNetwork struct{ metrics.Source }

func (someNetwork) Networks() []store.Network {
	return []store.Network{{ID: "1", Name: "web", Mode: "bridge"}}
}
func (someNetwork) Endpoints() []store.Endpoint              { return nil }
func (someNetwork) Denied(context.Context) map[string]uint64 { return nil }
func (someNetwork) Traffic(context.Context) (map[string]metrics.Traffic, error) {
	return map[string]metrics.Traffic{}, nil
}
func (someNetwork) Pools() []metrics.Pool   { return nil }
func (someNetwork) Leases() []metrics.Lease { return nil }
func (someNetwork) Findings() (f []metrics.Finding, at time.Time) {
	return f, at
}
func (someNetwork) Kernel() metrics.Kernel { return metrics.Kernel{} }
func (someNetwork) Segments(context.Context) metrics.Segments {
	return metrics.Segments{}
}
func (someNetwork) WaitingPorts() int         { return 0 }
func (someNetwork) StoreSize() (int64, error) { return 1, nil }

// TestMetricsAddress: metrics are at the address that is set, and nothing that
// isn't for everybody; another address takes its place, and "" ends it.
func TestMetricsAddress(t *testing.T) {
	first, second := freePort(t), freePort(t)
	restored := make(chan struct{})
	d := testDaemon(t, t.TempDir(), func(p *parts) {
		p.measured = someNetwork{}
		p.restore = func(ctx context.Context) error {
			select {
			case <-restored:
			case <-ctx.Done():
			}
			return ctx.Err()
		}
	})
	d.config.MetricsAddress = first
	d.tuner = &tuner{log: d.log}
	stop := start(t, d)
	await(t, "the first address", func() error { _, _, err := read(t, first, "/healthz"); return err })
	if code, text, _ := read(t, first, "/readyz"); code != http.StatusServiceUnavailable || text != "restoring\n" {
		t.Errorf("readyz while restoring: %d %q", code, text)
	}
	if code, text, _ := read(t, first, "/metrics"); code != http.StatusOK || !strings.Contains(text, "fairway_up 0\n") {
		t.Errorf("metrics while restoring: %d\n%s", code, text)
	}
	close(restored)
	await(t, "ready", func() error {
		code, _, err := read(t, first, "/readyz")
		if err == nil && code != http.StatusOK {
			err = http.ErrNoLocation
		}
		return err
	})
	if _, err := ask(d.config.Socket, "/NetworkDriver.Leave"); err != nil {
		t.Fatal(err)
	}
	_, text, _ := read(t, first, "/metrics")
	for _, line := range []string{
		"fairway_up 1\n", `fairway_networks{mode="bridge"} 1` + "\n",
		`fairway_driver_requests_total{code="ok",method="NetworkDriver.Leave"} 1` + "\n",
	} {
		if !strings.Contains(text, line) {
			t.Errorf("no line %q in\n%s", line, text)
		}
	}
	for _, path := range []string{"/v1/networks", "/v1/status", "/v1/config", "/", "/debug/pprof/"} {
		if code, text, _ := read(t, first, path); code != http.StatusNotFound {
			t.Errorf("%s is public: %d %s", path, code, text)
		}
	}
	apply := func(address string) {
		for _, f := range d.tuner.apply {
			if err := f(config{MetricsAddress: address}); err != nil {
				t.Fatal(err)
			}
		}
	}
	apply(second)
	await(t, "the second address", func() error { _, _, err := read(t, second, "/metrics"); return err })
	if _, _, err := read(t, first, "/metrics"); err == nil {
		t.Error("the first address still answers")
	}
	apply("")
	await(t, "the end of the second", func() error {
		if _, _, err := read(t, second, "/metrics"); err == nil {
			return http.ErrServerClosed
		}
		return nil
	})
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// TestMetricsAddressTaken: an address that somebody has is tried again, and one
// that the host doesn't have yet is no mistake.
func TestMetricsAddressTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // at once
	if err != nil {
		t.Fatal(err)
	}
	d := testDaemon(t, t.TempDir(), nil)
	x := newExporter(func(ctx context.Context, l net.Listener) error {
		<-ctx.Done()
		return l.Close()
	}, d.log)
	x.retry = 10 * time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- x.run(ctx) }()
	x.apply(config{MetricsAddress: taken.Addr().String()})
	time.Sleep(30 * time.Millisecond)
	if err = taken.Close(); err != nil {
		t.Fatal(err)
	}
	await(t, "the address that is free again", func() error {
		c, err := net.Dial("tcp", taken.Addr().String()) //nolint:noctx // at once
		if err == nil {
			c.Close()
		}
		return err
	})
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	for _, address := range []string{"192.0.2.1:0", "[2001:db8::1]:0"} {
		l, err := listenTCP(t.Context(), address)
		if err != nil {
			t.Errorf("%s: %v", address, err)
			continue
		}
		l.Close()
	}
}
