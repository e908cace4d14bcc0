package proxy

import (
	"errors"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A socket receives the datagrams of one port.
type socket struct {
	p     *Proxy
	to    netip.AddrPort
	token token

	mu       sync.Mutex // held while fd or a session is used
	fd       int
	closed   bool
	sessions table
}

func (p *Proxy) receive(fd int, to netip.AddrPort) (stop func(), err error) {
	if err = notByOthers(fd, isIPv6(fd)); err != nil {
		return nil, err
	}
	s := &socket{p: p, to: to, fd: fd, sessions: newTable(p.opts.Limits.SessionsPerPort)}
	if s.token, err = p.poll.add(fd, s.ready); err != nil {
		return nil, err
	}
	return s.stop, nil
}

func (s *socket) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.p.poll.remove(s.fd, s.token)
	for _, one := range s.sessions.all {
		s.end(one)
	}
}

func (s *socket) sweep(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.sessions.over(now) {
		s.end(one)
	}
}

// end ends a session. The caller holds s.mu, as for all below.
func (s *socket) end(one *session) {
	s.p.poll.remove(one.fd, one.token)
	_ = unix.Close(one.fd)
	s.p.giveBack(one.as)
	s.sessions.remove(one)
	s.p.sessions.give()
	if len(s.sessions.all) == 0 {
		s.p.setBusy(s, false)
	}
}

// ready passes clients' datagrams on to the container.
func (s *socket) ready() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range atOnce {
		if s.closed {
			return
		}
		n, f, via, err := receive(s.fd, s.p.buffer)
		switch {
		case errors.Is(err, errRefused), errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return
		}
		one := s.sessions.get(f, time.Now())
		if one == nil {
			if one = s.begin(f, via); one == nil {
				continue
			}
		}
		// The first write may say instead what became of the one before.
		if _, err = unix.Write(one.fd, s.p.buffer[:n]); errors.Is(err, unix.ECONNREFUSED) {
			_, _ = unix.Write(one.fd, s.p.buffer[:n])
		}
	}
}

// begin makes the session of a flow that came in by a link, or returns nil.
func (s *socket) begin(f flow, via uint32) *session {
	may, asItself := s.p.allow(came(s.fd, f.client.Addr(), f.local, via), f.client.Addr(), f.local, s.to)
	if !may {
		return nil
	}
	if s.sessions.full() || !s.p.sessions.take() {
		s.p.warn(s.to, "datagram dropped: too many clients at a time, see docs/publishing.md")
		return nil
	}
	one := &session{flow: f, last: time.Now()}
	var err error
	if asItself {
		one.fd, one.as, err = s.p.connectAs(s.to, f.client)
	} else {
		one.fd, err = connect(s.to, netip.AddrPort{})
	}
	if err == nil {
		one.token, err = s.p.poll.add(one.fd, func() { s.answer(one) })
		if err != nil {
			_ = unix.Close(one.fd)
		}
	}
	if err != nil {
		s.p.giveBack(one.as)
		s.p.sessions.give()
		s.p.warn(s.to, "datagram dropped: "+err.Error())
		return nil
	}
	s.sessions.put(one)
	s.p.setBusy(s, true)
	return one
}

// answer passes the container's datagrams on to a session's client.
func (s *socket) answer(one *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range atOnce {
		if s.sessions.all[one.flow] != one { // ended meanwhile
			return
		}
		n, err := unix.Read(one.fd, s.p.buffer)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil: // ECONNREFUSED: nobody there
			s.end(one)
			return
		}
		one.last, one.answered = time.Now(), true
		_ = one.send(s.fd, s.p.buffer[:n]) // a datagram may get lost
	}
}
