package proxy

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
)

// Options make a Proxy.
type Options struct {
	// Allow reports whether a client may reach a container, and whether that is to
	// see the client's own address; nil: all may, as an address of the host's. Link
	// is the one by which the client came in: lo for the host itself, "" if that
	// isn't known.
	Allow  func(link string, client, container netip.Addr) (may, asItself bool)
	Limits Limits // what is 0 is that of DefaultLimits
	Log    logrus.FieldLogger
}

// A Proxy serves on any number of sockets. One goroutine, Run, waits for all of
// them: a port that nobody uses costs no goroutine and no buffer.
type Proxy struct {
	opts        Options
	poll        *poller
	connections limit
	sessions    limit
	buffer      []byte // for one datagram; Run's

	mu     sync.Mutex
	busy   map[*socket]bool // with sessions
	taken  map[pair]bool    // by sessions under clients' own addresses
	warned time.Time        // when a limit was last logged
}

// New returns a proxy that serves nothing yet.
func New(o Options) (*Proxy, error) {
	if o.Log == nil {
		l := logrus.New()
		l.SetLevel(logrus.PanicLevel)
		o.Log = l
	}
	if o.Allow == nil {
		o.Allow = func(string, netip.Addr, netip.Addr) (bool, bool) { return true, false }
	}
	o.Limits = o.Limits.or(DefaultLimits())
	poll, err := newPoller()
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	return &Proxy{
		opts: o, poll: poll, connections: limit{most: o.Limits.Connections}, sessions: limit{most: o.Limits.Sessions},
		buffer: make([]byte, 1<<16), busy: map[*socket]bool{}, taken: map[pair]bool{},
	}, nil
}

// Serve carries what comes to a socket to a container, from when Run runs. For tcp (protocol 6) the socket is a listening one, for udp (17) a
// bound one with any filter, which is replaced. It stays the caller's: stop ends all connections, and nothing uses the
// socket any more when it returns.
func (p *Proxy) Serve(fd int, proto uint8, to netip.AddrPort) (stop func(), err error) {
	if err = tellLinks(fd, true); err != nil {
		return nil, fmt.Errorf("proxy: serve %s: %w", to, err)
	}
	switch proto {
	case unix.IPPROTO_TCP:
		stop, err = p.listen(fd, to)
	case unix.IPPROTO_UDP:
		stop, err = p.receive(fd, to)
	default:
		err = fmt.Errorf("protocol %d: want tcp or udp", proto)
	}
	if err != nil {
		return nil, fmt.Errorf("proxy: serve %s: %w", to, err)
	}
	return stop, nil
}

// allow asks whether a client may reach a container, that came by a link to an
// address of the host's. Who came to a loopback address from elsewhere may not:
// route_localnet on an uplink lets the kernel take that.
func (p *Proxy) allow(link string, client, local netip.Addr, to netip.AddrPort) (may, asItself bool) {
	if local.Unmap().IsLoopback() && link != loopback {
		return false, false
	}
	return p.opts.Allow(link, client, to.Addr())
}

// sweepEvery is how often sessions are looked at that may be over.
const sweepEvery = time.Second

// Run serves until the context ends.
func (p *Proxy) Run(ctx context.Context) error {
	var swept time.Time
	err := p.poll.run(ctx, func() time.Duration {
		if now := time.Now(); now.Sub(swept) >= sweepEvery {
			swept = now
			p.sweep(now)
		}
		return p.nextSweep()
	})
	if err != nil {
		return fmt.Errorf("proxy: %w", err)
	}
	return nil
}

// Close frees what New opened. Everything must have been stopped before.
func (p *Proxy) Close() error { return p.poll.close() }

// sweep ends the sessions that are over.
func (p *Proxy) sweep(now time.Time) {
	p.mu.Lock()
	all := slices.Collect(maps.Keys(p.busy))
	p.mu.Unlock()
	for _, s := range all {
		s.sweep(now)
	}
}

// nextSweep returns how long Run may sleep; negative: for ever.
func (p *Proxy) nextSweep() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.busy) == 0 {
		return -1
	}
	return sweepEvery
}

// setBusy says whether a socket has sessions.
func (p *Proxy) setBusy(s *socket, busy bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if busy {
		p.busy[s] = true
	} else {
		delete(p.busy, s)
	}
}

// warn logs that something was refused, at most once a minute: a client decides
// how often that is.
func (p *Proxy) warn(to netip.AddrPort, why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); now.Sub(p.warned) >= time.Minute {
		p.warned = now
		p.opts.Log.WithField("target", to).Warn("proxied port: " + why)
	}
}
