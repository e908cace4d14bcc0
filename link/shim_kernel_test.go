//go:build kernel

package link

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A lan is a host with eth1 on a LAN, whose other end is in the namespace of a
// neighbour, and a container's macvlan beside it.
type lanWithHost struct {
	*Conn
	neighbour, sandbox string
	shim               Shim
	want               Set
}

const (
	hostIP, hostIP6           = "172.30.0.10", "fd00:30::10"
	shimIP, shimIP6           = "172.30.0.200", "fd00:30::200"
	containerIP, containerIP6 = "172.30.0.1", "fd00:30::1"
)

func newLANWithHost(t *testing.T) lanWithHost {
	t.Helper()
	c := newConn(t)
	wire, _ := newSandbox(t)
	sandbox, _ := newSandbox(t)
	runAll(t, "ip link add eth1 type veth peer wire1", "ip link set wire1 netns "+wire)
	h := lanWithHost{Conn: c, neighbour: wire, sandbox: sandbox}
	runAll(t, "ip link set eth1 up", "ip addr add "+hostIP+"/24 dev eth1", "ip addr add "+hostIP6+"/64 dev eth1 nodad")
	inside(t, wire, func() {
		runAll(t, "ip link set wire1 up", "ip addr add 172.30.0.50/24 dev wire1", "ip addr add fd00:30::50/64 dev wire1 nodad")
	})
	m := testMacvlan(1)
	m.Inside.Addresses = []netip.Prefix{netip.MustParsePrefix(containerIP + "/24"), netip.MustParsePrefix(containerIP6 + "/64")}
	m.Inside.Gateways = nil
	m.Inside.Routes = []Route{
		{netip.MustParsePrefix(hostIP + "/32"), netip.MustParseAddr(shimIP)},
		{netip.MustParsePrefix(hostIP6 + "/128"), netip.MustParseAddr(shimIP6)},
	}
	m.Sandbox = sandbox
	h.shim = Shim{
		Name: "fws1", Parent: "eth1", MAC: mac("02:00:00:00:0a:01"), Alias: Mark("0123abcd", "n1", ""), Localnet: true,
		Addresses: []netip.Addr{netip.MustParseAddr(shimIP), netip.MustParseAddr(shimIP6)},
	}
	h.want = Set{h.shim, m,
		HostRoute{Link: "fws1", IP: netip.MustParseAddr(containerIP)},
		HostRoute{Link: "fws1", IP: netip.MustParseAddr(containerIP6)},
	}
	return h
}

func runAll(t *testing.T, commands ...string) {
	t.Helper()
	for _, c := range commands {
		run(t, strings.Fields(c)...)
	}
}

// TestShimReaches has the host and a container reach each other by all of their
// addresses while both reach the LAN, on a host that answers ARP for the address
// of a link by that link only.
func TestShimReaches(t *testing.T) {
	h := newLANWithHost(t)
	runAll(t, "sysctl -qw net.ipv4.conf.all.arp_ignore=1", "sysctl -qw net.ipv4.conf.all.rp_filter=1")
	for range 2 { // it may be repeated
		must(t, h.Apply(t.Context(), h.want))
	}
	clean(t, h.Conn, h.want)
	const home = "/proc/thread-self/ns/net"
	for _, ns := range []string{home, h.sandbox, h.neighbour} {
		echo(t, ns)
	}
	for from, addresses := range map[string][]string{
		h.sandbox:   {shimIP, shimIP6, hostIP, hostIP6, "172.30.0.50", "fd00:30::50"},
		home:        {containerIP, containerIP6, "172.30.0.50"},
		h.neighbour: {shimIP, shimIP6, hostIP, hostIP6, containerIP},
	} {
		inside(t, from, func() {
			for _, to := range addresses {
				ask(t, "", to)
			}
		})
	}
}

