//go:build kernel

package firewall

import (
	"net/netip"
	"regexp"
	"testing"

	"fairway/nat"
)

// start returns a world with a Firewall that holds networks a and b and the
// usual endpoints, FORWARD's policy being DROP and no engine there. Vary
// changes the state before it is applied.
func start(t *testing.T, kind backend, vary func(a, b *nat.Network, a1, b1 *nat.Endpoint)) (*world, *hosted, nat.State) {
	t.Helper()
	w := newWorld(t, kind)
	w.host.run(t, "iptables", "-P", "FORWARD", "DROP")
	w.host.run(t, "ip6tables", "-P", "FORWARD", "DROP")
	a, b := networks()
	a1, b1 := endpoints()
	if vary != nil {
		vary(&a, &b, &a1, &b1)
	}
	fw := w.firewall(t)
	s := nat.State{Networks: []nat.Network{a, b}, Endpoints: []nat.Endpoint{a1, b1}}
	fw.apply(t, s)
	if r := fw.reconcile(t, s); len(r) != 0 {
		t.Errorf("Reconcile after Apply repaired %v", r)
	}
	return w, fw, s
}

// owner is what nft(8) shows of the process that owns a table: it comes and
// goes with that one's socket.
var owner = regexp.MustCompile(`(?m) # progname .*$|^\tflags .*\n`)

// table returns what nft(8) shows of our table without counters and owner, ""
// if there is none.
func (w *world) table(t testing.TB) string {
	return owner.ReplaceAllString(w.host.run(t, "sh", "-c", "nft -s list table inet fairway 2>/dev/null || true"), "")
}

func (w *world) dump(t *testing.T) {
	t.Helper()
	if t.Failed() {
		t.Log(w.host.run(t, "iptables-save"), w.host.run(t, "ip6tables-save"), w.table(t))
	}
}

func TestInternal(t *testing.T) { eachBackend(t, testInternal) }

func testInternal(t *testing.T, kind backend) {
	w, _, _ := start(t, kind, func(a, _ *nat.Network, a1, _ *nat.Endpoint) { a.Internal, a1.Ports = true, nil })
	check(t, []probe{
		{"same network", w.a2, "tcp", "172.30.1.2:81", "a1 172.30.1.3"},
		{"same network, IPv6", w.a2, "tcp", "[2001:db8:a::2]:81", "a1 2001:db8:a::3"},
		{"outside", w.a1, "tcp", "192.0.2.2:80", ""},
		{"outside, IPv6", w.a1, "tcp", "[2001:db8:f::2]:80", ""},
		{"from outside", w.lan, "tcp", "172.30.1.2:80", ""},
		{"from outside, IPv6", w.lan, "tcp", "[2001:db8:a::2]:80", ""},
		{"another network's published port", w.a1, "tcp", "192.0.2.1:8090", ""},
		{"another network's published port, IPv6", w.a1, "tcp", "[2001:db8:f::1]:8090", ""},
		{"from another network", w.b1, "tcp", "172.30.1.2:80", ""},
		{"docker0", w.a1, "tcp", "172.17.0.2:80", ""},
	})
	w.dump(t)
}

// TestInternalUpdate: Apply of a network that is there replaces its rules.
func TestInternalUpdate(t *testing.T) { eachBackend(t, testInternalUpdate) }

func testInternalUpdate(t *testing.T, kind backend) {
	w, fw, s := start(t, kind, nil)
	s.Networks[0].Internal = true
	fw.apply(t, nat.State{Networks: s.Networks[:1]})
	check(t, []probe{
		{"outside", w.a1, "tcp", "192.0.2.2:80", ""},
		{"the other network", w.b1, "tcp", "192.0.2.2:80", "lan 192.0.2.1"},
	})
}

func TestUnprotected(t *testing.T) { eachBackend(t, testUnprotected) }

