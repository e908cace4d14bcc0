//go:build kernel

package link

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
)

// An adopted bridge that is down is set up for its network, once.
func TestAdoptedBridgeUp(t *testing.T) {
	c := newConn(t)
	b := testBridge(c)
	b.Name, b.Adopted = "br0", true
	run(t, "ip", "link", "add", "br0", "type", "bridge")
	must(t, c.Apply(t.Context(), Set{b}))
	if info, err := c.Link(t.Context(), "", "br0"); err != nil || !info.Up {
		t.Errorf("%+v, %v: want it up", info, err)
	}
	run(t, "ip", "link", "set", "br0", "down")
	if repairs, err := c.Reconcile(t.Context(), Set{b}); err != nil || len(repairs) > 0 {
		t.Errorf("repairs %v, %v; want none", repairs, err)
	}
	if info, err := c.Link(t.Context(), "", "br0"); err != nil || info.Up {
		t.Errorf("%+v, %v: its owner's wish counts", info, err)
	}
}

func TestAdoptedBridge(t *testing.T) {
	c := newConn(t)
	b := testBridge(c)
	b.Name, b.Adopted = "br0", true
	want := Set{b, Address{Link: "br0", Prefix: netip.MustParsePrefix("172.30.0.1/24")}}
	if err := c.Apply(t.Context(), want); !errors.Is(err, unix.ENODEV) {
		t.Errorf("an adopted bridge that is missing: %v, want ENODEV", err)
	}
	run(t, "ip", "link", "add", "br0", "type", "bridge", "stp_state", "1")
	run(t, "ip", "link", "set", "br0", "up", "mtu", "1450")
	run(t, "ip", "address", "add", "192.0.2.1/24", "dev", "br0")
	run(t, "ip", "neigh", "add", "192.0.2.9", "lladdr", "02:00:00:00:99:99", "dev", "br0")
	const localnet = "net/ipv4/conf/br0/route_localnet"
	run(t, "sysctl", "-qw", "net.ipv4.conf.br0.route_localnet=1")
	was, err := c.Sysctl(t.Context(), "", localnet)
	if err != nil || was != "1" {
		t.Errorf("%s=%q, %v", localnet, was, err)
	}
	want = append(want, Sysctl{Path: localnet, Value: "1", Reset: was})
	before, err := c.Link(t.Context(), "", "br0")
	must(t, err)
	must(t, c.Apply(t.Context(), want))
	if repairs, err := c.Reconcile(t.Context(), want); err != nil || len(repairs) > 0 {
		t.Errorf("repairs %v, %v; want none", repairs, err)
	}
	must(t, c.Remove(t.Context(), want))
	must(t, c.Quiesce(t.Context()))
	after, err := c.Link(t.Context(), "", "br0")
	must(t, err)
	if after.MTU != before.MTU || !bytes.Equal(after.MAC, before.MAC) || after.Alias != before.Alias || !after.Up {
		t.Errorf("before %+v\nafter %+v", before, after)
	}
	if now, err := c.Sysctl(t.Context(), "", localnet); err != nil || now != was {
		t.Errorf("%s=%q, %v; want %q as before", localnet, now, err, was)
	}
	if _, err := c.Sysctl(t.Context(), "", "net/ipv4/conf/gone/route_localnet"); !errors.Is(err, unix.ENOENT) {
		t.Errorf("a sysctl that isn't there: %v, want ENOENT", err)
	}
	if out := run(t, "ip", "-d", "-o", "link", "show", "br0"); !strings.Contains(out, "stp_state 1") {
		t.Errorf("spanning tree was switched off: %s", out)
	}
	if got := run(t, "ip", "-o", "address", "show", "dev", "br0", "scope", "global"); strings.Contains(got, "172.30.0.1") || !strings.Contains(got, "192.0.2.1/24") {
		t.Errorf("addresses of the host's bridge: %s", got)
	}
}

