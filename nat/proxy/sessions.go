package proxy

import (
	"net/netip"
	"time"
)

// How long a session lives without a datagram, before the container has
// answered and afterwards: those of the kernel for connections that it tracks
// (nf_conntrack_udp_timeout, nf_conntrack_udp_timeout_stream).
const (
	unanswered = 30 * time.Second
	answered   = 120 * time.Second
)

// A flow is who asks whom. The client's zone is the index of a link, only where
// its address is link-local.
type flow struct {
	client netip.AddrPort
	link   uint32
	local  netip.Addr // the host's address
}

// A session is one flow's way to the container: its replies come to a socket of
// its own.
type session struct {
	flow
	fd       int
	as       pair // what it has taken; invalid: nothing
	token    token
	last     time.Time
	answered bool
}

// A table holds the sessions of one port.
type table struct {
	most int
	all  map[flow]*session
}

func newTable(most int) table { return table{most: most, all: map[flow]*session{}} }

// get returns the session of a flow, used now; nil if there is none.
func (t table) get(f flow, now time.Time) *session {
	s := t.all[f]
	if s != nil {
		s.last = now
	}
	return s
}

// full reports whether there can't be another.
func (t table) full() bool { return len(t.all) >= t.most }

func (t table) put(s *session)    { t.all[s.flow] = s }
func (t table) remove(s *session) { delete(t.all, s.flow) }

// over returns the sessions that have been silent for too long.
func (t table) over(now time.Time) (out []*session) {
	for _, s := range t.all {
		limit := unanswered
		if s.answered {
			limit = answered
		}
		if now.Sub(s.last) >= limit {
			out = append(out, s)
		}
	}
	return out
}
