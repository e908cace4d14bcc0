//go:build kernel

package link

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// withParent returns a Conn in a namespace that has a parent eth1, whose other
// end is up beside it.
func withParent(t *testing.T) *Conn {
	t.Helper()
	c := newConn(t)
	newParent(t, c)
	return c
}

func newParent(t *testing.T, c *Conn) {
	t.Helper()
	for _, do := range []string{
		"ip link add eth1 type veth peer wire1", "ip link set eth1 up", "ip link set wire1 up",
	} {
		runIn(t, c, strings.Fields(do)...)
	}
}

func testMacvlan(n int) Macvlan {
	return Macvlan{
		Name: fmt.Sprintf("fwi%d", n), Parent: "eth1", Mode: MacvlanBridge, MAC: mac(fmt.Sprintf("02:00:00:00:00:%02x", n)),
		Alias: Mark("0123abcd", fmt.Sprintf("e%d", n), ""),
		Inside: Inside{
			Prefix: "eth", Addresses: []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("172.30.0.%d/24", n))},
			Gateways: []netip.Addr{netip.MustParseAddr("172.30.0.254")},
			Routes:   []Route{{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParseAddr("172.30.0.9")}},
		},
	}
}

func TestMacvlan(t *testing.T) {
	c := withParent(t)
	m, other := testMacvlan(1), testMacvlan(2)
	m.MTU, other.Mode = 1300, MacvlanPrivate
	want := Set{m, other}
	for range 2 { // it may be repeated
		must(t, c.Apply(t.Context(), want))
	}
	out := run(t, "ip", "-d", "link", "show", "fwi1")
	for _, s := range []string{"macvlan mode bridge", "02:00:00:00:00:01", "mtu 1300", "fwi1@eth1", m.Alias} {
		if !strings.Contains(out, s) {
			t.Errorf("fwi1 lacks %q:\n%s", s, out)
		}
	}
	if out := run(t, "ip", "-d", "link", "show", "fwi2"); !strings.Contains(out, "macvlan mode private") || !strings.Contains(out, "mtu 1500") {
		t.Errorf("fwi2: %s", out)
	}
	clean(t, c, want)
	must(t, c.Remove(t.Context(), want))
	must(t, c.Quiesce(t.Context()))
	if got := names(t, c); len(got) != 2 {
		t.Errorf("left %v, want the parent's two", got)
	}
}

// TestMacvlanRefused has the kernel refuse links, and asks for a line that says
// what it means; nothing may be left.
func TestMacvlanRefused(t *testing.T) {
	for _, tt := range []struct {
		name, do string
		change   func(*Macvlan)
		errno    unix.Errno
		says     string
	}{
		{"no parent", "ip link del eth1", nil, unix.ENODEV, "link eth1: no such device"},
		{"a bridge's port", "ip link add br0 type bridge;ip link set eth1 master br0", nil, unix.EBUSY, "is a port of a bridge"},
		{"passthru there", "ip link add link eth1 name theirs type macvlan mode passthru", nil, unix.EINVAL, "in mode passthru"},
		{"passthru wanted", "ip link add link eth1 name theirs type macvlan mode bridge", func(m *Macvlan) { m.Mode = MacvlanPassthru }, unix.EINVAL, "carries a macvlan already"},
		{"name taken", "ip link add fwi1 type bridge", nil, unix.EEXIST, "not fairway's"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := withParent(t)
			for do := range strings.SplitSeq(tt.do, ";") {
				runIn(t, c, strings.Fields(do)...)
			}
			before := names(t, c)
			m := testMacvlan(1)
			if tt.change != nil {
				tt.change(&m)
			}
			err := c.Apply(t.Context(), Set{m})
			if !errors.Is(err, tt.errno) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("Apply: %v, want %v that says %q", err, tt.errno, tt.says)
			}
			must(t, c.Quiesce(t.Context()))
			if got := names(t, c); !slices.Equal(got, before) {
				t.Errorf("left %v, before there were %v", got, before)
			}
		})
	}
}

