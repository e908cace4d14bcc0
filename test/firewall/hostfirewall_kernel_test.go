//go:build kernel

package firewall

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"fairway/nat"
)

// hostFirewall returns a world in which the host's own rules decide about a1's
// ports (publish=host-firewall) and the daemon carries them.
func hostFirewall(t *testing.T, kind backend) (*world, *hosted, *carrier, nat.State) {
	t.Helper()
	w, fw, s := start(t, kind, func(a, _ *nat.Network, a1, _ *nat.Endpoint) {
		a.Clients = clients(t, "host-firewall")
		a1.Ports, a1.Carried = nil, []netip.Addr{a1.IPv4, a1.IPv6}
	})
	w.a1.serve(t, "udp6", ":80")
	c := w.carrier(t)
	c.publish(t, "a1",
		"tcp=0.0.0.0:8080=172.30.1.2:80", "tcp=[::]:8080=[2001:db8:a::2]:80",
		"udp=0.0.0.0:8080=172.30.1.2:80", "udp=[::]:8080=[2001:db8:a::2]:80",
		"tcp=192.0.2.1:8083=172.30.1.2:80")
	return w, fw, c, s
}

// carried are the clients that such a port has, if the host lets all in.
func (w *world) carried() []probe {
	return []probe{
		{"LAN", w.lan, "tcp", "192.0.2.1:8080", "a1 192.0.2.2"},
		{"LAN, udp", w.lan, "udp", "192.0.2.1:8080", "a1 192.0.2.2"},
		{"LAN, IPv6", w.lan, "tcp", "[2001:db8:f::1]:8080", "a1 2001:db8:f::2"},
		{"LAN, IPv6, udp", w.lan, "udp", "[2001:db8:f::1]:8080", "a1 2001:db8:f::2"},
		{"LAN, published on one address", w.lan, "tcp", "192.0.2.1:8083", "a1 192.0.2.2"},
		{"LAN, another address", w.lan, "tcp", "172.30.1.1:8080", "a1 192.0.2.2"},
		{"another network", w.b1, "tcp", "192.0.2.1:8080", "a1 172.30.2.2"},
		{"another network, udp", w.b1, "udp", "192.0.2.1:8080", "a1 172.30.2.2"},
		{"another network, IPv6", w.b1, "tcp", "[2001:db8:f::1]:8080", "a1 2001:db8:b::2"},
		{"Docker's network", w.d1, "tcp", "192.0.2.1:8080", "a1 172.30.1.1"},
		{"the host", w.host, "tcp", "192.0.2.1:8080", "a1 172.30.1.1"},
		{"the host, udp", w.host, "udp", "192.0.2.1:8080", "a1 172.30.1.1"},
		{"the host, 127.0.0.1", w.host, "tcp", "127.0.0.1:8080", "a1 172.30.1.1"},
		{"the host, 127.0.0.1, udp", w.host, "udp", "127.0.0.1:8080", "a1 172.30.1.1"},
		{"the host, IPv6", w.host, "tcp", "[2001:db8:f::1]:8080", "a1 2001:db8:a::1"},
		{"the host, ::1", w.host, "tcp", "[::1]:8080", "a1 2001:db8:a::1"},
		{"the host, ::1, udp", w.host, "udp", "[::1]:8080", "a1 2001:db8:a::1"},
		{"the same network", w.a2, "tcp", "192.0.2.1:8080", "a1 172.30.1.1"},
		{"the same container", w.a1, "tcp", "192.0.2.1:8080", "a1 172.30.1.1"},
		{"unpublished", w.lan, "tcp", "172.30.1.2:81", ""},
		{"published, by routing", w.lan, "tcp", "172.30.1.2:80", ""},
		{"published, by routing, IPv6", w.lan, "tcp", "[2001:db8:a::2]:80", ""},
		{"outside", w.a1, "tcp", "192.0.2.2:80", "lan 192.0.2.1"},
		{"outside, IPv6", w.a1, "tcp", "[2001:db8:f::2]:80", "lan 2001:db8:f::1"},
		{"a plain port", w.lan, "tcp", "192.0.2.1:8090", "b1 192.0.2.2"},
		{"a plain port, from the container", w.a1, "tcp", "192.0.2.1:8090", "b1 172.30.1.2"},
	}
}

// TestHostFirewall: what a container sees as client where the host's own rules
// decide.
func TestHostFirewall(t *testing.T) {
	t.Parallel()
	eachBackend(t, testHostFirewall)
}

func testHostFirewall(t *testing.T, kind backend) {
	w, _, _, _ := hostFirewall(t, kind)
	check(t, w.carried())
	for _, l := range []string{"all", "fwa", "fwb", "eth0"} {
		w.host.sysctl(t, "net/ipv4/conf/"+l+"/rp_filter", "1")
	}
	check(t, w.carried())
	w.dump(t)
}

// TestHostFirewallRules: the host's INPUT rules have the last word, whichever
// program wrote them; for a plain port they have none.
func TestHostFirewallRules(t *testing.T) {
	t.Parallel()
	eachBackend(t, testHostFirewallRules)
}

