//go:build kernel

package dhcp

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"fairway/store"
)

// short makes dnsmasq's leases, which last two minutes at least, be renewed soon.
func short() []string { return []string{"--dhcp-option=option:T1,2", "--dhcp-option=option:T2,5"} }

// A lease brings what the server says, keeps its name and ends with a release.
func TestLease(t *testing.T) {
	l := newLAN(t)
	s := l.serve("--dhcp-range=192.0.2.50,192.0.2.60,2m", "--dhcp-option=option:router,192.0.2.1", "--dhcp-option=6,192.0.2.3,192.0.2.4",
		"--dhcp-option=26,1400", "--dhcp-option=42,192.0.2.5", "--dhcp-option=121,10.0.0.0/8,192.0.2.9,0.0.0.0/0,192.0.2.1", "--domain=lan.example")
	c, _ := l.client(newMemory(), 0)
	got := l.acquire(c, wish(1, "web_1"))
	text := fmt.Sprintln(got.Server, got.Bits, got.Routers, got.DNS, got.NTP, got.MTU, got.Routes, got.Domain, got.Hostname)
	if want := "192.0.2.1 24 [192.0.2.1] [192.0.2.3 192.0.2.4] [192.0.2.5] 1400 [{10.0.0.0/8 192.0.2.9} {0.0.0.0/0 192.0.2.1}] lan.example web-1\n"; text != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
	if !netip.MustParsePrefix("192.0.2.48/28").Contains(got.IP) || time.Until(got.Expires) < time.Minute {
		t.Errorf("got %s until %s", got.IP, got.Expires)
	}
	s.says(t, "client provides name: web-1")
	if again := l.acquire(c, wish(1, "web_1")); again.IP != got.IP || !again.Created.Equal(got.Created) {
		t.Errorf("the same client again: %s, want %s", again.IP, got.IP)
	}
	if other := l.acquire(c, wish(2, "db")); other.IP == got.IP {
		t.Errorf("two clients have %s", got.IP)
	}
	c.Release(got.Space, got.Subnet, got.IP)
	s.says(t, "DHCPRELEASE(br0) "+got.IP.String())
	if len(c.Leases()) != 1 {
		t.Errorf("leases: %v, want one", c.Leases())
	}
	want := wish(3, "web_1")
	want.IP = got.IP // as package ipam remembers it
	if again, err := c.Acquire(t.Context(), want, false); err != nil || again.IP != got.IP {
		t.Errorf("the same container with another MAC address: %s, %v; want %s", again.IP, err, got.IP)
	}
}

// An address that is asked for, or reserved for a MAC address, is the one.
func TestStatic(t *testing.T) {
	l := newLAN(t)
	l.serve("--dhcp-range=192.0.2.50,192.0.2.60,2m", "--dhcp-host=02:00:00:00:00:07,192.0.2.77")
	c, _ := l.client(newMemory(), 5*time.Second)
	want := wish(1, "web")
	want.IP = netip.MustParseAddr("192.0.2.55")
	if got := l.acquire(c, want); got.IP != want.IP {
		t.Errorf("got %s, want %s", got.IP, want.IP)
	}
	if got := l.acquire(c, wish(7, "reserved")); got.IP != netip.MustParseAddr("192.0.2.77") {
		t.Errorf("the reserved address is 192.0.2.77, got %s", got.IP)
	}
	other := wish(2, "db")
	other.IP = want.IP
	mustRefuse(t, c, other, "parent eth0: DHCP server 192.0.2.1 offers 192.0.2.5")
	outside := wish(3, "x")
	outside.Subnet = netip.MustParsePrefix("198.51.100.0/24")
	mustRefuse(t, c, outside, "which isn't in the pool 198.51.100.0/24")
}

func mustRefuse(t *testing.T, c *Client, want store.Lease, says string) {
	t.Helper()
	got, err := c.Acquire(t.Context(), want, want.IP.IsValid())
	if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %s, %v; want %q", got.IP, err, says)
	}
	if l, ok := c.Lease(want.Space, want.Subnet, want.IP); ok && l.MAC == want.MAC {
		t.Errorf("a lease is left behind: %v", l)
	}
}