func testUnprotected(t *testing.T, kind backend) {
	w, _, _ := start(t, kind, func(a, _ *nat.Network, _, _ *nat.Endpoint) {
		a.Families[0].Mode, a.Families[1].Mode = nat.Unprotected, nat.Unprotected
	})
	check(t, []probe{
		{"unpublished, routed from the LAN", w.lan, "tcp", "172.30.1.2:81", "a1 192.0.2.2"},
		{"unpublished, routed from the LAN, IPv6", w.lan, "tcp", "[2001:db8:a::2]:81", "a1 2001:db8:f::2"},
		{"published", w.lan, "tcp", "192.0.2.1:8080", "a1 192.0.2.2"},
		{"another network, unpublished", w.b1, "tcp", "172.30.1.2:81", "a1 172.30.1.1"},
		{"outside, masqueraded", w.a1, "tcp", "192.0.2.2:80", "lan 192.0.2.1"},
	})
	w.dump(t)
}

func TestRouted(t *testing.T) { eachBackend(t, testRouted) }

func testRouted(t *testing.T, kind backend) {
	w, fw, s := start(t, kind, func(a, _ *nat.Network, a1, _ *nat.Endpoint) {
		for i := range a.Families {
			a.Families[i].Mode, a.Families[i].Masquerade = nat.Routed, false
		}
		a1.Ports = []nat.Port{port(6, "", 0, "172.30.1.2:80"), port(6, "", 0, "[2001:db8:a::2]:80")}
	})
	check(t, []probe{
		{"published target", w.lan, "tcp", "172.30.1.2:80", "a1 192.0.2.2"},
		{"published target, IPv6", w.lan, "tcp", "[2001:db8:a::2]:80", "a1 2001:db8:f::2"},
		{"unpublished", w.lan, "tcp", "172.30.1.2:81", ""},
		{"unpublished, IPv6", w.lan, "tcp", "[2001:db8:a::2]:81", ""},
		{"another endpoint", w.lan, "tcp", "172.30.1.3:80", ""},
		{"no port of the host", w.lan, "tcp", "192.0.2.1:80", ""},
		{"outside, own address", w.a1, "tcp", "192.0.2.2:80", "lan 172.30.1.2"},
		{"published target from another network", w.b1, "tcp", "172.30.1.2:80", "a1 172.30.1.1"},
		{"unpublished from another network", w.b1, "tcp", "172.30.1.2:81", ""},
	})
	check(t, []probe{
		{"ping", w.lan, "ip4:icmp", "172.30.1.2", "172.30.1.2"},
		{"ping, IPv6", w.lan, "ip6:ipv6-icmp", "2001:db8:a::2", "2001:db8:a::2"},
		{"ping from another network", w.b1, "ip4:icmp", "172.30.1.2", "172.30.1.2"},
		{"ping to a network that is not routed", w.lan, "ip4:icmp", "172.30.2.2", ""},
	})

	more := s.Endpoints[0]
	more.Ports = append(more.Ports[:1:1], port(6, "", 0, "172.30.1.2:81"))
	fw.apply(t, nat.State{Endpoints: []nat.Endpoint{more}})
	check(t, []probe{
		{"published later", w.lan, "tcp", "172.30.1.2:81", "a1 192.0.2.2"},
		{"unpublished later", w.lan, "tcp", "[2001:db8:a::2]:80", ""},
	})
	w.dump(t)
}

func TestICCOff(t *testing.T) { eachBackend(t, testICCOff) }

func testICCOff(t *testing.T, kind backend) {
	w, _, _ := start(t, kind, func(a, _ *nat.Network, _, _ *nat.Endpoint) { a.ICC = false })
	check(t, []probe{
		{"sibling", w.a2, "tcp", "172.30.1.2:80", ""},
		{"sibling, IPv6", w.a2, "tcp", "[2001:db8:a::2]:80", ""},
		{"sibling's published port", w.a2, "tcp", "192.0.2.1:8080", "a1 172.30.1.1"},
		{"outside", w.a2, "tcp", "192.0.2.2:80", "lan 192.0.2.1"},
		{"from outside", w.lan, "tcp", "192.0.2.1:8080", "a1 192.0.2.2"},
	})
	w.dump(t)
}

func TestTrusted(t *testing.T) { eachBackend(t, testTrusted) }

