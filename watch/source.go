package watch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mdlayher/netlink"
	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
)

// buffer is how many bytes of notifications wait for us at most. It is the
// kernel's memory, taken only as they come.
const buffer = 16 << 20

// reopen is how long to wait between tries to open a socket again.
const reopen = time.Second

// A source is one netlink socket that is listened to, and opened again when it
// fails.
type source struct {
	name   string // for the log
	family int    // NETLINK_*
	groups uint32 // a bit each
	log    logrus.FieldLogger

	started func(*netlink.Conn) error // after it was opened; may be nil
	read    func(netlink.Message)
	missed  func() // some messages are lost

	conn *netlink.Conn
}

// bits returns the mask of groups.
func bits(groups ...uint) (mask uint32) {
	for _, g := range groups {
		mask |= 1 << (g - 1)
	}
	return mask
}

// open listens in the network namespace of the calling thread.
func (s *source) open() error {
	c, err := netlink.Dial(s.family, &netlink.Config{Groups: s.groups})
	if err != nil {
		return fmt.Errorf("watch: open netlink for %s: %w", s.name, err)
	}
	err = c.SetReadBuffer(buffer)
	if err == nil && s.started != nil {
		err = s.started(c)
	}
	if err != nil {
		_ = c.Close()
		return fmt.Errorf("watch: open netlink for %s: %w", s.name, err)
	}
	s.conn = c
	return nil
}

// close may be called when run has ended, and again.
func (s *source) close() {
	if s.conn != nil {
		_ = s.conn.Close()
		s.conn = nil
	}
}

// run reads until the context ends. That it fails is said once, and once that
// it works again.
func (s *source) run(ctx context.Context) {
	for {
		err := s.receive(ctx)
		if ctx.Err() != nil {
			return
		}
		s.log.WithError(err).Warnf("watch: %s: changes by others are seen only every 30 s", s.name)
		for s.close(); s.conn == nil; _ = s.open() {
			if !sleep(ctx, reopen) {
				return
			}
		}
		s.log.Infof("watch: %s: changes by others are seen at once again", s.name)
		s.missed()
	}
}

// receive reads until an error that the socket doesn't survive.
func (s *source) receive(ctx context.Context) error {
	conn := s.conn
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	for {
		messages, err := conn.Receive()
		if errors.Is(err, unix.ENOBUFS) { // see netlink(7)
			s.log.Debugf("watch: %s: more changes than could be read", s.name)
			if s.started != nil {
				if err := s.started(conn); err != nil {
					return err
				}
			}
			s.missed()
			continue
		}
		if err != nil {
			return err
		}
		for _, m := range messages {
			s.read(m)
		}
	}
}
