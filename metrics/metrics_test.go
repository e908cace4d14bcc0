package metrics

import (
	"context"
	"errors"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"fairway/store"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/sirupsen/logrus"
	"go.uber.org/goleak"
)

var update = flag.Bool("update", false, "write what is shown into testdata") //nolint:gochecknoglobals // a flag of the test

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixture is two networks, three endpoints, and what went over their links.
type fixture struct {
	networks  []store.Network
	endpoints []store.Endpoint
	traffic   map[string]Traffic
	broken    error
	leases    []Lease
	findings  []Finding
}

func (f *fixture) Networks() []store.Network   { return f.networks }
func (f *fixture) Endpoints() []store.Endpoint { return f.endpoints }
func (f *fixture) Denied(context.Context) map[string]uint64 {
	return map[string]uint64{"fwv1": 0, "fwv2": 7}
}
func (f *fixture) Traffic(context.Context) (map[string]Traffic, error) { return f.traffic, f.broken }
func (f *fixture) Pools() []Pool {
	return []Pool{{Space: "fairway-local", Subnet: netip.MustParsePrefix("172.20.0.0/24"), Used: 3, Quarantined: 1, Size: 254}}
}
func (f *fixture) Leases() []Lease { return f.leases }
func (f *fixture) Findings() ([]Finding, time.Time) {
	return f.findings, time.UnixMilli(1_790_000_000_000)
}

func (f *fixture) Kernel() Kernel {
	return Kernel{Sound: time.UnixMilli(1_790_000_000_500), RepairedLinks: 2, RepairedRules: 3}
}
func (f *fixture) Segments(context.Context) Segments {
	return Segments{Each: []Segment{{"backbone", 9, 2, 1}}, Repaired: 4, Denied: 5}
}
func (f *fixture) WaitingPorts() int         { return 1 }
func (f *fixture) StoreSize() (int64, error) { return 1 << 20, f.broken }

func newFixture() *fixture {
	port := func(proto uint8) store.PortBinding { return store.PortBinding{Proto: proto, HostPort: 80, Port: 80} }
	return &fixture{
		networks: []store.Network{
			{ID: strings.Repeat("a", 64), Name: "web", Mode: "bridge"},
			{ID: strings.Repeat("b", 64), Mode: "bridge"},
			{ID: strings.Repeat("c", 64), Name: "lan", Mode: "macvlan"},
		},
		endpoints: []store.Endpoint{
			{ID: "e1", Network: strings.Repeat("a", 64), Container: "app", HostLink: "fwv1", Published: []store.PortBinding{port(6), port(17)}},
			{ID: "e2", Network: strings.Repeat("a", 64), Container: "db\xff\n", HostLink: "fwv2", Published: []store.PortBinding{port(6)}},
			{ID: "e3", Network: strings.Repeat("c", 64), Container: "lamp"},
		},
		traffic: map[string]Traffic{
			"fwv1": {1000, 2000, 10, 20, 1, 0}, "fwv2": {100, 200, 1, 2, 0, 0}, "eth0": {9, 9, 9, 9, 9, 9},
		},
		leases: []Lease{
			{Endpoint: "e3", Network: strings.Repeat("c", 64), State: "bound", Renewed: 4},
			{Endpoint: "e3", Network: strings.Repeat("c", 64), IPv6: true, State: "lost", Renewed: 1, Losses: 1},
		},
		findings: []Finding{{"FW020", "bad"}, {"FW064", "warning"}, {"FW064", "warning"}},
	}
}

func newTest(s Source) *Metrics {
	log := logrus.New()
	log.SetOutput(io.Discard)
	m := New(Options{Version: "1.2.3", Revision: "abc", Go: "go1.26", Log: log})
	if s != nil {
		m.Show(s)
	}
	return m
}

// page returns what Prometheus reads, without what is the process's own.
func page(t *testing.T, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("%d: %s", w.Code, w.Body)
	}
	return regexp.MustCompile(`(?m)^(# [A-Z]+ )?process_.*\n`).ReplaceAllString(w.Body.String(), "")
}

// Each file of testdata is a page.
func TestPages(t *testing.T) {
	full := newTest(newFixture())
	full.Called("NetworkDriver.Join", 3*time.Millisecond, nil)
	full.Called("NetworkDriver.Join", 30*time.Millisecond, errors.New("refused"))
	full.Committed(2 * time.Millisecond)
	each := newTest(newFixture())
	each.ByContainer(true)
	broken := newFixture()
	broken.broken = errors.New("netlink: no buffer space available")
	for file, m := range map[string]*Metrics{
		"restoring.prom": newTest(nil), "full.prom": full, "containers.prom": each, "broken.prom": newTest(broken),
	} {
		path := "testdata/" + file
		got := page(t, m)
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(want), got); d != "" {
			t.Errorf("%s (-want +got):\n%s", path, d)
		}
	}
}

