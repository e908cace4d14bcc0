package dhcp

import (
	"bytes"
	"container/heap"
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime/debug"
	"time"

	"fairway/event"
	"fairway/store"
)

// A received event is a frame that a parent's socket got, or why it gets none any more.
type received struct {
	parent *parent
	frame  []byte
	err    error
}

// Run does what is due for all leases until the context ends. The leases stay:
// containers go on while the daemon doesn't run.
func (c *Client) Run(ctx context.Context) error {
	defer c.close()
	c.mu.Lock()
	if len(c.useless) > 0 {
		c.store.Begin(c.useless...) // what fails is useless still after the next start
		c.useless = nil
	}
	c.mu.Unlock()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case e := <-c.events:
			c.guard(func() { c.receive(e) })
		case <-timer.C:
			c.guard(c.tick)
		case <-c.wake:
		}
		timer.Reset(c.next(time.Now()))
	}
}

// guard runs f. A server's message must not end the daemon.
func (c *Client) guard(f func()) {
	defer func() {
		if p := recover(); p != nil {
			c.log.WithField("stack", string(debug.Stack())).Errorf("dhcp: panic: %v", p)
		}
	}()
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

func (c *Client) close() {
	c.mu.Lock()
	c.closed = true
	close(c.done)
	for _, p := range c.parents {
		c.shut(p)
	}
	c.mu.Unlock()
	stop := make(chan struct{})
	go func() {
		c.read.Wait()
		close(stop)
	}()
	for {
		select {
		case <-c.events: // a reader may wait to be heard
		case <-stop:
			return
		}
	}
}

// next is how long nothing is due.
func (c *Client) next(now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.due) == 0 {
		return time.Hour
	}
	return max(0, c.due[0].when.Sub(now))
}

// tick takes the sessions whose time has come a step further.
func (c *Client) tick() {
	now := time.Now()
	for len(c.due) > 0 && !c.due[0].when.After(now) {
		s := c.due[0]
		if err := c.step(s, now); err != nil {
			s.why = err.Error()
			if !s.warned {
				s.warned = true
				c.logOf(s).Warn(err)
			}
			c.at(s, now.Add(retry)) // the parent may come back
		}
	}
}

// retry is the time between tries on a parent that can't be sent on.
const retry = 10 * time.Second

// at sets when a session's next step is due.
func (c *Client) at(s *session, when time.Time) {
	s.when = when
	switch {
	case when.IsZero() && s.at >= 0:
		heap.Remove(&c.due, s.at)
	case when.IsZero():
	case s.at >= 0:
		heap.Fix(&c.due, s.at)
	default:
		heap.Push(&c.due, s)
	}
	if s.at == 0 {
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}
}

func (c *Client) add(s *session) {
	c.ids[identityOf(s.lease)] = s
	c.users[s.lease.Parent]++
}

// drop forgets a session, and the socket of its parent if it was the last there.
func (c *Client) drop(s *session) {
	if c.held[keyOf(s.lease)] == s {
		delete(c.held, keyOf(s.lease))
	}
	if c.xids[s.xid] == s {
		delete(c.xids, s.xid)
	}
	c.at(s, time.Time{})
	if c.ids[identityOf(s.lease)] != s {
		return // dropped before
	}
	delete(c.ids, identityOf(s.lease))
	if c.users[s.lease.Parent]--; c.users[s.lease.Parent] > 0 {
		return
	}
	delete(c.users, s.lease.Parent)
	if p := c.parents[s.lease.Parent]; p != nil {
		c.shut(p)
	}
}

// begin puts a session into a state, with a transaction of its own. What it then
// says is step's.
func (c *Client) begin(s *session, to state) {
	delete(c.xids, s.xid)
	s.state, s.tries, s.begun = to, 0, time.Now()
	s.xid = c.newXID()
	c.xids[s.xid] = s
}

// newXID returns a transaction ID that isn't in use. DHCPv6 has 24 bits for it.
func (c *Client) newXID() uint32 {
	for {
		if xid := rand.Uint32() >> 8; xid != 0 && c.xids[xid] == nil {
			return xid
		}
	}
}

