//go:build kernel

package firewall

import (
	"fmt"
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"fairway/nat"
)

// A world is a host with two fairway networks, a Docker bridge and a neighbour
// on its LAN:
//
//	lan 192.0.2.2 ─── eth0 192.0.2.1 host ┬ fwa    172.30.1.1/24: a1 .2, a2 .3
//	                                      ├ fwb    172.30.2.1/24: b1 .2
//	                                      └ docker0 172.17.0.1/16: d1 .2
//
// and the same in IPv6 below 2001:db8:. The neighbour routes all of it by the
// host.
type world struct {
	kind                      backend
	host, lan, a1, a2, b1, d1 *namespace
}

func newWorld(t testing.TB, kind backend) *world {
	t.Helper()
	w := &world{
		kind: kind,
		host: newNamespace(t, "host"), lan: newNamespace(t, "lan"), a1: newNamespace(t, "a1"),
		a2: newNamespace(t, "a2"), b1: newNamespace(t, "b1"), d1: newNamespace(t, "d1"),
	}
	w.host.sysctl(t, "net/ipv4/ip_forward", "1")
	w.host.sysctl(t, "net/ipv6/conf/all/forwarding", "1")
	w.host.sysctl(t, "net/ipv6/conf/default/accept_dad", "0")
	w.pair(t, "eth0", w.lan, "192.0.2.2/24", "192.0.2.1", "2001:db8:f::2/64", "2001:db8:f::1")
	w.address(t, "eth0", "192.0.2.1/24", "2001:db8:f::1/64")
	w.host.route(t, "192.0.2.2", "2001:db8:f::2")
	w.bridge(t, "fwa", "172.30.1.1/24", "2001:db8:a::1/64")
	w.bridge(t, "fwb", "172.30.2.1/24", "2001:db8:b::1/64")
	w.bridge(t, "docker0", "172.17.0.1/16", "2001:db8:d::1/64")
	w.container(t, "fwa", w.a1, "172.30.1.2/24", "172.30.1.1", "2001:db8:a::2/64", "2001:db8:a::1")
	w.container(t, "fwa", w.a2, "172.30.1.3/24", "172.30.1.1", "2001:db8:a::3/64", "2001:db8:a::1")
	w.container(t, "fwb", w.b1, "172.30.2.2/24", "172.30.2.1", "2001:db8:b::2/64", "2001:db8:b::1")
	w.container(t, "docker0", w.d1, "172.17.0.2/16", "172.17.0.1", "2001:db8:d::2/64", "2001:db8:d::1")
	for _, n := range []*namespace{w.lan, w.a1, w.a2, w.b1, w.d1} {
		n.serve(t, "tcp", ":80")
		n.serve(t, "tcp", ":81") // never published
		n.serve(t, "udp4", ":80")
	}
	w.host.serve(t, "tcp4", "127.0.0.1:9000") // a service of the host for itself
	return w
}

func (w *world) bridge(t testing.TB, name string, addrs ...string) {
	t.Helper()
	w.host.run(t, "ip", "link", "add", name, "type", "bridge", "forward_delay", "0")
	w.address(t, name, addrs...)
	w.host.sysctl(t, "net/ipv4/conf/"+name+"/route_localnet", "1")
	w.host.sysctl(t, "net/ipv4/conf/"+name+"/src_valid_mark", "1")
}

func (w *world) address(t testing.TB, link string, addrs ...string) {
	t.Helper()
	w.host.address(t, link, addrs...)
}

func (w *world) container(t testing.TB, bridge string, n *namespace, addr4, gw4, addr6, gw6 string) {
	t.Helper()
	w.pair(t, "v"+n.name, n, addr4, gw4, addr6, gw6)
	w.host.netlink(t, "put "+n.name+" on "+bridge, func() error {
		port, err := netlink.LinkByName("v" + n.name)
		if err != nil {
			return err
		}
		b, err := netlink.LinkByName(bridge)
		if err != nil {
			return err
		}
		return netlink.LinkSetMaster(port, b)
	})
}

// pair connects n to the host; its end is eth0.
func (w *world) pair(t testing.TB, link string, n *namespace, addr4, gw4, addr6, gw6 string) {
	t.Helper()
	w.host.netlink(t, "veth to "+n.name, func() error {
		veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: link}, PeerName: "eth0", PeerNamespace: netlink.NsFd(n.h)}
		if err := netlink.LinkAdd(veth); err != nil {
			return err
		}
		return netlink.LinkSetUp(veth)
	})
	n.address(t, "eth0", addr4, addr6)
	n.route(t, gw4, gw6)
}

// netlink runs f in the namespace. Where a test makes many links it is much
// faster than as many ip(8).
func (n *namespace) netlink(t testing.TB, what string, f func() error) {
	t.Helper()
	var err error
	n.do(func() { err = f() })
	if err != nil {
		t.Fatalf("%s: %s: %v", n.name, what, err)
	}
}