func testTrusted(t *testing.T, kind backend) {
	w, _, _ := start(t, kind, func(a, _ *nat.Network, a1, _ *nat.Endpoint) { a.Trusted, a1.Direct = []string{"eth0"}, true })
	check(t, []probe{
		{"published, by the trusted link", w.lan, "tcp", "172.30.1.2:80", "a1 192.0.2.2"},
		{"published, from another network", w.b1, "tcp", "172.30.1.2:80", ""},
		{"unpublished, by the trusted link", w.lan, "tcp", "172.30.1.2:81", ""},
		{"unpublished, of another network", w.lan, "tcp", "172.30.2.2:81", ""},
	})
}

func TestSNAT(t *testing.T) { eachBackend(t, testSNAT) }

func testSNAT(t *testing.T, kind backend) {
	w, _, _ := start(t, kind, func(a, _ *nat.Network, _, _ *nat.Endpoint) {
		a.Families[0].SNAT, a.Families[1].SNAT = netip.MustParseAddr("192.0.2.77"), netip.MustParseAddr("2001:db8:f::77")
	})
	w.address(t, "eth0", "192.0.2.77/32", "2001:db8:f::77/128")
	check(t, []probe{
		{"outside", w.a1, "tcp", "192.0.2.2:80", "lan 192.0.2.77"},
		{"outside, IPv6", w.a1, "tcp", "[2001:db8:f::2]:80", "lan 2001:db8:f::77"},
		{"hairpin", w.a2, "tcp", "192.0.2.1:8080", "a1 172.30.1.1"},
	})
}

// crafted makes n send what it sends to 127.0.0.0/8 by its link.
func crafted(t *testing.T, n *namespace, via string) {
	t.Helper()
	n.run(t, "ip", "address", "flush", "dev", "lo")
	n.run(t, "ip", "route", "add", "127.0.0.0/8", "via", via)
	n.sysctl(t, "net/ipv4/conf/all/route_localnet", "1")
}

// TestCraftedLoopback: packets to 127.0.0.0/8 from the wire or from a container
// reach neither a published port nor a service of the host, even if somebody
// set route_localnet on the uplink (TESTING.md T15, T16; moby#41872).
func TestCraftedLoopback(t *testing.T) { eachBackend(t, testCraftedLoopback) }

func testCraftedLoopback(t *testing.T, kind backend) {
	for _, routeLocalnet := range []string{"0", "1"} {
		t.Run("route_localnet="+routeLocalnet, func(t *testing.T) {
			w, _, _ := start(t, kind, nil)
			w.host.sysctl(t, "net/ipv4/conf/eth0/route_localnet", routeLocalnet)
			w.host.sysctl(t, "net/ipv4/conf/all/rp_filter", "0")
			crafted(t, w.lan, "192.0.2.1")
			crafted(t, w.a2, "172.30.1.1")
			check(t, []probe{
				{"published on all", w.lan, "tcp", "127.0.0.1:8080", ""},
				{"published on 127.0.0.1", w.lan, "tcp", "127.0.0.1:8082", ""},
				{"published on 127.0.0.1, udp", w.lan, "udp", "127.0.0.1:8080", ""},
				{"from a container, published on all", w.a2, "tcp", "127.0.0.1:8080", ""},
				{"from a container, published on 127.0.0.1", w.a2, "tcp", "127.0.0.1:8082", ""},
				{"from a container, a service of the host", w.a2, "tcp", "127.0.0.1:9000", ""},
			})
			w.dump(t)
		})
	}
}

// TestCraftedLoopbackCanPass: the probes of TestCraftedLoopback reach the
// host's loopback where no rule forbids it, so that they prove something.
func TestCraftedLoopbackCanPass(t *testing.T) { eachBackend(t, testCraftedLoopbackCanPass) }

func testCraftedLoopbackCanPass(t *testing.T, kind backend) {
	w := newWorld(t, kind)
	crafted(t, w.a2, "172.30.1.1")
	check(t, []probe{{"a service of the host", w.a2, "tcp", "127.0.0.1:9000", "host 172.30.1.3"}})
}
