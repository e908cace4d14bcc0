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

// Metrics returns the metrics as GET /metrics gives them.
func (c *Client) Metrics(ctx context.Context) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://fairway/metrics", nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxReply))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = c.refused(resp, text)
	}
	return text, err
}

// ServePublic is Serve for those who may read what monitoring asks for, and
// nothing else.
func (s *Server) ServePublic(ctx context.Context, l net.Listener) error {
	mux := http.NewServeMux()
	s.watch(mux)
	return serveHTTP(ctx, l, mux)
}