// TestShimOnTheWire listens on the LAN: nothing there may tell that another
// address of the host's than the shim's own is at its MAC address.
func TestShimOnTheWire(t *testing.T) {
	h := newLANWithHost(t)
	frames := overhear(t, h.neighbour, "wire1")
	must(t, h.Apply(t.Context(), h.want))
	echo(t, "/proc/thread-self/ns/net")
	echo(t, h.sandbox)
	inside(t, h.neighbour, func() {
		for _, ip := range []string{hostIP, hostIP6, shimIP, shimIP6} {
			ask(t, "", ip)
		}
	})
	// An answer of the host's from its LAN address to the container, which it
	// doesn't know, and the other way.
	inside(t, h.sandbox, func() { ask(t, "", hostIP) })
	runAll(t, "ip neigh flush dev fws1")
	ask(t, hostIP, containerIP)
	ask(t, hostIP6, containerIP6)
	inside(t, h.neighbour, func() {
		for ip, want := range map[string]bool{hostIP: false, hostIP6: false, shimIP6: true} {
			if at := strings.Contains(run(t, "ip", "neigh", "show", ip), h.shim.MAC.String()); at != want {
				t.Errorf("a neighbour has %s at the shim's MAC address: %t, want %t", ip, at, want)
			}
		}
	})
	own := 0
	for _, f := range frames() {
		ip, said := claims(f, h.shim.MAC)
		switch {
		case !said:
		case ip == netip.MustParseAddr(shimIP), ip == netip.MustParseAddr(shimIP6), ip.IsLinkLocalUnicast():
			own++
		default:
			t.Errorf("said on the LAN: %s is at the shim's MAC address", ip)
		}
	}
	if own == 0 {
		t.Error("the shim's own addresses were never heard of: nothing was listened to")
	}
}

// echo answers what comes to port 7 of any address in a namespace, as the
// address that it came to (RFC 862).
func echo(t *testing.T, ns string) {
	t.Helper()
	for network, any := range map[string]string{"tcp4": "0.0.0.0:7", "tcp6": "[::]:7"} {
		var l net.Listener
		inside(t, ns, func() {
			var err error
			l, err = net.Listen(network, any)
			must(t, err)
		})
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = c.Write([]byte("."))
				c.Close()
			}
		}()
		t.Cleanup(func() { l.Close(); <-done })
	}
}

// ask has echo answer, in the namespace of the test's thread. From is an address
// of the asker's; "" leaves that to the kernel.
func ask(t *testing.T, from, to string) {
	t.Helper()
	d := net.Dialer{Timeout: 3 * time.Second}
	if from != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	network := "tcp4"
	if strings.Contains(to, ":") {
		network = "tcp6"
	}
	c, err := d.Dial(network, net.JoinHostPort(to, "7"))
	if err != nil {
		t.Errorf("%s to %s: %v", from, to, err)
		return
	}
	defer c.Close()
	must(t, c.SetDeadline(time.Now().Add(3*time.Second)))
	if _, err := c.Read(make([]byte, 1)); err != nil {
		t.Errorf("%s to %s: %v", from, to, err)
	}
}

// claims returns what address a frame says is at a MAC address: the sender's in
// ARP, and the target of a neighbour advertisement (RFC 826, RFC 4861).
func claims(f []byte, mac []byte) (ip netip.Addr, said bool) {
	if len(f) < 42 {
		return ip, false
	}
	switch kind := uint16(f[12])<<8 | uint16(f[13]); {
	case kind == unix.ETH_P_ARP && bytes.Equal(f[22:28], mac):
		ip, _ = netip.AddrFromSlice(f[28:32])
		return ip, ip != netip.IPv4Unspecified()
	case kind == unix.ETH_P_IPV6 && len(f) >= 78 && f[20] == unix.IPPROTO_ICMPV6 && f[54] == 136 && bytes.Equal(f[6:12], mac):
		ip, _ = netip.AddrFromSlice(f[62:78])
		return ip, true
	case kind == unix.ETH_P_IPV6 && len(f) >= 86 && f[20] == unix.IPPROTO_ICMPV6 && f[54] == 135 && bytes.Equal(f[80:86], mac):
		ip, _ = netip.AddrFromSlice(f[22:38]) // a solicitation: its source
		return ip, true
	}
	return ip, false
}