// The linter of promtool has nothing to say of the names, helps and types.
func TestLint(t *testing.T) {
	m := newTest(newFixture())
	m.Called("NetworkDriver.Join", time.Millisecond, nil)
	var problems []promlint.Problem
	problems, err := testutil.GatherAndLint(m.registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

// A total doesn't go back when a container stops or its link is made anew, and
// nothing is kept of a network that is gone.
func TestTotals(t *testing.T) {
	f := newFixture()
	m := newTest(f)
	received := func() string {
		t.Helper()
		for line := range strings.Lines(page(t, m)) {
			if v, ok := strings.CutPrefix(line, `fairway_endpoint_receive_bytes_total{container="",network="web"} `); ok {
				return strings.TrimSpace(v)
			}
		}
		return "none"
	}
	steps := []struct {
		what string
		do   func()
		want string
	}{
		{"both", func() {}, "1100"},
		{"one more byte", func() { f.traffic["fwv1"] = Traffic{1001, 2000, 11, 20, 1, 0} }, "1101"},
		{"the second stops", func() { f.endpoints = f.endpoints[:1] }, "1101"},
		{"the first's link is another", func() { f.traffic["fwv1"] = Traffic{5, 0, 1, 0, 0, 0} }, "1106"},
		{"all stop", func() { f.endpoints = nil }, "1106"},
		{"nothing is read", func() { f.broken = errors.New("no") }, "none"},
		{"again", func() { f.broken = nil }, "1106"},
		{"the network goes", func() { f.networks = f.networks[1:] }, "none"},
		{"one of its name is made", func() {
			f.networks = append(f.networks, store.Network{ID: "d", Name: "web", Mode: "bridge"})
		}, "0"},
	}
	for _, s := range steps {
		s.do()
		if got := received(); got != s.want {
			t.Fatalf("%s: %s bytes, want %s", s.what, got, s.want)
		}
	}
	if n := len(m.shown.totals.gone); n != 0 {
		t.Errorf("%d networks that are gone are kept", n)
	}
}

// A count of renewals doesn't go back when a lease is given back, or had anew.
func TestRenewals(t *testing.T) {
	f := newFixture()
	m := newTest(f)
	lan := strings.Repeat("c", 64)
	steps := []struct {
		what string
		now  []Lease
		want string
	}{
		{"two", f.leases, "5 1 1"},
		{"one more", []Lease{{Endpoint: "e3", Network: lan, State: "renewing", Renewed: 5}}, "6 1 0"},
		{"it is had anew", []Lease{{Endpoint: "e3", Network: lan, State: "bound"}}, "6 1 1"},
		{"and renewed", []Lease{{Endpoint: "e3", Network: lan, State: "bound", Renewed: 1}}, "7 1 1"},
		{"none", nil, "7 1 0"},
	}
	value := func(text, series string) string {
		_, rest, _ := strings.Cut(text, series+" ")
		v, _, _ := strings.Cut(rest, "\n")
		return v
	}
	for _, s := range steps {
		f.leases = s.now
		text := page(t, m)
		got := value(text, `fairway_dhcp_renewals_total{network="lan",result="renewed"}`) + " " +
			value(text, `fairway_dhcp_renewals_total{network="lan",result="lost"}`) + " " +
			value(text, `fairway_dhcp_leases{network="lan",state="bound"}`)
		if got != s.want {
			t.Errorf("%s: %s, want %s", s.what, got, s.want)
		}
	}
	f.networks = f.networks[:2]
	if text := page(t, m); strings.Contains(text, "fairway_dhcp_") || len(m.shown.renewals.sums) != 0 {
		t.Errorf("the network is gone:\n%s", text)
	}
}

// How many series there are doesn't depend on containers unless that is asked for.
func TestCardinality(t *testing.T) {
	f := newFixture()
	few := newTest(f)
	many := newFixture()
	for range 1000 {
		many.endpoints = append(many.endpoints, many.endpoints[0])
	}
	lines := func(m *Metrics) int { return strings.Count(page(t, m), "\n") }
	if a, b := lines(few), lines(newTest(many)); a != b {
		t.Errorf("%d lines with 3 endpoints, %d with 1003", a, b)
	}
}
