package link

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/sirupsen/logrus"
	"github.com/vishvananda/netns"
)

// Options make a Conn.
type Options struct {
	Instance string             // of the store: whose the links are, see Mark
	Log      logrus.FieldLogger // nil: silent
	Step     func(name string)  // told of every side effect before it, e.g. "link.apply veth"; may be nil
}

// A Conn works on the kernel of one network namespace, that of the goroutine
// that made it, and on others that an object names. Its methods may be called
// concurrently and from any thread.
type Conn struct {
	marks
	opts    Options
	log     logrus.FieldLogger
	own     *space
	thread  thread
	queue   queue
	grave   atomic.Uint32 // group of links that are being deleted; 0: not chosen yet
	bridges sync.Map      // indices of bridges in own that are ours; the kernel gives none a second time
}

// New opens the namespace that the caller's thread is in. It needs
// CAP_NET_ADMIN there, and CAP_SYS_ADMIN to enter others.
func New(opts Options) (*Conn, error) {
	if opts.Instance == "" {
		return nil, errors.New("link: no instance")
	}
	if opts.Log == nil {
		l := logrus.New()
		l.SetLevel(logrus.PanicLevel)
		opts.Log = l
	}
	if opts.Step == nil {
		opts.Step = func(string) {}
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := netns.Get()
	if err != nil {
		return nil, fmt.Errorf("link: open network namespace: %w", err)
	}
	own, err := openSpace(home)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("link: open network namespace: %w", err), home.Close())
	}
	return &Conn{marks: newMarks(opts.Instance), opts: opts, log: opts.Log, own: own}, nil
}

// Close waits for removals that are under way and frees what New opened.
func (c *Conn) Close() error {
	c.queue.workers.Wait()
	c.thread.close()
	return c.own.close()
}

// in opens the namespace at a path; "" is the Conn's own.
func (c *Conn) in(path string) (s *space, done func(), err error) {
	if path == "" {
		return c.own, func() {}, nil
	}
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return nil, nil, fmt.Errorf("network namespace %s: %w", path, err)
	}
	err = c.thread.in(ns, func() error {
		s, err = openSpace(ns)
		return err
	})
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("network namespace %s: %w", path, err), ns.Close())
	}
	return s, func() { s.close() }, nil
}

// peek opens no more of a namespace than it takes to read its links.
func (c *Conn) peek(path string) (s *space, done func(), err error) {
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return nil, nil, fmt.Errorf("network namespace %s: %w", path, err)
	}
	defer ns.Close()
	s = &space{ns: netns.None(), ioctl: -1}
	if err = c.thread.in(ns, func() error { s.list, err = newSocket(); return err }); err != nil {
		return nil, nil, fmt.Errorf("network namespace %s: %w", path, err)
	}
	return s, func() { s.close() }, nil
}
