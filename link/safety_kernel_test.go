//go:build kernel

package link

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// handOver moves the container's end of an endpoint into a sandbox, as Docker
// does.
func handOver(t *testing.T, v Veth, commands ...string) (path string) {
	t.Helper()
	path, _ = newSandbox(t)
	run(t, "ip", "link", "set", v.Peer, "netns", path)
	inside(t, path, func() {
		run(t, "ip", "link", "set", v.Peer, "name", "eth0")
		for _, c := range commands {
			run(t, strings.Fields(c)...)
		}
	})
	return path
}

// TESTING.md T8: a network without IPv6 sends nothing of it to its containers,
// not even what a link sends as it comes up.
func TestNoInet6(t *testing.T) {
	c := newConn(t)
	b := testBridge(c)
	b.IPv6 = false
	v := testVeth(c, 1)
	must(t, c.Apply(t.Context(), Set{b, v}))
	path := handOver(t, v, "sysctl -qw net.ipv6.conf.eth0.disable_ipv6=1")
	w := newWire(t, path, "eth0")
	inside(t, path, func() { run(t, "ip", "link", "set", "eth0", "up") })
	for _, f := range w.received(t, unix.ETH_P_IPV6, 2*time.Second) {
		t.Errorf("IPv6 frame: % x", f)
	}
	for _, name := range []string{b.Name, v.Name} {
		if got := run(t, "ip", "-6", "address", "show", "dev", name); got != "" {
			t.Errorf("%s has an IPv6 address:\n%s", name, got)
		}
	}
	// The same with IPv6 on: the test sees what it looks for.
	run(t, "sysctl", "-qw", "net.ipv6.conf."+v.Name+".disable_ipv6=0")
	if len(w.received(t, unix.ETH_P_IPV6, 2*time.Second)) == 0 {
		t.Error("no IPv6 frame of a link that speaks it")
	}
}

// TESTING.md T9: the host believes no router advertisement from a container.
func TestNoRouterAdvertisements(t *testing.T) {
	c := newConn(t)
	v := testVeth(c, 1)
	must(t, c.Apply(t.Context(), append(network(c), v)))
	path := handOver(t, v, "ip link set eth0 up")
	w := newWire(t, path, "eth0")
	prefix := netip.MustParsePrefix("2001:db8:bad::/64")
	believed := func() bool {
		for range 3 {
			w.send(t, mac("33:33:00:00:00:01"), w.mac, unix.ETH_P_IPV6, forgedRouter(netip.MustParseAddr("fe80::bad"), prefix))
			time.Sleep(50 * time.Millisecond)
		}
		return strings.Contains(run(t, "ip", "-6", "address"), "2001:db8:bad:") ||
			strings.Contains(run(t, "ip", "-6", "route"), "default")
	}
	if believed() {
		t.Errorf("believed a router advertisement:\n%s%s", run(t, "ip", "-6", "address"), run(t, "ip", "-6", "route"))
	}
	run(t, "sysctl", "-qw", "net.ipv6.conf.fwb1.accept_ra=1")
	if !believed() {
		t.Error("the advertisement is none that a host would believe")
	}
}

// TESTING.md T10: who claims another's address moves neither the host's
// neighbour entry nor the bridge's forwarding entry.
func TestSpoofing(t *testing.T) {
	c := newConn(t)
	victim, attacker := endpoint(c, 1), endpoint(c, 2)
	must(t, c.Apply(t.Context(), append(network(c), append(victim, attacker...)...)))
	path := handOver(t, attacker[0].(Veth), "ip link set eth0 up")
	handOver(t, victim[0].(Veth), "ip link set eth0 up")
	w := newWire(t, path, "eth0")
	time.Sleep(100 * time.Millisecond) // carrier
	v4, v6 := victim[1].(Neighbour), victim[2].(Neighbour)
	gateway4, gateway6 := netip.MustParseAddr("172.30.0.1"), netip.MustParseAddr("fd00:30::1")
	bridge := testBridge(c).MAC
	attack := func() {
		for range 3 {
			w.send(t, broadcast, w.mac, unix.ETH_P_ARP, arpReply(v4.IP, w.mac, gateway4, bridge))
			w.send(t, bridge, w.mac, unix.ETH_P_IPV6, forgedAdvertisement(attacker[2].(Neighbour).IP, gateway6, v6.IP, w.mac))
			w.send(t, broadcast, v4.MAC, 0x88b5, make([]byte, 46)) // local experimental, IEEE 802
		}
		time.Sleep(50 * time.Millisecond)
	}
	tables := func() string {
		return run(t, "ip", "neigh", "show", "dev", "fwb1") + run(t, "bridge", "fdb", "show", "br", "fwb1")
	}
	before := tables()
	attack()
	if after := tables(); after != before {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
	// A port that learns can't take away what is another's either.
	run(t, "bridge", "link", "set", "dev", "fwv2", "learning", "on")
	attack()
	if got := run(t, "bridge", "fdb", "show", "br", "fwb1"); !strings.Contains(got, v4.MAC.String()+" dev fwv1 sticky") {
		t.Errorf("the victim's entry has moved:\n%s", got)
	}
	// The attack works where nothing is in its way.
	run(t, "bridge", "fdb", "del", v4.MAC.String(), "dev", "fwv1", "master")
	run(t, "ip", "neigh", "replace", v4.IP.String(), "lladdr", v4.MAC.String(), "nud", "stale", "dev", "fwb1")
	run(t, "ip", "neigh", "replace", v6.IP.String(), "lladdr", v6.MAC.String(), "nud", "stale", "dev", "fwb1")
	time.Sleep(1200 * time.Millisecond) // an entry is fixed for a second: locktime, arp(7)
	attack()
	if got := run(t, "bridge", "fdb", "show", "br", "fwb1"); !strings.Contains(got, v4.MAC.String()+" dev fwv2") {
		t.Errorf("the attack is none: the FDB entry didn't move:\n%s", got)
	}
	for _, ip := range []netip.Addr{v4.IP, v6.IP} {
		if got := run(t, "ip", "neigh", "show", ip.String(), "dev", "fwb1"); !strings.Contains(got, w.mac.String()) {
			t.Errorf("the attack is none: the neighbour entry didn't move: %s", got)
		}
	}
}
