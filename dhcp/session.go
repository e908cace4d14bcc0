package dhcp

import (
	"fmt"
	"net"
	"time"

	"fairway/store"
)

// A state is where a session is, see the package's comment.
type state int

const (
	selecting  state = iota // offers are asked for
	requesting              // one offer was taken
	verifying               // a known lease is asked for by its address (INIT-REBOOT)
	bound
	renewing  // its server is asked to renew it
	rebinding // any server is
)

// A session is the talk with servers about one lease. Client.mu guards it.
type session struct {
	lease  store.Lease
	mac    net.HardwareAddr
	state  state
	xid    uint32
	begun  time.Time // of the talk
	tries  int       // messages in this state
	must   bool      // just lease.IP will do
	offer  reply
	via    net.HardwareAddr // who sent what the server said last: itself, or a relay
	misfit time.Time        // when the first offer came that won't do
	why    string           // what servers said against it
	warned bool
	// How many times the lease was renewed, and lost.
	renewed, losses uint64
	answer          chan error // Acquire waits; nil: nobody does

	when time.Time // next step; zero: none
	at   int       // place among the timers, -1: none
}

func newSession(l store.Lease) *session {
	mac, _ := net.ParseMAC(l.MAC) // identify has seen it, or the record was written by us
	return &session{lease: l, mac: mac, at: -1}
}

// tell answers Acquire, if it waits.
func (s *session) tell(err error) {
	if s.answer != nil {
		s.answer <- err // has room for it
		s.answer = nil
	}
}

// shown is the state in an operator's words.
func (s *session) shown() string {
	if !s.lease.Lost.IsZero() {
		return "lost"
	}
	switch s.state {
	case bound:
		return "bound"
	case renewing:
		return "renewing"
	case rebinding:
		return "rebinding"
	case verifying:
		return "verifying"
	}
	return "requesting"
}

// fits says why an offer won't do; "" if it does.
func (s *session) fits(r reply) string {
	l := s.lease
	switch {
	case !r.ip.IsValid() || r.ip.IsUnspecified() || r.ip.IsMulticast() || r.ip.IsLoopback():
		return fmt.Sprintf("DHCP server %s offers %s, which is no host's address", r.server, r.ip)
	case !l.Subnet.Contains(r.ip):
		return fmt.Sprintf("DHCP server %s offers %s, which isn't in the pool %s", r.server, r.ip, l.Subnet)
	case s.must && r.ip != l.IP:
		return fmt.Sprintf("DHCP server %s offers %s, not %s", r.server, r.ip, l.IP)
	}
	return ""
}

// take makes what a server has acknowledged the lease.
func (s *session) take(r reply, now time.Time) {
	l := &s.lease
	l.IP, l.Server, l.ServerID, l.Bits = r.ip, r.server, r.serverID, r.bits
	if l.Created.IsZero() {
		l.Created = now
	}
	l.Obtained, l.Lost = now, time.Time{}
	l.Renew, l.Rebind, l.Expires = time.Time{}, time.Time{}, time.Time{}
	if r.valid != forever {
		l.Renew, l.Rebind, l.Expires = now.Add(r.renew), now.Add(r.rebind), now.Add(r.valid)
	}
	l.Routers, l.DNS, l.NTP, l.Routes = r.said.Routers, r.said.DNS, r.said.NTP, r.said.Routes
	l.MTU, l.Domain, l.FQDN = r.said.MTU, r.said.Domain, r.said.FQDN
	s.via, s.why, s.must, s.warned = r.from, "", true, false
}

// timers is a heap of sessions by when their next step is due.
type timers []*session

func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, j int) bool { return t[i].when.Before(t[j].when) }
func (t timers) Swap(i, j int) {
	t[i], t[j] = t[j], t[i]
	t[i].at, t[j].at = i, j
}

// Push is container/heap's.
func (t *timers) Push(x any) {
	s := x.(*session)
	s.at = len(*t)
	*t = append(*t, s)
}

// Pop is container/heap's.
func (t *timers) Pop() any {
	old := *t
	s := old[len(old)-1]
	old[len(old)-1] = nil
	*t = old[:len(old)-1]
	s.at = -1
	return s
}
