package docs

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"fairway/metrics"
	"fairway/store"

	"github.com/sirupsen/logrus"
	"gopkg.in/yaml.v3"
)

// one is a daemon that runs one of everything, so that every metric is there.
type one struct{}

func (one) Networks() []store.Network {
	return []store.Network{{ID: "1", Name: "web", Mode: "bridge"}}
}

func (one) Endpoints() []store.Endpoint {
	return []store.Endpoint{{ID: "2", Network: "1", HostLink: "fwv1", Published: []store.PortBinding{{Proto: 6}}}}
}
func (one) Denied(context.Context) map[string]uint64 { return nil }
func (one) Traffic(context.Context) (map[string]metrics.Traffic, error) {
	return map[string]metrics.Traffic{"fwv1": {}}, nil
}
func (one) Pools() []metrics.Pool {
	return []metrics.Pool{{Space: "fairway-local", Subnet: netip.MustParsePrefix("172.20.0.0/24"), Size: 254}}
}
func (one) Leases() []metrics.Lease {
	return []metrics.Lease{{Endpoint: "2", Network: "1", State: "bound"}}
}

func (one) Findings() ([]metrics.Finding, time.Time) {
	return []metrics.Finding{{Code: "FW020", Severity: "bad"}}, time.Unix(1, 0)
}
func (one) Kernel() metrics.Kernel { return metrics.Kernel{Sound: time.Unix(1, 0)} }
func (one) Segments(context.Context) metrics.Segments {
	return metrics.Segments{Each: []metrics.Segment{{Name: "backbone"}}}
}
func (one) WaitingPorts() int         { return 0 }
func (one) StoreSize() (int64, error) { return 0, nil }

// A metric is what a page tells of it.
type metric struct{ name, kind, labels, help string }

// allMetrics returns every metric of fairway's own, by name.
func allMetrics(t *testing.T) (out []metric) {
	t.Helper()
	log := logrus.New()
	log.SetOutput(io.Discard)
	m := metrics.New(metrics.Options{Log: log})
	m.Show(one{})
	m.Called("NetworkDriver.Join", time.Millisecond, nil)
	families, err := m.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "fairway_") {
			continue
		}
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, "`"+l.GetName()+"`")
		}
		out = append(out, metric{f.GetName(), strings.ToLower(f.GetType().String()), strings.Join(labels, " "), f.GetHelp()})
	}
	return out
}

// TestMetricsPage checks that the table in metrics.md is what the daemon tells.
func TestMetricsPage(t *testing.T) {
	const page, name = "metrics.md", "metrics"
	raw, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, got, after, ok := cutPart(string(raw), name)
	if !ok {
		t.Fatalf("%s has no part %q", page, name)
	}
	var b strings.Builder
	b.WriteString("| metric | type | labels | |\n|---|---|---|---|\n")
	for _, m := range allMetrics(t) {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", m.name, m.kind, m.labels, cell(m.help))
	}
	switch {
	case got == b.String():
	case *update:
		if err := os.WriteFile(page, []byte(before+b.String()+after), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s is stale: go test ./docs -run TestMetricsPage -update\n got:\n%s\nwant:\n%s", page, got, b.String())
	}
}

// TestMonitoringFiles: alerts and dashboard ask for metrics that there are, with
// labels that these have, and each alert has its words in metrics.md.
func TestMonitoringFiles(t *testing.T) {
	known := map[string][]string{}
	for _, m := range allMetrics(t) {
		labels := append(strings.Fields(strings.ReplaceAll(m.labels, "`", "")), "instance", "job", "le")
		known[m.name] = labels
		if m.kind == "histogram" {
			known[m.name+"_bucket"] = labels
		}
	}
	asked := map[string]bool{}
	check := func(where, expr string) {
		t.Helper()
		for _, m := range regexp.MustCompile(`\b(fairway_[a-z_]+)(?:\{([^}]*)\})?`).FindAllStringSubmatch(expr, -1) {
			labels, ok := known[m[1]]
			if !ok {
				t.Errorf("%s: no metric %s", where, m[1])
			}
			asked[strings.TrimSuffix(m[1], "_bucket")] = true
			for _, l := range regexp.MustCompile(`([a-z_]+)=`).FindAllStringSubmatch(m[2], -1) {
				if !slices.Contains(labels, l[1]) {
					t.Errorf("%s: %s has no label %s", where, m[1], l[1])
				}
			}
		}
	}
	alerts := readAlerts(t)
	for _, a := range alerts {
		check(a.Alert, a.Expr)
		anchor, ok := strings.CutPrefix(a.Annotations["runbook"], "docs/metrics.md#")
		if !ok || anchor != strings.ToLower(a.Alert) || !hasHeading(t, "metrics.md", anchor) {
			t.Errorf("alert %s: runbook %q, want its own heading in metrics.md", a.Alert, a.Annotations["runbook"])
		}
	}
	if len(alerts) < 12 {
		t.Errorf("only %d alerts", len(alerts))
	}
	raw, err := os.ReadFile("../packaging/monitoring/grafana-dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			ID      int
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(raw, &board); err != nil {
		t.Fatal(err)
	}
	seen := map[int]bool{}
	for _, p := range board.Panels {
		if seen[p.ID] {
			t.Errorf("two panels have the number %d", p.ID)
		}
		seen[p.ID] = true
		for _, target := range p.Targets {
			check("panel "+p.Title, target.Expr)
		}
	}
	for name := range known {
		if !asked[strings.TrimSuffix(name, "_bucket")] && name != "fairway_build_info" && name != "fairway_networks" && name != "fairway_store_size_bytes" {
			t.Errorf("neither an alert nor the dashboard shows %s", name)
		}
	}
}

type alert struct {
	Alert, Expr string
	Annotations map[string]string
}

func readAlerts(t *testing.T) (out []alert) {
	t.Helper()
	raw, err := os.ReadFile("../packaging/monitoring/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct{ Rules []alert }
	}
	if err := yaml.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	for _, g := range file.Groups {
		out = append(out, g.Rules...)
	}
	return out
}