func testHostFirewallRules(t *testing.T, kind backend) {
	w, _, _, _ := hostFirewall(t, kind)
	const all4, all6 = "a1 192.0.2.2", "a1 2001:db8:f::2"
	nft := func(rules string) string {
		return "nft add table inet mine; nft 'add chain inet mine in { type filter hook input priority 0; }'; for r in " + rules + "; do nft add rule inet mine in $r; done"
	}
	for _, c := range []struct {
		rules               string
		tcp4, udp4, tcp6, b string // what the LAN gets, and a container of another network
	}{
		{"iptables -A INPUT -p tcp --dport 8080 -j DROP", "", all4, all6, ""},
		{"ip6tables -A INPUT -p tcp --dport 8080 -j REJECT", all4, all4, "", "a1 172.30.2.2"},
		{"iptables -A INPUT -i lo -j ACCEPT; iptables -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT; iptables -P INPUT DROP", "", "", all6, ""},
		{"iptables -A INPUT -p tcp --dport 8080 ! -s 192.0.2.2 -j DROP", all4, all4, all6, ""},
		{"iptables -A INPUT -i fwb -j DROP", all4, all4, all6, ""},
		{nft(`"udp dport 8080 drop"`), all4, "", all6, "a1 172.30.2.2"},
		{nft(`"ct state established accept" "iifname lo accept" "meta l4proto ipv6-icmp accept" "ip saddr 192.0.2.2 tcp dport 8080 accept" "drop"`), all4, "", "", ""},
	} {
		w.host.run(t, "sh", "-c", c.rules)
		check(t, []probe{
			{c.rules, w.lan, "tcp", "192.0.2.1:8080", c.tcp4},
			{c.rules, w.lan, "udp", "192.0.2.1:8080", c.udp4},
			{c.rules, w.lan, "tcp", "[2001:db8:f::1]:8080", c.tcp6},
			{c.rules, w.b1, "tcp", "192.0.2.1:8080", c.b},
			{c.rules, w.lan, "tcp", "192.0.2.1:8090", "b1 192.0.2.2"}, // a plain one
			{c.rules, w.lan, "tcp", "172.30.1.2:80", ""},
		})
		w.host.run(t, "sh", "-c", "iptables -P INPUT ACCEPT; iptables -F INPUT; ip6tables -F INPUT; nft delete table inet mine 2>/dev/null || true")
	}
	w.dump(t)
}

// TestHostFirewallPorts: what is published later, on addresses that come later,
// in ranges, and no more; clients that come by one port of theirs to several.
func TestHostFirewallPorts(t *testing.T) {
	t.Parallel()
	w, fw, c, s := hostFirewall(t, viaNftables)
	w.address(t, "eth0", "192.0.2.77/24")
	check(t, []probe{{"an address that came later", w.lan, "tcp", "192.0.2.77:8080", "a1 192.0.2.2"}})
	ports := []string{"tcp=0.0.0.0:8080=172.30.1.2:80", "tcp=0.0.0.0:8081=172.30.1.2:80", "udp=0.0.0.0:8080=172.30.1.2:80", "udp=0.0.0.0:8081=172.30.1.2:80"}
	var probes []probe
	for p := 20000; p < 20020; p++ {
		ports = append(ports, fmt.Sprintf("udp=0.0.0.0:%d=172.30.1.2:80", p))
		probes = append(probes, probe{"a range", w.lan, "udp", fmt.Sprintf("192.0.2.1:%d", p), "a1 192.0.2.2"})
	}
	c.publish(t, "a1", ports...)
	check(t, append(probes, probe{"no more", w.lan, "tcp", "192.0.2.1:8083", ""}))
	for _, network := range []string{"tcp", "udp"} {
		first := w.lan.from(t, network, 5555, "192.0.2.1:8080")
		second := w.lan.from(t, network, 5555, "192.0.2.1:8081") // another port of the client's there
		for _, conn := range []net.Conn{first, second} {
			if got := hear(conn); got != "a1 192.0.2.2" {
				t.Errorf("%s from one port to two of the host's: %q", network, got)
			}
		}
		for _, conn := range []net.Conn{first, second} {
			conn.Close()
		}
	}

	var clients []net.Conn
	for port := 6000; port < 6005; port++ {
		conn := w.lan.from(t, "udp", port, "192.0.2.1:8080")
		defer conn.Close()
		clients = append(clients, conn)
	}
	for _, conn := range append(clients, clients...) {
		if got := hear(conn); got != "a1 192.0.2.2" {
			t.Errorf("an udp client beside others: %q", got)
		}
	}

	// What is published on loopback isn't for the LAN, whatever it crafts.
	c.publish(t, "a1", "tcp=127.0.0.1:8084=172.30.1.2:80", "udp=127.0.0.1:8084=172.30.1.2:80")
	w.host.sysctl(t, "net/ipv4/conf/eth0/route_localnet", "1")
	crafted(t, w.lan, "192.0.2.1")
	check(t, []probe{
		{"loopback, from the LAN", w.lan, "tcp", "127.0.0.1:8084", ""},
		{"loopback, from the LAN, udp", w.lan, "udp", "127.0.0.1:8084", ""},
		{"loopback", w.host, "tcp", "127.0.0.1:8084", "a1 172.30.1.1"},
		{"loopback, udp", w.host, "udp", "127.0.0.1:8084", "a1 172.30.1.1"},
	})

	fw.remove(t, nat.State{Endpoints: s.Endpoints[:1]})
	c.publish(t, "a1")
	check(t, []probe{{"gone", w.lan, "tcp", "192.0.2.1:8080", ""}, {"gone", w.lan, "udp", "192.0.2.1:8080", ""}})
	if got := w.host.run(t, "nft", "list", "set", "inet", "fairway", "carried4"); strings.Contains(got, "172.30") {
		t.Errorf("left:\n%s", got)
	}
	fw.remove(t, nat.State{Networks: s.Networks, Endpoints: s.Endpoints})
	if got := w.host.run(t, "sh", "-c", "ip rule; ip route show table all proto 102; ip -6 rule; ip -6 route show table all proto 102"); strings.Contains(got, "400") || strings.Contains(got, "102") {
		t.Errorf("left:\n%s", got)
	}
}

