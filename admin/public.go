package admin

import (
	"context"
	"io"
	"net"
	"net/http"
)

// watch adds what monitoring asks for: metrics, whether the daemon answers, and
// whether it has restored its networks and can keep them as recorded.
func (s *Server) watch(mux *http.ServeMux) {
	if s.Metrics != nil {
		mux.Handle("GET /metrics", s.Metrics)
	}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if state := s.Status().State; state != StateHealthy {
			http.Error(w, state, http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, "ok\n")
	})
}

// ServePublic is Serve for those who may read what monitoring asks for, and
// nothing else.
func (s *Server) ServePublic(ctx context.Context, l net.Listener) error {
	mux := http.NewServeMux()
	s.watch(mux)
	return serveHTTP(ctx, l, mux)
}