// address gives a link addresses, and sets it up.
func (n *namespace) address(t testing.TB, link string, addrs ...string) {
	t.Helper()
	n.netlink(t, fmt.Sprintf("%s with %v", link, addrs), func() error {
		l, err := netlink.LinkByName(link)
		if err != nil {
			return err
		}
		for _, s := range addrs {
			a, err := netlink.ParseAddr(s)
			if err != nil {
				return err
			}
			a.Flags = unix.IFA_F_NODAD // without a meaning in IPv4
			if err = netlink.AddrAdd(l, a); err != nil {
				return err
			}
		}
		return netlink.LinkSetUp(l)
	})
}

// route makes default routes by gateways.
func (n *namespace) route(t testing.TB, gateways ...string) {
	t.Helper()
	for _, g := range gateways {
		n.netlink(t, "default route by "+g, func() error {
			return netlink.RouteAdd(&netlink.Route{Gw: net.ParseIP(g)})
		})
	}
}

// networks returns the state of fwa and fwb, to be varied by a test.
func networks() (a, b nat.Network) {
	network := func(id, link, sub4, gw4, sub6, gw6 string) nat.Network {
		return nat.Network{ID: id, Link: link, ICC: true, Families: []nat.Family{
			{Subnet: netip.MustParsePrefix(sub4), Gateway: netip.MustParseAddr(gw4), Mode: nat.ModeNAT, Masquerade: true},
			{Subnet: netip.MustParsePrefix(sub6), Gateway: netip.MustParseAddr(gw6), Mode: nat.ModeNAT, Masquerade: true},
		}}
	}
	return network("aaaaaaaaaaaaaaaa", "fwa", "172.30.1.0/24", "172.30.1.1", "2001:db8:a::/64", "2001:db8:a::1"),
		network("bbbbbbbbbbbbbbbb", "fwb", "172.30.2.0/24", "172.30.2.1", "2001:db8:b::/64", "2001:db8:b::1")
}

func port(proto uint8, hostIP string, hostPort uint16, target string) nat.Port {
	to := netip.MustParseAddrPort(target)
	p := nat.Port{Proto: proto, HostPort: hostPort, Target: to.Addr(), TargetPort: to.Port()}
	if hostIP != "" {
		p.HostIP = netip.MustParseAddr(hostIP)
	}
	return p
}

// endpoints returns those of a1 and b1 with their published ports.
func endpoints() (a1, b1 nat.Endpoint) {
	a1 = nat.Endpoint{
		ID: "a1a1a1a1a1a1a1a1", Network: "aaaaaaaaaaaaaaaa", Link: "fwa",
		IPv4: netip.MustParseAddr("172.30.1.2"), IPv6: netip.MustParseAddr("2001:db8:a::2"),
		Ports: []nat.Port{
			port(6, "", 8080, "172.30.1.2:80"),
			port(17, "", 8080, "172.30.1.2:80"),
			port(6, "::", 8080, "[2001:db8:a::2]:80"),
			port(6, "127.0.0.1", 8082, "172.30.1.2:80"),
			port(6, "192.0.2.1", 8083, "172.30.1.2:80"),
		},
	}
	b1 = nat.Endpoint{
		ID: "b1b1b1b1b1b1b1b1", Network: "bbbbbbbbbbbbbbbb", Link: "fwb",
		IPv4: netip.MustParseAddr("172.30.2.2"), IPv6: netip.MustParseAddr("2001:db8:b::2"),
		Ports: []nat.Port{port(6, "0.0.0.0", 8090, "172.30.2.2:80"), port(6, "", 8090, "[2001:db8:b::2]:80")},
	}
	return a1, b1
}

// firewall returns a Firewall in the host's namespace.
func (w *world) firewall(t testing.TB) *hosted {
	t.Helper()
	h := &hosted{host: w.host}
	w.host.do(func() {
		var err error
		if h.f, err = w.kind.make(t.Context(), "test1", nil); err != nil {
			t.Error(err)
		}
	})
	if h.f == nil {
		t.FailNow()
	}
	t.Cleanup(func() { h.close(t) }) // not before: its table would be an orphan
	return h
}

// hosted calls a Firewall in a namespace.
type hosted struct {
	f    firewall
	host *namespace
}

// close ends a Firewall's use, as the end of its process does.
func (h *hosted) close(t testing.TB) {
	t.Helper()
	h.host.do(func() {
		if err := h.f.Close(); err != nil {
			t.Error(err)
		}
	})
}

func (h *hosted) apply(t testing.TB, s nat.State) {
	t.Helper()
	var err error
	h.host.do(func() { err = h.f.Apply(t.Context(), s) })
	if err != nil {
		t.Fatal(err)
	}
}

func (h *hosted) remove(t testing.TB, s nat.State) {
	t.Helper()
	var err error
	h.host.do(func() { err = h.f.Remove(t.Context(), s) })
	if err != nil {
		t.Fatal(err)
	}
}

func (h *hosted) reconcile(t *testing.T, s nat.State) (repairs []nat.Repair) {
	t.Helper()
	var err error
	h.host.do(func() { repairs, err = h.f.Reconcile(t.Context(), s) })
	if err != nil {
		t.Fatal(err)
	}
	return repairs
}
