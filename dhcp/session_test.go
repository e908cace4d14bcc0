package dhcp

import (
	"net/netip"
	"testing"
	"time"

	"fairway/store"
)

// A renewal is tried at the half of what is left, a minute apart at least, and
// never later than the next phase begins: RFC 2131 section 4.4.5.
func TestAgain(t *testing.T) {
	now := time.Now()
	for left, want := range map[time.Duration]time.Duration{
		time.Hour: 30 * time.Minute, 3 * time.Minute: 90 * time.Second, 90 * time.Second: time.Minute, 10 * time.Second: 10 * time.Second,
	} {
		if got := again(now, now.Add(left)).Sub(now); got != want {
			t.Errorf("%s left: %s, want %s", left, got, want)
		}
	}
}

// What a server says of times is mended where it makes no sense.
func TestTimes(t *testing.T) {
	for _, c := range []struct{ renew, rebind, valid, wantRenew, wantRebind time.Duration }{
		{10, 20, 40, 10, 20}, {0, 0, 800, 400, 700}, {50, 20, 800, 17, 20}, {10, 900, 800, 10, 700}, {-1, -1, 80, 40, 70},
	} {
		r := reply{renew: c.renew * time.Second, rebind: c.rebind * time.Second, valid: c.valid * time.Second}
		r.times()
		if r.renew/time.Second != c.wantRenew || r.rebind/time.Second != c.wantRebind {
			t.Errorf("%v: T1 %s, T2 %s", c, r.renew, r.rebind)
		}
	}
}

func TestFits(t *testing.T) {
	s := newSession(store.Lease{Subnet: netip.MustParsePrefix("192.0.2.0/24"), MAC: "02:00:00:00:00:01"})
	for ip, fits := range map[string]bool{"192.0.2.9": true, "198.51.100.9": false, "0.0.0.0": false, "224.0.0.1": false, "127.0.0.1": false} {
		if why := s.fits(reply{ip: netip.MustParseAddr(ip)}); (why == "") != fits {
			t.Errorf("%s: %q", ip, why)
		}
	}
	s.must, s.lease.IP = true, netip.MustParseAddr("192.0.2.7")
	if s.fits(reply{ip: netip.MustParseAddr("192.0.2.9")}) == "" {
		t.Error("another address than the one that is asked for fits")
	}
}

// Timers come in order, whatever is set and taken away.
func TestTimers(t *testing.T) {
	c := New(Options{}, store.NewRecords())
	now := time.Now()
	var all []*session
	for i := range 100 {
		s := newSession(store.Lease{})
		all = append(all, s)
		c.at(s, now.Add(time.Duration(i*37%100)*time.Second))
	}
	for i, s := range all {
		switch i % 3 {
		case 0:
			c.at(s, time.Time{})
		case 1:
			c.at(s, now.Add(time.Duration(i*53%100)*time.Second))
		}
	}
	last := now
	for n := len(c.due); n > 0; n-- {
		s := c.due[0]
		if s.when.Before(last) {
			t.Fatalf("%s after %s", s.when, last)
		}
		last = s.when
		c.at(s, time.Time{})
		if s.at != -1 {
			t.Fatal("still among the timers")
		}
	}
}

// nowhere is a store that keeps nothing.
type nowhere struct{}

func (nowhere) Begin(...store.Change) <-chan error { return nil }

// A lease is its own server's to refuse; any other's just when all are asked.
func TestRefused(t *testing.T) {
	for _, six := range []bool{false, true} {
		for _, c := range []struct {
			in   state
			own  bool
			lost bool
		}{{verifying, true, true}, {verifying, false, false}, {renewing, true, true}, {renewing, false, false}, {rebinding, false, true}} {
			c2 := New(Options{Store: nowhere{}}, store.NewRecords())
			s := talker("192.0.2.0/24", "192.0.2.50", "192.0.2.1")
			no := reply{answer: refused, server: s.lease.Server}
			if six {
				s = talker("2001:db8::/64", "2001:db8::50", "fe80::1")
				no = reply{answer: refused, server: s.lease.Server, serverID: s.lease.ServerID}
			}
			if !c.own {
				no.server, no.serverID = netip.MustParseAddr("192.0.2.66"), []byte{0, 3, 0, 1, 6, 6, 6, 6, 6, 6}
			}
			c2.add(s)
			c2.begin(s, c.in)
			c2.answered(s, no, time.Now())
			if lost := !s.lease.Lost.IsZero(); lost != c.lost || (c2.Lost() == 1) != c.lost {
				t.Errorf("IPv6 %t, %+v: lost %t", six, c, lost)
			}
		}
	}
}
