package main

import (
	"context"
	"net"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
)

// An exporter serves metrics at an address that may change.
type exporter struct {
	serve func(context.Context, net.Listener) error
	next  chan string // the newest address
	retry time.Duration
	log   logrus.FieldLogger
}

func newExporter(serve func(context.Context, net.Listener) error, log logrus.FieldLogger) *exporter {
	return &exporter{serve: serve, next: make(chan string, 1), retry: 30 * time.Second, log: log}
}

// apply makes it serve where c says. It may not be called concurrently.
func (x *exporter) apply(c config) {
	select {
	case <-x.next: // overtaken
	default:
	}
	x.next <- c.MetricsAddress
}

// run serves until ctx ends. Metrics that can't be served are logged, once for
// each address, and tried again: networks don't fail for their sake.
func (x *exporter) run(ctx context.Context) error {
	stop := func() {}
	defer func() { stop() }()
	at := ""
	again := time.NewTimer(time.Hour)
	defer again.Stop()
	for failed := false; ; {
		select {
		case <-ctx.Done():
			return nil
		case address := <-x.next:
			if address == at {
				continue
			}
			stop()
			stop, at, failed = func() {}, address, false
		case <-again.C:
		}
		if at == "" {
			continue
		}
		l, err := listenTCP(ctx, at)
		if err != nil {
			if !failed {
				x.log.WithError(err).Error("metrics: no address to serve them at; it is tried again")
			}
			failed = true
			again.Reset(x.retry)
			continue
		}
		again.Stop()
		x.log.WithField("address", l.Addr().String()).Info("metrics are served")
		stop = x.start(ctx, l)
	}
}

// start serves on l until the returned function is called, which waits for the end.
func (x *exporter) start(ctx context.Context, l net.Listener) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := x.serve(ctx, l); err != nil {
			x.log.WithError(err).Error("metrics")
		}
	}()
	return func() { cancel(); <-done }
}

// listenTCP listens at an address that the host need not have yet: at boot its
// links come up later. See IP_FREEBIND in ip(7), which IPv6 heeds, too.
func listenTCP(ctx context.Context, address string) (net.Listener, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var set error
		if err := c.Control(func(fd uintptr) { set = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_FREEBIND, 1) }); err != nil {
			return err
		}
		return set
	}}
	return lc.Listen(ctx, "tcp", address)
}
