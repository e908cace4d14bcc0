//go:build kernel && vm

package link

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func testIPvlan(n int, mode IPvlanMode, flag IPvlanFlag) Macvlan {
	m := testMacvlan(n)
	m.Mode, m.MAC, m.IPvlan = "", nil, IPvlan{mode, flag}
	return m
}

// TestIPvlan has links of each mode and flag made, repeated and removed.
func TestIPvlan(t *testing.T) {
	for _, mode := range []IPvlanMode{IPvlanL2, IPvlanL3, IPvlanL3S} {
		for _, flag := range []IPvlanFlag{IPvlanBridge, IPvlanPrivate, IPvlanVEPA} {
			c := withParent(t)
			m := testIPvlan(1, mode, flag)
			m.MTU = 1300
			for range 2 {
				must(t, c.Apply(t.Context(), Set{m}))
			}
			out := run(t, "ip", "-d", "link", "show", "fwi1")
			says := fmt.Sprintf("ipvlan  mode %s %s", mode, flag)
			for _, s := range []string{says, "mtu 1300", "fwi1@eth1", m.Alias} {
				if !strings.Contains(out, s) {
					t.Errorf("%s %s: lacks %q:\n%s", mode, flag, s, out)
				}
			}
			clean(t, c, Set{m})
			for do, want := range map[string]string{
				"ip link del fwi1": "ipvlan fwi1 on eth1", "ip link set fwi1 alias nonsense": "ipvlan fwi1 on eth1",
			} {
				runIn(t, c, strings.Fields(do)...)
				if got := reconciled(t, c, Set{m}); got != want {
					t.Errorf("%s: repaired %q, want %q", do, got, want)
				}
				clean(t, c, Set{m})
			}
			must(t, c.Remove(t.Context(), Set{m}))
			must(t, c.Quiesce(t.Context()))
			if got := names(t, c); len(got) != 2 {
				t.Errorf("left %v, want the parent's two", got)
			}
		}
	}
}

// TestIPvlanBesideMacvlan: the kernel has one kind on a parent.
func TestIPvlanBesideMacvlan(t *testing.T) {
	c := withParent(t)
	must(t, c.Apply(t.Context(), Set{testMacvlan(1)}))
	err := c.Apply(t.Context(), Set{testIPvlan(2, IPvlanL2, IPvlanBridge)})
	if !errors.Is(err, unix.EBUSY) || !strings.Contains(err.Error(), "eth1 is a port of a bridge or bond, or carries links of another kind (macvlan)") {
		t.Errorf("an ipvlan beside a macvlan: %v", err)
	}
	must(t, c.Remove(t.Context(), Set{testMacvlan(1)}))
	must(t, c.Apply(t.Context(), Set{testIPvlan(2, IPvlanL2, IPvlanBridge)}))
	err = c.Apply(t.Context(), Set{testMacvlan(1)})
	if !errors.Is(err, unix.EBUSY) || !strings.Contains(err.Error(), "of another kind (ipvlan)") {
		t.Errorf("a macvlan beside an ipvlan: %v", err)
	}
}