// A bridge has 1,023 ports (BR_MAX_PORTS, net/bridge/br_private.h).
func TestBridgeIsFull(t *testing.T) {
	c := newConn(t)
	must(t, c.Apply(t.Context(), network(c)))
	for i := range 1023 {
		v := testVeth(c, i)
		must(t, c.Apply(t.Context(), Set{v}))
	}
	full := everything(t, c)
	err := c.Apply(t.Context(), endpoint(c, 1023))
	const refused = "link: add veth fwv1023 to fwb1: bridge fwb1 has the 1,023 ports that a bridge can have: " +
		"remove one, or use another network: exchange full"
	if !errors.Is(err, unix.EXFULL) || err.Error() != refused {
		t.Errorf("port 1,024:\n got %v\nwant %s", err, refused)
	}
	if now := everything(t, c); !slices.Equal(now, full) {
		t.Errorf("left behind: %q", slices.DeleteFunc(now, func(l string) bool { return slices.Contains(full, l) }))
	}
	must(t, c.Remove(t.Context(), Set{testVeth(c, 500)}))
	must(t, c.Quiesce(t.Context()))
	must(t, c.Apply(t.Context(), endpoint(c, 1023)))
	must(t, c.Remove(t.Context(), endpoint(c, 1023)[1:]))
	start := time.Now()
	_, err = c.Reconcile(t.Context(), nil)
	must(t, err)
	must(t, c.Quiesce(t.Context()))
	t.Logf("1,023 pairs removed in %s", time.Since(start))
	if left := names(t, c); left != nil {
		t.Errorf("left behind: %v", left)
	}
}

// everything is all links, and the entries of the tables that go with them.
func everything(t *testing.T, c *Conn) []string {
	t.Helper()
	return append(names(t, c), strings.Split(run(t, "ip", "neigh")+run(t, "bridge", "fdb"), "\n")...)
}

func TestUplinkMTU(t *testing.T) {
	c := newConn(t)
	check := func(want int) {
		t.Helper()
		if got, err := c.UplinkMTU(t.Context()); err != nil || got != want {
			t.Errorf("MTU %d, %v; want %d", got, err, want)
		}
	}
	check(1500)
	for i, mtu := range []string{"1460", "1280", "1420"} {
		name := fmt.Sprintf("up%d", i)
		run(t, "ip", "link", "add", name, "type", "bridge")
		run(t, "ip", "link", "set", name, "up", "mtu", mtu)
		run(t, "ip", "address", "add", fmt.Sprintf("192.0.%d.1/24", i), "dev", name)
	}
	run(t, "ip", "-6", "route", "add", "default", "dev", "up2")
	check(1420)
	run(t, "ip", "route", "add", "default", "via", "192.0.1.2", "metric", "200")
	check(1280)
	run(t, "ip", "route", "add", "default", "via", "192.0.0.2", "metric", "100")
	check(1460)
	run(t, "ip", "route", "change", "default", "via", "192.0.0.2", "metric", "100", "mtu", "1400")
	check(1400)
}

func TestSubnets(t *testing.T) {
	c := newConn(t)
	must(t, c.Apply(t.Context(), network(c)))
	run(t, "ip", "link", "add", "lan", "type", "bridge")
	run(t, "ip", "link", "set", "lan", "up")
	run(t, "ip", "address", "add", "192.0.2.1/24", "dev", "lan")
	run(t, "ip", "address", "add", "2001:db8::1/64", "dev", "lan")
	run(t, "ip", "route", "add", "10.0.0.0/8", "via", "192.0.2.2")
	run(t, "ip", "route", "add", "198.51.100.0/24", "via", "192.0.2.2", "table", "77")
	run(t, "ip", "route", "add", "blackhole", "203.0.113.0/24")
	run(t, "ip", "route", "add", "default", "via", "192.0.2.2")
	got, err := c.Subnets(t.Context())
	must(t, err)
	var text []string
	for _, p := range got {
		text = append(text, p.String())
	}
	want := []string{"10.0.0.0/8", "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/64"}
	if !slices.Equal(text, want) {
		t.Errorf("got %v\nwant %v", text, want)
	}
}