// from connects by a port of the client's own, and asks.
func (n *namespace) from(t *testing.T, network string, port int, to string) (c net.Conn) {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{Port: port}, Timeout: patience, Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) })
	}}
	if network == "udp" {
		d.LocalAddr = &net.UDPAddr{Port: port}
	}
	var err error
	n.do(func() { c, err = d.Dial(network, to) })
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// hear asks and returns the answer.
func hear(c net.Conn) string {
	_ = c.SetDeadline(time.Now().Add(patience))
	buf := make([]byte, 100)
	if c.LocalAddr().Network() == "udp" {
		_, _ = c.Write([]byte("?"))
	}
	k, _ := c.Read(buf)
	return string(buf[:k])
}

// TestHostFirewallRepair: whatever is taken away of the way back is told and put
// back; until then nobody gets in by another way. Without the daemon the ports are
// closed.
func TestHostFirewallRepair(t *testing.T) {
	t.Parallel()
	eachOpen(t, testHostFirewallRepair)
}

func testHostFirewallRepair(t *testing.T, kind backend) {
	w, fw, c, s := hostFirewall(t, kind)
	reached := []probe{
		{"LAN", w.lan, "tcp", "192.0.2.1:8080", "a1 192.0.2.2"},
		{"LAN, IPv6, udp", w.lan, "udp", "[2001:db8:f::1]:8080", "a1 2001:db8:f::2"},
		{"the host", w.host, "tcp", "192.0.2.1:8080", "a1 172.30.1.1"},
	}
	check(t, reached)
	rules := map[string]string{"nftables": "nft flush ruleset", "iptables": "iptables -t mangle -F; ip6tables -t mangle -F"}[kind.name]
	for _, command := range []string{
		rules, "ip rule flush protocol 102; ip -6 rule flush protocol 102", "ip route flush table 4001; ip -6 route flush table 4001",
	} {
		w.host.run(t, "sh", "-c", command)
		check(t, []probe{
			{"broken: " + command, w.lan, "tcp", "192.0.2.1:8080", ""},
			{"broken: " + command, w.lan, "tcp", "172.30.1.2:80", ""},
			{"broken: " + command, w.host, "tcp", "127.0.0.1:8080", "a1 172.30.1.1"},
		})
		if command == rules {
			var lacks []nat.Lack
			var err error
			w.host.do(func() { lacks, err = fw.f.Lacking(t.Context(), s.Endpoints[:1]) })
			if want := []netip.Addr{s.Endpoints[0].IPv4, s.Endpoints[0].IPv6}; err != nil || len(lacks) != 2 ||
				lacks[0].Port.Target != want[0] || lacks[1].Port.Target != want[1] {
				t.Errorf("%s: lacking %v, %v", command, lacks, err)
			}
		}
		if r := fw.reconcile(t, s); len(r) == 0 {
			t.Errorf("%s: nothing repaired", command)
		}
		check(t, reached)
	}
	var lacks []nat.Lack
	w.host.do(func() { lacks, _ = fw.f.Lacking(t.Context(), s.Endpoints) })
	if len(lacks) != 0 {
		t.Errorf("lacking %v", lacks)
	}
	c.in.Close()
	_ = c.cmd.Wait()
	check(t, []probe{{"no daemon", w.lan, "tcp", "192.0.2.1:8080", ""}, {"no daemon", w.host, "tcp", "127.0.0.1:8080", ""}})
	w.dump(t)
}

// TestHostFirewallBridged: the same with br_netfilter, where the bridge calls the
// hooks.
func TestHostFirewallBridged(t *testing.T) {
	t.Parallel()
	eachBackend(t, testHostFirewallBridged)
}

func testHostFirewallBridged(t *testing.T, kind backend) {
	w, _, _, _ := hostFirewall(t, kind)
	for _, f := range []string{"iptables", "ip6tables"} {
		w.host.sysctl(t, "net/bridge/bridge-nf-call-"+f, "1")
	}
	check(t, w.carried())
	w.dump(t)
}