// TestIPvlanModes has two containers of a subnet, and one of another, and a
// machine on the wire: who reaches whom.
func TestIPvlanModes(t *testing.T) {
	for _, tt := range []struct {
		mode                   IPvlanMode
		flag                   IPvlanFlag
		sibling, other, beyond bool // reached by a container
	}{
		{IPvlanL2, IPvlanBridge, true, false, true},
		{IPvlanL2, IPvlanPrivate, false, false, true},
		{IPvlanL2, IPvlanVEPA, false, false, true},
		{IPvlanL3, IPvlanBridge, true, true, true},
		{IPvlanL3S, IPvlanBridge, true, true, true},
		{IPvlanL3, IPvlanPrivate, false, false, true},
	} {
		t.Run(string(tt.mode)+" "+string(tt.flag), func(t *testing.T) {
			c, wire := withWire(t)
			inside(t, wire, func() {
				for _, do := range []string{
					"ip address add 172.30.0.200/24 dev wire1", "ip route add 172.31.0.0/24 dev wire1",
				} {
					run(t, strings.Fields(do)...)
				}
				serveOn(t, "172.30.0.200:80")
			})
			if tt.mode != IPvlanL2 { // the host is the router, the wire asks it for the containers
				run(t, "ip", "address", "add", "172.30.0.254/24", "dev", "eth1")
				run(t, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.conf.eth1.proxy_arp=1")
				inside(t, wire, func() {
					run(t, "ip", "route", "add", "172.30.0.1/32", "via", "172.30.0.254")
				})
			}
			var boxes []string
			for i, address := range []string{"172.30.0.1/24", "172.30.0.2/24", "172.31.0.3/24"} {
				m := testIPvlan(1+i, tt.mode, tt.flag)
				m.Sandbox, _ = newSandbox(t)
				m.Inside = Inside{Prefix: "eth", Addresses: []netip.Prefix{netip.MustParsePrefix(address)}}
				if tt.mode != IPvlanL2 {
					m.Inside.Routes = []Route{{Destination: netip.MustParsePrefix("0.0.0.0/0")}}
				}
				must(t, c.Apply(t.Context(), Set{m}))
				clean(t, c, Set{m})
				boxes = append(boxes, m.Sandbox)
				inside(t, m.Sandbox, func() { serveOn(t, strings.TrimSuffix(address, "/24")+":80") })
			}
			inside(t, boxes[0], func() {
				for server, reached := range map[string]bool{
					"172.30.0.2:80": tt.sibling, "172.31.0.3:80": tt.other, "172.30.0.200:80": tt.beyond,
				} {
					patience := 300 * time.Millisecond
					if reached {
						patience = 5 * time.Second
					}
					if err := dialTo(server, patience); (err == nil) != reached {
						t.Errorf("%s from a container: %v", server, err)
					}
				}
			})
			clean(t, c, nil)
		})
	}
}

// TestIPvlanInside loses a link in its sandbox, and its parent, and has it back.
func TestIPvlanInside(t *testing.T) {
	c := withParent(t)
	m := testIPvlan(1, IPvlanL2, IPvlanBridge)
	must(t, c.Apply(t.Context(), Set{m}))
	path, _ := newSandbox(t)
	runIn(t, c, "ip", "link", "set", "fwi1", "netns", path)
	inside(t, path, func() {
		run(t, "ip", "link", "set", "fwi1", "name", "eth0")
		run(t, "ip", "link", "set", "eth0", "up")
	})
	m.Sandbox = path
	want := Set{m}
	clean(t, c, want)
	inside(t, path, func() { run(t, "ip", "link", "del", "eth0") })
	if got := reconciled(t, c, want); got != "ipvlan fwi1 on eth1" {
		t.Errorf("gone: repaired %s", got)
	}
	runIn(t, c, "ip", "link", "del", "eth1")
	if got := reconciled(t, c, want); got != "" {
		t.Errorf("without a parent: repaired %s", got)
	}
	newParent(t, c)
	if got := reconciled(t, c, want); got != "ipvlan fwi1 on eth1" {
		t.Errorf("parent back: repaired %s", got)
	}
	inside(t, path, func() {
		out := run(t, "ip", "-d", "address", "show", "eth0") + run(t, "ip", "route")
		for _, s := range []string{"ipvlan", "172.30.0.1/24", "default via 172.30.0.254", "10.0.0.0/8 via 172.30.0.9"} {
			if !strings.Contains(out, s) {
				t.Errorf("eth0 lacks %q:\n%s", s, out)
			}
		}
	})
	must(t, c.Remove(t.Context(), want))
	must(t, c.Quiesce(t.Context()))
	inside(t, path, func() {
		if out := run(t, "ip", "-o", "link"); strings.Contains(out, "eth0") {
			t.Errorf("removed, it is still in its sandbox:\n%s", out)
		}
	})
}