// backoff is how long a message of the first talk waits for its answer: a second,
// then two, and so on, give or take a quarter, so that those that began together
// don't go on together.
func backoff(tries int) time.Duration {
	wait := time.Second << min(tries, 6)
	return wait - wait/4 + rand.N(wait/2)
}

// step says what a session's state is to say, and sets when it says so again.
func (c *Client) step(s *session, now time.Time) error {
	switch s.state {
	case bound:
		c.begin(s, renewing)
	case renewing:
		if !now.Before(s.lease.Rebind) {
			c.begin(s, rebinding)
		}
	case requesting:
		if s.tries >= 3 {
			s.why = fmt.Sprintf("DHCP server %s offered %s, but didn't confirm it", s.offer.server, s.offer.ip)
			c.begin(s, selecting)
		}
	case verifying:
		if s.tries >= 3 {
			c.resume(s, now)
			return nil
		}
	}
	if s.state == rebinding && !now.Before(s.lease.Expires) || s.state == renewing && s.expired(now) {
		c.lose(s, "it expired, and no DHCP server answered", now)
		return nil
	}
	s.tries++
	switch s.state {
	case renewing:
		c.at(s, again(now, s.lease.Rebind))
	case rebinding:
		c.at(s, again(now, s.lease.Expires))
	case selecting:
		wait := backoff(s.tries - 1)
		if s.answer == nil { // it was lost: nobody waits
			wait = min(wait*10, 5*time.Minute)
		}
		c.at(s, now.Add(wait))
	default:
		c.at(s, now.Add(backoff(s.tries-1)))
	}
	return c.send(s, s.says())
}

func (s *session) expired(now time.Time) bool {
	return !s.lease.Expires.IsZero() && !now.Before(s.lease.Expires)
}

// says is the message of a state. In the end phase every other one is of the form
// that servers answer by broadcast: others they send to the container's address,
// which may not arrive if its link is down.
func (s *session) says() kind {
	switch s.state {
	case selecting:
		return discover
	case requesting:
		return request
	case verifying:
		return verify
	case rebinding:
		if s.tries%2 == 0 {
			return verify
		}
		return rebind
	}
	return renew
}

// again is when a renewal is tried again: RFC 2131 section 4.4.5.
func again(now, until time.Time) time.Time {
	return now.Add(min(until.Sub(now), max(until.Sub(now)/2, time.Minute)))
}

// resume goes on with a lease that nobody has said anything about.
func (c *Client) resume(s *session, now time.Time) {
	if s.expired(now) {
		c.lose(s, "it expired while the daemon was away, and no DHCP server answered", now)
		return
	}
	c.begin(s, bound)
	c.at(s, s.lease.Renew) // step finds out if that is over
}

// lose notes that no server stands by a lease any more, and asks for the same
// address anew.
func (c *Client) lose(s *session, why string, now time.Time) {
	s.why = why
	if s.lease.Lost.IsZero() {
		c.lost++
		s.losses++
		s.lease.Lost = now
		c.store.Begin(store.PutLease(s.lease))
		c.logOf(s).WithField(event.Field, event.LeaseLost).Warnf("DHCP lease lost: %s; the container keeps the address", why)
	}
	wait := time.Second
	if s.must && s.state == requesting { // offered and refused: not for ever, at once
		wait = time.Minute
	}
	s.must = true
	c.begin(s, selecting)
	c.at(s, now.Add(wait))
}

// receive hands a frame to the session that it is for.
func (c *Client) receive(e received) {
	if e.err != nil {
		if c.parents[e.parent.name] == e.parent {
			c.shut(e.parent) // the next message opens another
		}
		return
	}
	r, ok := parse(e.frame)
	if !ok {
		return
	}
	s := c.xids[r.xid]
	if s == nil || s.lease.Parent != e.parent.name || !s.is(r) {
		return
	}
	now := time.Now()
	switch {
	case s.state == selecting && r.answer == offered:
		c.offered(s, r, now)
	case s.state == selecting && r.answer == refused && r.mac == nil: // DHCPv6 servers say no at once
		s.why = fmt.Sprintf("DHCP server %s refused: %s", r.server, r.text)
	case s.state == requesting, s.state >= verifying && s.state != bound:
		c.answered(s, r, now)
	}
}

