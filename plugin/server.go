package plugin

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/sirupsen/logrus"
)

// Options are what a Server needs. Zero limits take their defaults.
type Options struct {
	Networks  Networks
	Addresses Addresses
	// WithoutMAC is for a second name in Docker, of an IPAM driver alone for which
	// it gives endpoints no MAC address: see ipam.SpaceIPvlan.
	WithoutMAC bool
	// Ready is closed once the records are restored. Until then only calls that
	// need none are served.
	Ready <-chan struct{}
	// Broken is why nothing can be served but calls that need no records; nil if
	// everything can.
	Broken error
	// PeerEngine names the engine at the other end of a connection; "" unknown.
	PeerEngine func(net.Conn) string
	// Called is told of each call that was answered; nil: nobody is.
	Called func(method string, took time.Duration, err error)
	Log    logrus.FieldLogger

	// BodyLimit is the largest body in bytes that is served: 16 MiB, which
	// holds a container with every port of tcp and udp published.
	BodyLimit int64
	// CallTimeout bounds a call: 25 s, less than the 30 s that dockerd allows
	// a managed plugin. (A plugin found by its socket gets no limit at all, and
	// dockerd holds its locks meanwhile.)
	CallTimeout time.Duration
	// ReadyTimeout bounds the part of it that waits for Ready: 15 s.
	ReadyTimeout time.Duration
	// StopTimeout bounds how long calls under way may take when the server
	// stops: 5 s, half of what dockerd gives a managed plugin.
	StopTimeout time.Duration
}

// A Server serves Docker's plugin protocol for both drivers.
type Server struct {
	Options
	networks  Networks
	addresses Addresses
	methods   map[string]method
}

// New returns a server that Serve starts.
func New(o Options) *Server {
	o.BodyLimit = cmp.Or(o.BodyLimit, 16<<20)
	o.CallTimeout = cmp.Or(o.CallTimeout, 25*time.Second)
	o.ReadyTimeout = cmp.Or(o.ReadyTimeout, 15*time.Second)
	o.StopTimeout = cmp.Or(o.StopTimeout, 5*time.Second)
	if o.PeerEngine == nil {
		o.PeerEngine = func(net.Conn) string { return "" }
	}
	if o.Called == nil {
		o.Called = func(string, time.Duration, error) {}
	}
	return &Server{Options: o, networks: o.Networks, addresses: o.Addresses, methods: methods()}
}

// Keys of a connection's context.
type (
	engineKey struct{} // the engine at its other end, a string
	baseKey   struct{} // the context of the whole server
)

// Serve answers on l until ctx ends, then lets the calls under way finish and
// returns nil. It closes l.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	h := &http.Server{
		Handler: s,
		BaseContext: func(net.Listener) context.Context {
			return context.WithValue(base, baseKey{}, base)
		},
		ReadHeaderTimeout: 10 * time.Second,
		// Longer than a call: the deadline of reading also ends its context.
		ReadTimeout: time.Minute + s.CallTimeout,
		// Longer than the 30 s that dockerd keeps an idle connection: were it
		// closed here first, a request just sent on it would be repeated with
		// an empty body.
		IdleTimeout: 5 * time.Minute,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, engineKey{}, s.PeerEngine(c))
		},
		ErrorLog: quietLog(s.Log),
	}
	silent := newSilent()
	h.ConnState = silent.note
	served := make(chan error, 1)
	go func() { served <- h.Serve(l) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	stop, cancelStop := context.WithTimeout(base, s.StopTimeout)
	defer cancelStop()
	go silent.close(stop)
	err := h.Shutdown(stop)
	if err != nil {
		cancel() // ends the calls that are left
		s.Log.WithError(err).Warn("stopped with calls under way")
		_ = h.Close()
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