// Silence, a full server and a link that isn't there are one line each.
func TestNoAnswer(t *testing.T) {
	l := newLAN(t)
	c, _ := l.client(newMemory(), 2*time.Second)
	mustRefuse(t, c, wish(1, "web"), "parent eth0: no DHCP server answered within 2s")
	missing := wish(1, "web")
	missing.Parent = "eth9"
	if _, err := c.Acquire(t.Context(), missing, false); !errors.Is(err, unix.ENODEV) {
		t.Errorf("a parent that isn't there: %v, want ENODEV", err)
	}
	l.run("ip", "link", "set", "eth0", "down")
	if _, err := c.Acquire(t.Context(), wish(1, "web"), false); !errors.Is(err, unix.ENETDOWN) {
		t.Errorf("a parent that is down: %v, want ENETDOWN", err)
	}
	if n := len(c.Leases()); n != 0 {
		t.Errorf("%d leases are left behind", n)
	}
}

// A lease is renewed with its server, and with another one when that is gone.
func TestRenewAndServerChange(t *testing.T) {
	l := newLAN(t)
	s := l.serve(append(short(), "--dhcp-range=192.0.2.50,192.0.2.60,2m")...)
	m := newMemory()
	c, _ := l.client(m, 0)
	got := l.acquire(c, wish(1, "web"))
	m.keep(got)
	l.run("ip", "link", "add", "link", "eth0", "name", "mac0", "address", got.MAC, "type", "macvlan", "mode", "bridge")
	l.run("ip", "addr", "add", got.IP.String()+"/24", "dev", "mac0")
	l.run("ip", "link", "set", "mac0", "up")
	renewed := func(since time.Time) store.Lease {
		t.Helper()
		for range 600 {
			if now := m.leases()[0]; now.Obtained.After(since) {
				return now
			}
			time.Sleep(50 * time.Millisecond)
		}
		t.Fatalf("not renewed: %+v", c.Leases())
		return store.Lease{}
	}
	first := renewed(got.Obtained)
	if n := strings.Count(s.said(), "DHCPDISCOVER"); n != 1 || first.IP != got.IP {
		t.Errorf("renewed as %s with %d discoveries, want %s with 1", first.IP, n, got.IP)
	}
	s.stop()
	l.farRun("ip", "addr", "flush", "dev", "br0")
	l.farRun("ip", "addr", "add", "192.0.2.2/24", "dev", "br0")
	l.serve(append(short(), "--dhcp-range=192.0.2.50,192.0.2.60,2m", "--dhcp-authoritative")...)
	if l := c.Leases()[0]; l.Renewed == 0 || l.Losses != 0 {
		t.Errorf("renewed %d times, lost %d", l.Renewed, l.Losses)
	}
	if then := renewed(first.Obtained); then.IP != got.IP || then.Server != netip.MustParseAddr("192.0.2.2") {
		t.Errorf("renewed as %s by %s, want %s by 192.0.2.2", then.IP, then.Server, got.IP)
	}
	if c.Lost() != 0 {
		t.Errorf("%d leases lost", c.Lost())
	}
}

// A lease that its server takes away is lost, is counted, and is had again when
// the server gives that address again.
func TestLost(t *testing.T) {
	l := newLAN(t)
	s := l.serve(append(short(), "--dhcp-range=192.0.2.50,192.0.2.60,2m")...)
	m := newMemory()
	c, _ := l.client(m, 0)
	got := l.acquire(c, wish(1, "web"))
	m.keep(got)
	s.stop()
	s = l.serve(append(short(), "--dhcp-range=192.0.2.100,192.0.2.110,2m", "--dhcp-authoritative")...)
	lost := becomes(t, c, "lost")
	if n := c.Leases()[0].Losses; n != 1 {
		t.Errorf("the lease was lost %d times", n)
	}
	if lost.IP != got.IP || c.Lost() != 1 || m.leases()[0].Lost.IsZero() {
		t.Errorf("lost: %+v, %d times", lost, c.Lost())
	}
	s.stop()
	l.serve("--dhcp-range=192.0.2.50,192.0.2.60,2m", "--dhcp-authoritative")
	if had := becomes(t, c, "bound"); had.IP != got.IP || !m.leases()[0].Lost.IsZero() {
		t.Errorf("had again: %+v, want %s", had, got.IP)
	}
}