// overhear returns a way to have all frames that came by a link since.
func overhear(t *testing.T, ns, link string) func() [][]byte {
	t.Helper()
	var fd int
	inside(t, ns, func() {
		var err error
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(htons(unix.ETH_P_ALL)))
		must(t, err)
	})
	t.Cleanup(func() { unix.Close(fd) })
	return func() (all [][]byte) {
		time.Sleep(50 * time.Millisecond) // what is under way
		for {
			b := make([]byte, 2048)
			n, _, err := unix.Recvfrom(fd, b, 0)
			if errors.Is(err, unix.EAGAIN) {
				return all
			}
			must(t, err)
			all = append(all, b[:n])
		}
	}
}

func htons(v uint16) uint16 { return v<<8 | v>>8 }

// TestShimReconcile disturbs the host's link, its settings and its routes.
func TestShimReconcile(t *testing.T) {
	h := newLANWithHost(t)
	c, want := h.Conn, h.want
	must(t, c.Apply(t.Context(), want))
	route, route6 := "route to "+containerIP+" by fws1", "route to "+containerIP6+" by fws1"
	for _, tt := range []struct{ name, do, repaired string }{
		{"nothing", "true", ""},
		{"gone", "ip link del fws1", "shim fws1 on eth1, " + route + ", " + route6},
		{"down", "ip link set fws1 down", "shim fws1 on eth1, " + route + ", " + route6},
		{"address", "ip addr del " + shimIP + "/32 dev fws1", "shim fws1 on eth1, " + route},
		{"MAC", "ip link set fws1 address 02:00:00:00:99:99", "shim fws1 on eth1"},
		{"mode", "ip link del fws1;ip link add link eth1 name fws1 type macvlan mode private;ip link set fws1 alias " + h.shim.Alias, "shim fws1 on eth1, " + route + ", " + route6},
		{"arp_ignore", "sysctl -qw net.ipv4.conf.fws1.arp_ignore=0", "shim fws1 on eth1"},
		{"accept_ra", "sysctl -qw net.ipv6.conf.fws1.accept_ra=1", "shim fws1 on eth1"},
		{"route", "ip route del " + containerIP, route},
		{"orphan", "ip route add 172.30.0.99 dev fws1 proto 102", "route to 172.30.0.99 by fws1"},
		{"somebody's route", "ip route add 172.30.0.98 dev fws1", ""},
		{"parent down", "ip link set eth1 down", ""},
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
	runIn(t, c, "ip", "link", "del", "eth1")
	if got := reconciled(t, c, want); got != "" {
		t.Errorf("without its parent: repaired %s, want it to wait", got)
	}
	newParent(t, c)
	all := "shim fws1 on eth1, macvlan fwi1 on eth1, " + route + ", " + route6
	if got := reconciled(t, c, want); got != all {
		t.Errorf("with its parent back: %s\n want %s", got, all)
	}
}

func TestShimRemoved(t *testing.T) {
	h := newLANWithHost(t)
	must(t, h.Apply(t.Context(), h.want))
	must(t, h.Remove(t.Context(), h.want[1:])) // an endpoint
	if out := run(t, "ip", "route", "show", "dev", "fws1"); strings.Contains(out, containerIP) {
		t.Errorf("left a route: %s", out)
	}
	must(t, h.Remove(t.Context(), h.want[:1]))
	must(t, h.Remove(t.Context(), h.want)) // gone already
	must(t, h.Quiesce(t.Context()))
	if got := names(t, h.Conn); len(got) != 1 {
		t.Errorf("left %v, want the parent", got)
	}
}

// TestShimRefused: another's route to a container is no place for ours, and what
// was made is gone again.
func TestShimRefused(t *testing.T) {
	h := newLANWithHost(t)
	runAll(t, "ip link add other0 type ifb", "ip link set other0 up", "ip route add "+containerIP6+" dev other0 metric 1024", "ip route add "+containerIP+" dev other0")
	if err := h.Apply(t.Context(), h.want); !errors.Is(err, unix.EEXIST) || !strings.Contains(err.Error(), "route to "+containerIP) {
		t.Errorf("Apply: %v, want EEXIST for the route", err)
	}
	must(t, h.Quiesce(t.Context()))
	if got := names(t, h.Conn); len(got) != 2 {
		t.Errorf("left %v, want the parent and the other's link", got)
	}
}
