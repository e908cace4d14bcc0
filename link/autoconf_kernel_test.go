//go:build kernel

package link

import (
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestAutoconf has containers take addresses from the router advertisements of a
// dnsmasq, by a macvlan and by a port of somebody else's bridge: as Docker leaves
// them, which switches IPv6 off first, and where the link is made again.
func TestAutoconf(t *testing.T) {
	c := withParent(t)
	wire, _ := newSandbox(t)
	runAll(t, "ip link set wire1 netns "+wire, "ip link add br0 type bridge", "ip link set br0 up", "ip link add up0 type veth peer wire2",
		"ip link set up0 master br0 up", "ip link set wire2 netns "+wire)
	inside(t, wire, func() {
		runAll(t, "ip link add lan type bridge", "ip link set lan up", "ip link set wire1 master lan up", "ip link set wire2 master lan up",
			"ip addr add 2001:db8:5::1/64 dev lan nodad")
		advertise(t, "lan", "2001:db8:5::")
	})
	m := testMacvlan(1)
	m.Inside.Autoconf = AutoconfRoutes
	v := theirPort(2)
	v.Inside.Prefix, v.Inside.Autoconf = "eth", AutoconfAddresses
	for _, tt := range []struct {
		object Object
		link   string
		mac    string
		route  bool
		sure   func(sandbox string) Set
	}{
		{m, m.Name, m.MAC.String(), true, func(s string) Set { m.Sandbox = s; return Set{m} }},
		{v, v.Peer, v.PeerMAC.String(), false, func(s string) Set { v.Sandbox = s; return Set{v} }},
	} {
		t.Run(tt.object.String(), func(t *testing.T) {
			must(t, c.Apply(t.Context(), Set{tt.object}))
			sandbox, _ := newSandbox(t)
			want := tt.sure(sandbox)
			if done, err := c.Autoconfigure(t.Context(), want); done || err != nil {
				t.Errorf("before Docker has moved it: %t, %v", done, err)
			}
			runIn(t, c, "ip", "link", "set", tt.link, "netns", sandbox)
			inside(t, sandbox, func() {
				runAll(t, "ip link set "+tt.link+" name eth0", "sysctl -qw net.ipv6.conf.eth0.disable_ipv6=1", "sysctl -qw net.ipv6.conf.all.forwarding=1")
			})
			if done, err := c.Autoconfigure(t.Context(), want); done || err != nil {
				t.Errorf("before Docker has set it up: %t, %v", done, err)
			}
			inside(t, sandbox, func() { runAll(t, "ip link set eth0 up") })
			for range 2 { // it may be repeated
				if done, err := c.Autoconfigure(t.Context(), want); !done || err != nil {
					t.Errorf("then: %t, %v", done, err)
				}
			}
			self := eui64("2001:db8:5::/64", tt.mac)
			has(t, c, want, sandbox, self, tt.route)
			clean(t, c, want)
			inside(t, sandbox, func() { runAll(t, "ip link del eth0") })
			if _, err := c.Reconcile(t.Context(), want); err != nil {
				t.Fatal(err)
			}
			has(t, c, want, sandbox, self, tt.route)
		})
	}
}

// has waits until the link of an endpoint has made itself an address and, if it is
// to, a default route.
func has(t *testing.T, c *Conn, want Set, sandbox, address string, route bool) {
	t.Helper()
	var all []netip.Prefix
	for range 600 {
		var err error
		if all, err = c.Autoconfigured(t.Context(), want); err != nil {
			t.Fatal(err)
		}
		if len(all) > 0 {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if len(all) != 1 || all[0].String() != address {
		t.Fatalf("addresses %v, want %s", all, address)
	}
	inside(t, sandbox, func() {
		if out := run(t, "ip", "-6", "route", "show", "default"); strings.Contains(out, "via fe80") != route {
			t.Errorf("default route %q, want one: %t", out, route)
		}
	})
}

// eui64 returns the address that an interface makes itself in a prefix of 64 bits
// (RFC 4291 appendix A).
func eui64(prefix, address string) string {
	p, m := netip.MustParsePrefix(prefix), mac(address)
	a := p.Addr().As16()
	copy(a[8:], []byte{m[0] ^ 2, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]})
	return netip.PrefixFrom(netip.AddrFrom16(a), 64).String()
}

// advertise has a dnsmasq advertise itself as a router with a prefix, by a link in
// the namespace of the test's thread.
func advertise(t *testing.T, link, prefix string) {
	t.Helper()
	cmd := exec.Command("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--user=root", "--group=root", "--pid-file=",
		"--interface="+link, "--enable-ra", "--dhcp-range="+prefix+",ra-only", "--dhcp-leasefile="+filepath.Join(t.TempDir(), "leases"))
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}
