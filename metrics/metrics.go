package metrics

import (
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"github.com/sirupsen/logrus"
)

// Options make a Metrics.
type Options struct {
	Version, Revision, Go string // of the build
	Log                   logrus.FieldLogger
}

// Metrics counts what the daemon does, and shows it beside what it runs. Its
// methods may be called concurrently.
type Metrics struct {
	registry *prometheus.Registry
	calls    *prometheus.CounterVec
	took     *prometheus.HistogramVec
	commits  prometheus.Histogram
	shown    *collector
}

// New returns metrics that show nothing that the daemon runs, until Show.
func New(o Options) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fairway_driver_requests_total",
			Help: "Calls of Docker's that were answered, by method; code is ok or refused.",
		}, []string{"method", "code"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "fairway_driver_request_duration_seconds",
			Help:    "Time from a call of Docker's to its answer, by method.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"method"}),
		commits: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "fairway_store_commit_duration_seconds",
			Help:    "Time that a commit to the store took until it was durable.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5},
		}),
		shown: newCollector(o.Log),
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "fairway_build_info", Help: "Always 1; the labels say what the daemon was built from.",
		ConstLabels: prometheus.Labels{"version": o.Version, "revision": o.Revision, "goversion": o.Go},
	})
	info.Set(1)
	m.registry.MustRegister(info, m.calls, m.took, m.commits, m.shown, collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Called counts a call of Docker's. The method is one of the protocol's.
func (m *Metrics) Called(method string, took time.Duration, err error) {
	code := "ok"
	if err != nil {
		code = "refused"
	}
	m.calls.WithLabelValues(method, code).Inc()
	m.took.WithLabelValues(method).Observe(took.Seconds())
}

// Committed counts a commit to the store.
func (m *Metrics) Committed(took time.Duration) { m.commits.Observe(took.Seconds()) }

// Show makes what the daemon runs a part of the metrics, from now on.
func (m *Metrics) Show(s Source) { m.shown.source.Store(&s) }

// ByContainer says whether each container has series of its own.
func (m *Metrics) ByContainer(yes bool) { m.shown.byContainer.Store(yes) }

// Gather returns all metrics.
func (m *Metrics) Gather() ([]*dto.MetricFamily, error) { return m.registry.Gather() }

// Handler answers with all metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		MaxRequestsInFlight: 4, Timeout: scrapeTime, ErrorLog: m.shown.log, ErrorHandling: promhttp.ContinueOnError,
	})
}

// scrapeTime bounds one answer: Prometheus waits for 10 s unless told otherwise.
const scrapeTime = 9 * time.Second

// pointer is where a source is, once there is one.
type pointer = atomic.Pointer[Source]
