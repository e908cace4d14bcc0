package admin

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
)

// Options are what a Server needs.
type Options struct {
	Records Records
	// Publisher makes changes; nil: there are none.
	Publisher Publisher
	// Health says how the daemon is; nil: nobody knows.
	Health Health
	// Config says what the daemon was told, and by what; nil: nobody knows.
	Config func() []Setting
	// Metrics answers GET /metrics; nil: there are none.
	Metrics http.Handler
	// Backup makes a copy of the records and returns its path; nil: nobody can.
	Backup func(context.Context) (path string, err error)
	// Ready is closed once the records are restored; until then they are not shown.
	Ready <-chan struct{}
	Build Build
	// Settings are what the daemon runs with, by the flag's name: a part of its
	// status.
	Settings map[string]string
	// Repair makes the kernel as recorded and says how much differed; nil: it can't
	// be asked for.
	Repair func(context.Context) (int, error)
	// Cluster is the daemon's; nil: it is in none.
	Cluster Cluster
	// Carried is what the links of endpoints have carried, by their IDs; nil: nobody
	// knows.
	Carried func(context.Context) (map[string]Carried, error)
	// Events are the last events; nil: none are kept.
	Events Events
	Log    logrus.FieldLogger
}

// A Server serves the operators' API.
type Server struct {
	Options
	started time.Time
	mux     *http.ServeMux
	ending  chan struct{} // closed when Serve is to end: streams end, too
	end     sync.Once
}

// New returns a server that Serve starts.
func New(o Options) *Server {
	s := &Server{Options: o, started: time.Now(), mux: http.NewServeMux(), ending: make(chan struct{})}
	s.mux.HandleFunc("GET /v1/networks", s.whenReady(func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, networks(s.Records))
	}))
	s.mux.HandleFunc("GET /v1/endpoints", s.whenReady(func(w http.ResponseWriter, r *http.Request) {
		reply(w, http.StatusOK, endpoints(r.Context(), s.Records))
	}))
	s.mux.HandleFunc("GET /v1/leases", s.whenReady(func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, leases(s.Records))
	}))
	s.mux.HandleFunc("GET /v1/ports", s.whenReady(s.ports))
	if s.Publisher != nil {
		s.mux.HandleFunc("POST /v1/ports/add", s.whenReady(s.addPorts))
		s.mux.HandleFunc("POST /v1/ports/remove", s.whenReady(s.removePorts))
	}
	if s.Repair != nil {
		s.mux.HandleFunc("POST /v1/repair", s.whenReady(s.repair))
	}
	s.mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, s.Status())
	})
	if s.Config != nil {
		s.mux.HandleFunc("GET /v1/config", s.config)
	}
	if s.Backup != nil {
		s.mux.HandleFunc("POST /v1/store/backup", s.makeBackup)
	}
	s.serveCluster()
	if s.Carried != nil {
		s.mux.HandleFunc("GET /v1/traffic", s.whenReady(s.traffic))
	}
	if s.Events != nil {
		s.mux.HandleFunc("GET /v1/events", s.events)
	}
	s.watch(s.mux)
	s.mux.HandleFunc("GET /v1/version", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, Daemon{Version: Version, Daemon: s.Build})
	})
	s.mux.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusNotFound, failure{Version, "no such call: this daemon may be older than the command"})
	})
	return s
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// Serve answers on l until ctx ends, then lets the calls under way finish and
// returns nil. It closes l.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	stop := context.AfterFunc(ctx, func() { s.end.Do(func() { close(s.ending) }) })
	defer stop()
	return serveHTTP(ctx, l, s)
}

func serveHTTP(ctx context.Context, l net.Listener, handler http.Handler) error {
	h := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
	served := make(chan error, 1)
	go func() { served <- h.Serve(l) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if h.Shutdown(stop) != nil {
		_ = h.Close()
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// ports answers with all ports, and what goes by them with ?traffic=1.
func (s *Server) ports(w http.ResponseWriter, r *http.Request) {
	traffic := r.URL.Query().Get("traffic") == "1"
	states := s.Records.PortStates(r.Context(), traffic)
	all := portsOf(s.Records, states, traffic, func(Published) bool { return true })
	all.Waiting = states.Waiting
	reply(w, http.StatusOK, all)
}

func (s *Server) whenReady(answer http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-s.Ready:
			answer(w, r)
		default:
			w.Header().Set("Retry-After", "1")
			reply(w, http.StatusServiceUnavailable, failure{Version, "it is still restoring its networks"})
		}
	}
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a client that is gone gets no reply
}