// TestMacvlanReconcile disturbs what waits beside its parent.
func TestMacvlanReconcile(t *testing.T) {
	c := withParent(t)
	isle := Isle{Name: "fwb2", Alias: Mark("0123abcd", "n2", ""), MTU: 1500}
	m, on := testMacvlan(1), testMacvlan(2)
	on.Parent = "fwb2"
	want := Set{isle, m, on}
	must(t, c.Apply(t.Context(), want))
	for _, tt := range []struct{ name, do, repaired string }{
		{"nothing", "true", ""},
		{"gone", "ip link del fwi1", "macvlan fwi1 on eth1"},
		{"MAC", "ip link set fwi1 address 02:00:00:00:99:99", "macvlan fwi1 on eth1"},
		{"alias", "ip link set fwi1 alias nonsense", "macvlan fwi1 on eth1"},
		{"mode", "ip link set fwi1 type macvlan mode private", "macvlan fwi1 on eth1"},
		{"on another", "ip link del fwi1;ip link add link fwb2 name fwi1 type macvlan mode bridge;ip link set fwi1 alias " + m.Alias, "macvlan fwi1 on eth1"},
		{"isle gone", "ip link del fwb2", "link fwb2, macvlan fwi2 on fwb2"},
		{"isle down", "ip link set fwb2 down", "link fwb2"},
		{"isle MTU", "ip link set fwb2 mtu 1400", "link fwb2"},
		{"parent gone", "ip link del eth1", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for do := range strings.SplitSeq(tt.do, ";") {
				runIn(t, c, strings.Fields(do)...)
			}
			if got := reconciled(t, c, want); got != tt.repaired {
				t.Errorf("repaired %s\n want %s", got, tt.repaired)
			}
			if again := reconciled(t, c, want); again != "" {
				t.Errorf("second time: %s", again)
			}
		})
	}
	newParent(t, c)
	if got := reconciled(t, c, want); got != "macvlan fwi1 on eth1" {
		t.Errorf("parent back: repaired %s", got)
	}
	if got := reconciled(t, c, Set{isle}); got != "link fwi2, link fwi1" {
		t.Errorf("orphans: removed %s", got)
	}
}

func reconciled(t *testing.T, c *Conn, want Set) string {
	t.Helper()
	repairs, err := c.Reconcile(t.Context(), want)
	must(t, err)
	must(t, c.Quiesce(t.Context()))
	var got []string
	for _, r := range repairs {
		got = append(got, r.Object)
	}
	return strings.Join(got, ", ")
}

