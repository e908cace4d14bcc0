//go:build kernel && vm

package link

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// withWire returns a Conn in a namespace whose eth1 ends as wire1 in another one,
// at the path: a machine on the other side of the wire.
func withWire(t *testing.T) (c *Conn, wire string) {
	t.Helper()
	c = withParent(t)
	wire, _ = newSandbox(t)
	runIn(t, c, "ip", "link", "set", "wire1", "netns", wire)
	inside(t, wire, func() { run(t, "ip", "link", "set", "wire1", "up") })
	return c, wire
}

func testVLAN(name, parent string, id int) VLAN {
	return VLAN{Name: name, Parent: parent, ID: id, Alias: Mark("0123abcd", name, "")}
}

// TestVLAN has links made, mended, made again and removed.
func TestVLAN(t *testing.T) {
	c, _ := withWire(t)
	v, double := testVLAN("eth1.40", "eth1", 40), testVLAN("eth1.100.7", "eth1.100", 7)
	on := testMacvlan(1)
	on.Parent = "eth1.100.7"
	want := Set{v, testVLAN("eth1.100", "eth1", 100), double, on}
	for range 2 { // it may be repeated
		must(t, c.Apply(t.Context(), want))
	}
	for name, says := range map[string][]string{
		"eth1.40":    {"eth1.40@eth1", "vlan protocol 802.1Q id 40", "mtu 1500", ",UP", v.Alias},
		"eth1.100.7": {"eth1.100.7@eth1.100", "vlan protocol 802.1Q id 7", ",UP"},
	} {
		out := run(t, "ip", "-d", "link", "show", name)
		for _, s := range says {
			if !strings.Contains(out, s) {
				t.Errorf("%s lacks %q:\n%s", name, s, out)
			}
		}
	}
	if out := run(t, "ip", "-6", "address", "show", "eth1.40"); out != "" {
		t.Errorf("eth1.40 speaks IPv6:\n%s", out)
	}
	clean(t, c, want)
	for _, tt := range []struct{ name, do, repaired string }{
		{"nothing", "true", ""},
		{"gone", "ip link del eth1.40", "vlan eth1.40 on eth1"},
		{"down", "ip link set eth1.40 down", "vlan eth1.40 on eth1"},
		{"alias", "ip link set eth1.40 alias nonsense", "vlan eth1.40 on eth1"},
		{"another VLAN", "ip link del eth1.40;ip link add link eth1 name eth1.40 type vlan id 41;ip link set eth1.40 alias " + v.Alias, "vlan eth1.40 on eth1"},
		{"IPv6", "sysctl -qw net.ipv6.conf.eth1/40.disable_ipv6=0", "vlan eth1.40 on eth1"},
		{"the outer one gone", "ip link del eth1.100", "vlan eth1.100 on eth1, vlan eth1.100.7 on eth1.100, macvlan fwi1 on eth1.100.7"},
		{"parent down", "ip link set eth1 down", ""},
		{"parent up", "ip link set eth1 up", ""},
		{"parent gone", "ip link del eth1", ""},
	} {
		for do := range strings.SplitSeq(tt.do, ";") {
			runIn(t, c, strings.Fields(do)...)
		}
		if got := reconciled(t, c, want); got != tt.repaired {
			t.Errorf("%s: repaired %s\n want %s", tt.name, got, tt.repaired)
		}
		clean(t, c, want)
	}
	newParent(t, c)
	if got := reconciled(t, c, want); got != "vlan eth1.40 on eth1, vlan eth1.100 on eth1, vlan eth1.100.7 on eth1.100, macvlan fwi1 on eth1.100.7" {
		t.Errorf("parent back: repaired %s", got)
	}
	if got := reconciled(t, c, Set{v}); !strings.Contains(got, "link eth1.100") || strings.Contains(got, "eth1.40") {
		t.Errorf("orphans: removed %s", got)
	}
	must(t, c.Remove(t.Context(), Set{v}))
	must(t, c.Quiesce(t.Context()))
	if got := names(t, c); !slices.Equal(got, []string{"wire1", "eth1"}) {
		t.Errorf("left %v, want the parent and its other end", got)
	}
}