// What was killed goes on with its leases, asks the server about them, and finds
// out about what the server doesn't know.
func TestRestart(t *testing.T) {
	l := newLAN(t)
	s := l.serve("--dhcp-range=192.0.2.50,192.0.2.60,2m")
	m := newMemory()
	c, stop := l.client(m, 0)
	got := l.acquire(c, wish(1, "web"))
	m.keep(got)
	m.Begin(store.PutLease(store.Lease{Space: "s", Subnet: got.Subnet, IP: netip.MustParseAddr("192.0.2.51"), Parent: "eth0", MAC: "02:00:00:00:00:09"})) // its address was released
	stop()
	c, stop = l.client(m, 0)
	if now := becomes(t, c, "bound"); now.IP != got.IP || !now.Obtained.After(got.Obtained) {
		t.Errorf("after a restart %+v, want %s confirmed anew", now, got.IP)
	}
	if n := strings.Count(s.said(), "DHCPDISCOVER"); n != 1 {
		t.Errorf("%d discoveries, want just the first", n)
	}
	if n := len(m.leases()); n != 1 {
		t.Errorf("%d records, want 1", n)
	}
	s.stop()
	stop()
	c, stop = l.client(m, 0)
	if now := becomes(t, c, "bound"); now.IP != got.IP { // nobody says no
		t.Errorf("after a restart without a server %+v, want %s", now, got.IP)
	}
	stop()
	l.serve("--dhcp-range=192.0.2.100,192.0.2.110,2m", "--dhcp-authoritative")
	c, _ = l.client(m, 0)
	becomes(t, c, "lost")
}

// A name that becomes known later is told to the server.
func TestName(t *testing.T) {
	l := newLAN(t)
	s := l.serve("--dhcp-range=192.0.2.50,192.0.2.60,2m")
	m := newMemory()
	c, _ := l.client(m, 0)
	got := l.acquire(c, wish(1, ""))
	m.keep(got)
	c.Name(func(mac string, ip netip.Addr) string {
		if mac == got.MAC && ip == got.IP {
			return "late"
		}
		return ""
	})
	s.says(t, "client provides name: late")
	becomes(t, c, "bound")
}

// The parent goes and comes back under its name.
func TestParentReturns(t *testing.T) {
	l := newLAN(t)
	l.serve("--dhcp-range=192.0.2.50,192.0.2.60,2m")
	c, _ := l.client(newMemory(), 0)
	l.acquire(c, wish(1, "web"))
	l.run("ip", "link", "del", "eth0")
	if _, err := c.Acquire(t.Context(), wish(2, "db"), false); err == nil {
		t.Error("an address without the parent")
	}
	l.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "lan1", "netns", fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), l.far))
	l.run("ip", "link", "set", "eth0", "up")
	l.farRun("ip", "link", "set", "lan1", "master", "br0", "up")
	l.acquire(c, wish(2, "db"))
}

// TestThousand takes 1,000 leases on one parent. The issue allows them 20 MB.
func TestThousand(t *testing.T) {
	l := newLAN(t)
	l.serve("--dhcp-range=10.9.0.10,10.9.15.250,255.255.240.0,2m", "--quiet-dhcp", "--leasefile-ro")
	l.farRun("ip", "addr", "add", "10.9.0.1/20", "dev", "br0")
	m := newMemory()
	c, _ := l.client(m, 30*time.Second)
	before := heapSize()
	const n = 1000
	type result struct {
		lease store.Lease
		err   error
	}
	results := make(chan result, n)
	start := time.Now()
	for i := range n {
		go func() {
			want := wish(i, fmt.Sprintf("c%d", i))
			want.Subnet = netip.MustParsePrefix("10.9.0.0/20")
			got, err := c.Acquire(t.Context(), want, false)
			results <- result{got, err}
		}()
	}
	seen := map[netip.Addr]bool{}
	for range n {
		r := <-results
		if r.err != nil {
			t.Fatal(r.err)
		}
		seen[r.lease.IP] = true
		m.keep(r.lease)
	}
	took := time.Since(start)
	grown := heapSize() - before
	t.Logf("%d leases in %s, %d bytes each with their records", n, took, grown/n)
	if len(seen) != n || len(c.Leases()) != n {
		t.Errorf("%d addresses for %d clients", len(seen), n)
	}
	if grown > 20<<20 {
		t.Errorf("grown by %d bytes, want 20 MB at most", grown)
	}
	c.mu.Lock()
	sockets := len(c.parents)
	c.mu.Unlock()
	if sockets != 1 {
		t.Errorf("%d sockets, want one", sockets)
	}
}

func heapSize() int64 {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return int64(s.HeapInuse + s.StackInuse)
}