// is reports whether a reply is for this client.
func (s *session) is(r reply) bool {
	if r.mac == nil {
		return bytes.Equal(r.id, s.lease.ClientID)
	}
	return bytes.Equal(r.mac, s.mac)
}

// offered takes the first offer that will do.
func (c *Client) offered(s *session, r reply, now time.Time) {
	if why := s.fits(r); why != "" {
		s.why = why
		if s.misfit.IsZero() {
			s.misfit = now
		}
		if s.answer != nil && s.tries > 1 { // others had a second
			s.tell(fmt.Errorf("parent %s: %s", s.lease.Parent, why))
		}
		return
	}
	s.offer = r
	c.begin(s, requesting)
	if err := c.step(s, now); err != nil {
		s.why = err.Error()
	}
}

// answered takes the word of a server on an address.
func (c *Client) answered(s *session, r reply, now time.Time) {
	switch {
	case r.answer == refused && s.state == requesting && s.lease.Lost.IsZero():
		s.why = fmt.Sprintf("DHCP server %s refused %s", r.server, s.offer.ip)
		if r.text != "" {
			s.why += ": " + r.text
		}
		if s.must {
			s.tell(fmt.Errorf("parent %s: %s", s.lease.Parent, s.why))
		}
		s.lease.IP = s.wished()
		c.begin(s, selecting)
		c.at(s, now.Add(time.Second))
		return
	case r.answer == refused && s.state != rebinding && s.state != requesting && !s.isOwn(r):
		return // a server that never had a say in it, and may serve another LAN on this wire
	case r.answer == refused:
		why := "DHCP server " + r.server.String() + " refused it"
		if r.text != "" {
			why += ": " + r.text
		}
		c.lose(s, why, now)
		return
	case r.answer != granted:
		return
	}
	if s.state == requesting && r.ip != s.offer.ip || s.fits(r) != "" {
		s.why = fmt.Sprintf("DHCP server %s confirmed %s, which it hadn't offered", r.server, r.ip)
		return
	}
	was := s.lease
	if s.state == renewing || s.state == rebinding {
		s.renewed++
	}
	s.take(r, now)
	if other := c.held[keyOf(s.lease)]; other != nil && other != s {
		other.why = "the DHCP server gave it to another"
		c.drop(other)
	}
	c.held[keyOf(s.lease)] = s
	c.begin(s, bound)
	c.at(s, early(s.lease, now))
	if s.answer != nil {
		c.logOf(s).WithField(event.Field, event.Lease).Info("DHCP lease had")
		s.tell(nil) // who asked records it
		return
	}
	c.store.Begin(store.PutLease(s.lease))
	switch {
	case !was.Lost.IsZero():
		c.logOf(s).WithField(event.Field, event.Lease).Info("DHCP lease had again")
	case was.Server != s.lease.Server:
		c.logOf(s).WithField(event.Field, event.Lease).WithField("before", was.Server).Info("another DHCP server has the lease now")
	}
}

// isOwn reports whether a reply is of the server that the lease is from.
func (s *session) isOwn(r reply) bool {
	if s.lease.Subnet.Addr().Is6() {
		return bytes.Equal(r.serverID, s.lease.ServerID)
	}
	return r.server == s.lease.Server
}

// wished is the address to ask for after one was refused.
func (s *session) wished() (none netip.Addr) {
	if s.must {
		return s.lease.IP
	}
	return none
}

// early is when to renew a lease: T1, less up to a sixteenth, so that those that
// were had together aren't renewed together for ever.
func early(l store.Lease, now time.Time) time.Time {
	if l.Renew.IsZero() {
		return l.Renew
	}
	if spread := l.Renew.Sub(now) / 16; spread > 0 {
		return l.Renew.Add(-rand.N(spread))
	}
	return l.Renew
}