// TestMacvlanInside follows a link into a sandbox, loses it there, and has it
// back.
func TestMacvlanInside(t *testing.T) {
	c := withParent(t)
	m := testMacvlan(1)
	must(t, c.Apply(t.Context(), Set{m}))
	path, _ := newSandbox(t)
	runIn(t, c, "ip", "link", "set", "fwi1", "netns", path)
	inside(t, path, func() {
		run(t, "ip", "link", "set", "fwi1", "name", "eth0")
		run(t, "sysctl", "-qw", "net.ipv6.conf.eth0.disable_ipv6=1")
		run(t, "ip", "link", "set", "eth0", "up")
		run(t, "ip", "link", "add", "eth1", "type", "bridge")
	})
	m.Sandbox = path
	want := Set{m}
	clean(t, c, want)
	for _, tt := range []struct{ name, do, repaired string }{
		{"nothing", "true", ""},
		{"renamed", "ip link set eth0 down;ip link set eth0 name lan7;ip link set lan7 up", ""},
		{"another address", "ip link set lan7 address 02:00:00:00:99:99", ""},
		{"speaks IPv6", "sysctl -qw net.ipv6.conf.lan7.disable_ipv6=0", ""}, // the user's affair
		{"gone", "ip link del lan7", "macvlan fwi1 on eth1"},
		{"half made", "ip link set eth0 down;ip link set eth0 alias ", "macvlan fwi1 on eth1"},
	} {
		inside(t, path, func() {
			for do := range strings.SplitSeq(tt.do, ";") {
				args := strings.Fields(do)
				if strings.HasSuffix(do, " ") {
					args = append(args, "")
				}
				run(t, args...)
			}
		})
		if got := reconciled(t, c, want); got != tt.repaired {
			t.Errorf("%s: repaired %s\n want %s", tt.name, got, tt.repaired)
		}
		clean(t, c, want)
		must(t, c.Apply(t.Context(), want)) // nothing is made a second time
		if got := names(t, c); len(got) != 2 {
			t.Errorf("%s: links beside the parent: %v", tt.name, got)
		}
	}
	configured := func() {
		t.Helper()
		inside(t, path, func() {
			out := run(t, "ip", "address", "show", "eth0") + run(t, "ip", "route")
			for _, s := range []string{"02:00:00:00:00:01", "172.30.0.1/24", "default via 172.30.0.254", "10.0.0.0/8 via 172.30.0.9"} {
				if !strings.Contains(out, s) {
					t.Errorf("eth0 lacks %q:\n%s", s, out)
				}
			}
			if strings.Contains(out, "inet6") {
				t.Errorf("eth0 has an IPv6 address:\n%s", out)
			}
		})
	}
	configured()

	runIn(t, c, "ip", "link", "del", "eth1")
	if got := reconciled(t, c, want); got != "" {
		t.Errorf("without a parent: repaired %s", got)
	}
	newParent(t, c)
	if got := reconciled(t, c, want); got != "macvlan fwi1 on eth1" {
		t.Errorf("parent back: repaired %s", got)
	}
	configured()

	left := m
	left.Sandbox, left.Left = "", true
	if got := reconciled(t, c, Set{left}); got != "" { // Docker is moving it back
		t.Errorf("after Leave: repaired %s", got)
	}
	must(t, c.Remove(t.Context(), want))
	must(t, c.Quiesce(t.Context()))
	inside(t, path, func() {
		if out := run(t, "ip", "-o", "link"); strings.Contains(out, "eth0") {
			t.Errorf("removed, it is still in its sandbox:\n%s", out)
		}
	})
}

// TestIsle checks that links on an isle reach each other, and nothing else hears
// them.
func TestIsle(t *testing.T) {
	c := newConn(t)
	isle := Isle{Name: "fwb1", Alias: Mark("0123abcd", "n1", ""), MTU: 1500}
	a, b := testMacvlan(1), testMacvlan(2)
	a.Parent, b.Parent = "fwb1", "fwb1"
	var paths [2]string
	must(t, c.Apply(t.Context(), Set{isle}))
	for i, m := range []*Macvlan{&a, &b} {
		paths[i], _ = newSandbox(t)
		m.Sandbox = paths[i]
		m.Inside.Gateways, m.Inside.Routes = nil, nil
		must(t, c.Apply(t.Context(), Set{*m}))
	}
	run(t, "ip", "address", "add", "172.30.0.77/32", "dev", "lo")
	inside(t, paths[1], func() { serveOn(t, "172.30.0.2:80") })
	serveOn(t, "172.30.0.77:80")
	inside(t, paths[0], func() {
		if err := dialTo("172.30.0.2:80", 5*time.Second); err != nil {
			t.Errorf("the neighbour on the isle: %v", err)
		}
		if err := dialTo("172.30.0.77:80", 300*time.Millisecond); err == nil {
			t.Error("the host can be reached from the isle")
		}
	})
	clean(t, c, Set{isle, a, b})
}

// serveOn accepts connections in the namespace of the calling thread.
func serveOn(t *testing.T, address string) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	must(t, err)
	t.Cleanup(func() { l.Close() })
}

func dialTo(address string, patience time.Duration) error {
	c, err := net.DialTimeout("tcp", address, patience)
	if err == nil {
		c.Close()
	}
	return err
}