// TestVLANOfTheHost uses links that are the host's own, and leaves them.
func TestVLANOfTheHost(t *testing.T) {
	c, _ := withWire(t)
	runIn(t, c, "ip", "link", "add", "link", "eth1", "name", "eth1.40", "type", "vlan", "id", "40")
	runIn(t, c, "ip", "link", "add", "link", "eth1", "name", "guests", "type", "vlan", "id", "50")
	want := Set{testVLAN("eth1.40", "eth1", 40)}
	must(t, c.Apply(t.Context(), want))
	clean(t, c, want)
	must(t, c.Remove(t.Context(), want))
	must(t, c.Quiesce(t.Context()))
	if out := run(t, "ip", "link", "show", "eth1.40"); strings.Contains(out, "alias") || strings.Contains(out, ",UP") {
		t.Errorf("the host's link was changed: %s", out)
	}
	for _, tt := range []struct {
		v     VLAN
		errno unix.Errno
		says  string
	}{
		{testVLAN("eth1.50", "eth1", 50), unix.EEXIST, "eth1 has VLAN 50 as guests: name that as the parent"},
		{testVLAN("guests", "eth1", 51), unix.EEXIST, "link guests (vlan) is there already and not fairway's"},
		{testVLAN("eth9.40", "eth9", 40), unix.ENODEV, "link eth9"},
	} {
		err := c.Apply(t.Context(), Set{tt.v})
		if !errors.Is(err, tt.errno) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("Apply: %v, want %v that says %q", err, tt.errno, tt.says)
		}
	}
	info, err := c.Link(t.Context(), "", "eth1.40")
	must(t, err)
	if parent, _ := c.Link(t.Context(), "", "eth1"); info.VLAN != 40 || info.Parent != parent.Index || info.Ours || info.Kind != "vlan" {
		t.Errorf("eth1.40 is described as %+v", info)
	}
}

// TestVLANFrames has containers on two VLANs, one of them stacked, of one wire:
// each hears the machine on its own.
func TestVLANFrames(t *testing.T) {
	c, wire := withWire(t)
	inside(t, wire, func() {
		for _, do := range []string{
			"ip link add link wire1 name wire1.40 type vlan id 40", "ip link add link wire1 name wire1.100 type vlan id 100",
			"ip link add link wire1.100 name w.100.7 type vlan id 7", "ip link set wire1.100 up",
			"ip link set wire1.40 up", "ip link set w.100.7 up",
			"ip address add 172.30.0.200/24 dev wire1.40", "ip address add 172.31.0.200/24 dev w.100.7",
			"sysctl -qw net.ipv4.conf.all.arp_ignore=1", // each address on its own link
		} {
			run(t, strings.Fields(do)...)
		}
		serveOn(t, "172.30.0.200:80")
		serveOn(t, "172.31.0.200:80")
	})
	for i, parent := range []string{"eth1.40", "eth1.100.7"} {
		m := testMacvlan(1 + i)
		m.Parent = parent
		m.Sandbox, _ = newSandbox(t)
		m.Inside = Inside{Prefix: "eth", Addresses: []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("172.3%d.0.1/24", i))}}
		m.Inside.Routes = []Route{{Destination: netip.MustParsePrefix(fmt.Sprintf("172.3%d.0.0/24", 1-i))}}
		must(t, c.Apply(t.Context(), Set{testVLAN("eth1.40", "eth1", 40), testVLAN("eth1.100", "eth1", 100), testVLAN("eth1.100.7", "eth1.100", 7), m}))
		inside(t, m.Sandbox, func() {
			for j, server := range []string{"172.30.0.200:80", "172.31.0.200:80"} {
				patience := 5 * time.Second
				if i != j {
					patience = 300 * time.Millisecond
				}
				if err := dialTo(server, patience); (err == nil) != (i == j) {
					t.Errorf("%s from a container on %s: %v", server, parent, err)
				}
			}
		})
	}
}
