package plugin

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

// silent are the connections on which nothing was ever asked. dockerd opens
// some in advance; net/http waits for their first request 5 s when it stops.
type silent struct {
	mu    sync.Mutex
	conns map[net.Conn]bool
}

// requestTime is how long a request may take to arrive on a new connection:
// dockerd writes it at once.
const requestTime = 200 * time.Millisecond

func newSilent() *silent { return &silent{conns: map[net.Conn]bool{}} }

// note is told of the states of all connections: http.Server.ConnState.
func (s *silent) note(c net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if state == http.StateNew {
		s.conns[c] = true
	} else {
		delete(s.conns, c)
	}
}

// close closes those that are still silent after requestTime, unless ctx ends
// before.
func (s *silent) close(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-time.After(requestTime):
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		_ = c.Close()
	}
}