func TestEnableForwarding(t *testing.T) {
	c := newConn(t)
	run(t, "sysctl", "-qw", "net.ipv4.ip_forward=0")
	for _, v6 := range []bool{false, true} {
		for _, want := range []bool{true, false} {
			if on, err := c.Forwards(v6); err != nil || on == want {
				t.Errorf("v6=%t: forwards %t, %v", v6, on, err)
			}
			if got, err := c.EnableForwarding(t.Context(), v6); err != nil || got != want {
				t.Errorf("v6=%t: %t, %v; want %t", v6, got, err, want)
			}
		}
	}
	got := run(t, "sysctl", "-n", "net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding", "net.ipv6.conf.default.forwarding")
	if got != "1\n1\n1\n" {
		t.Errorf("forwarding: %q", got)
	}
}

// A host that got its IPv6 default route by advertisement keeps it.
func TestForwardingKeepsAdvertisedRoute(t *testing.T) {
	c := newConn(t)
	path, _ := newSandbox(t)
	run(t, "ip", "link", "add", "up0", "type", "veth", "peer", "name", "router", "netns", path)
	inside(t, path, func() { run(t, "ip", "link", "set", "router", "up") })
	run(t, "ip", "link", "set", "up0", "up")
	w := newWire(t, path, "router")
	advertise := func() string {
		for range 100 {
			w.send(t, mac("33:33:00:00:00:01"), w.mac, unix.ETH_P_IPV6,
				forgedRouter(netip.MustParseAddr("fe80::1"), netip.MustParsePrefix("2001:db8:1::/64")))
			time.Sleep(50 * time.Millisecond)
			if routes := run(t, "ip", "-6", "route", "show", "default"); routes != "" {
				return routes
			}
		}
		return ""
	}
	if advertise() == "" {
		t.Fatal("the host takes no default route by advertisement")
	}
	flipped, err := c.EnableForwarding(t.Context(), true)
	if err != nil || !flipped {
		t.Fatalf("%t, %v; want true", flipped, err)
	}
	if routes := run(t, "ip", "-6", "route", "show", "default"); !strings.Contains(routes, "via fe80::1 dev up0 proto ra") {
		t.Errorf("default routes %q, want the advertised one", routes)
	}
	if got := run(t, "sysctl", "-n", "net.ipv6.conf.up0.accept_ra"); got != "2\n" {
		t.Errorf("accept_ra=%s, want 2", got)
	}
}

func TestLockNamespace(t *testing.T) {
	newNamespace(t)
	l, err := LockNamespace(silent())
	must(t, err)
	_, err = LockNamespace(silent())
	if !errors.Is(err, unix.EADDRINUSE) || !strings.Contains(err.Error(), "another fairway daemon") {
		t.Errorf("second daemon: %v, want one line that says so", err)
	}
	path, _ := newSandbox(t)
	inside(t, path, func() {
		other, err := LockNamespace(silent())
		must(t, err) // another namespace
		must(t, other.Close())
	})
	must(t, l.Close())
	l, err = LockNamespace(silent())
	must(t, err)
	must(t, l.Close())
}

// A user who takes the name keeps no daemon from starting.
func TestLockNamespaceTaken(t *testing.T) {
	newNamespace(t)
	as := func(uid uintptr) { // of this thread only
		t.Helper()
		const same = ^uintptr(0)
		if _, _, err := unix.RawSyscall(unix.SYS_SETRESUID, same, uid, same); err != 0 {
			t.Fatal(err)
		}
	}
	as(65534)
	squatter, err := net.ListenUnix("unix", &net.UnixAddr{Name: lockName, Net: "unix"})
	as(0)
	must(t, err)
	defer squatter.Close()
	l, err := LockNamespace(silent())
	must(t, err)
	must(t, l.Close())
}

func silent() logrus.FieldLogger {
	l := logrus.New()
	l.SetOutput(io.Discard)
	return l
}
