//go:build kernel

package firewall

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"fairway/nat"
	"fairway/nat/nftables"
)

// onLAN puts a container on the LAN of eth0, and the host beside it: fws1 with
// .200.
func (w *world) onLAN(t testing.TB, n *namespace, last int) {
	t.Helper()
	w.host.run(t, "ip", "link", "add", "link", "eth0", "name", "m"+n.name, "type", "macvlan", "mode", "bridge")
	w.host.moveTo(t, "m"+n.name, n)
	n.run(t, "ip", "link", "set", "m"+n.name, "name", "eth0", "up")
	n.address(t, "eth0", fmt.Sprintf("192.0.2.%d/24", last), fmt.Sprintf("2001:db8:f::%d/64", last))
	n.route(t, "192.0.2.2", "2001:db8:f::2")
	n.run(t, "ip", "route", "add", "192.0.2.1", "via", "192.0.2.200")
	n.run(t, "ip", "route", "add", "2001:db8:f::1", "via", "2001:db8:f::200")
	n.run(t, "ip", "route", "add", "172.30.2.0/24", "via", "192.0.2.200") // it tries the host as a router
	w.host.run(t, "ip", "route", "add", fmt.Sprintf("192.0.2.%d", last), "dev", "fws1")
	w.host.run(t, "ip", "route", "add", fmt.Sprintf("2001:db8:f::%d", last), "dev", "fws1")
	n.serve(t, "tcp", ":80")
	n.serve(t, "tcp", ":81")
	n.serve(t, "udp4", ":80")
}

// TestBesideLAN: ports of containers on the host's LAN are published on the
// host, beside a bridge network and docker0, and the host routes nothing else to
// them or for them. The LAN's own subnet is routed as ever.
func TestBesideLAN(t *testing.T) {
	eachBackend(t, func(t *testing.T, kind backend) {
		w := newWorld(t, kind)
		w.docker(t, engines[0])
		w.host.run(t, "iptables", "-P", "FORWARD", "DROP")
		w.host.run(t, "ip", "link", "add", "link", "eth0", "name", "fws1", "type", "macvlan", "mode", "bridge")
		for _, s := range []string{"arp_ignore=1", "arp_announce=2", "rp_filter=2", "route_localnet=1"} {
			name, value, _ := strings.Cut(s, "=")
			w.host.sysctl(t, "net/ipv4/conf/fws1/"+name, value)
		}
		w.address(t, "fws1", "192.0.2.200/32", "2001:db8:f::200/128")
		w.host.run(t, "ip", "link", "set", "fws1", "up")
		m1, m2 := newNamespace(t, "m1"), newNamespace(t, "m2")
		w.onLAN(t, m1, 11)
		w.onLAN(t, m2, 12)

		_, b := networks()
		lan := nat.Network{ID: "lan", Link: "fws1", Beside: true, Families: []nat.Family{
			{Subnet: netip.MustParsePrefix("192.0.2.0/24"), Mode: nat.ModeNAT},
			{Subnet: netip.MustParsePrefix("2001:db8:f::/64"), Mode: nat.ModeNAT},
		}}
		ip4, ip6 := netip.MustParseAddr("192.0.2.11"), netip.MustParseAddr("2001:db8:f::11")
		e := nat.Endpoint{ID: "m1", Network: "lan", Link: "fws1", IPv4: ip4, IPv6: ip6, Ports: []nat.Port{
			{Proto: 6, HostPort: 8080, Target: ip4, TargetPort: 80}, {Proto: 17, HostPort: 8080, Target: ip4, TargetPort: 80},
			{Proto: 6, HostPort: 8080, Target: ip6, TargetPort: 80},
			{Proto: 6, HostIP: netip.MustParseAddr("127.0.0.1"), HostPort: 8082, Target: ip4, TargetPort: 80},
		}}
		state := nat.State{Networks: []nat.Network{b, lan}, Endpoints: []nat.Endpoint{e}}
		fw := w.firewall(t)
		fw.apply(t, nat.State{Networks: state.Networks})
		fw.apply(t, nat.State{Endpoints: state.Endpoints})
		if r := fw.reconcile(t, state); len(r) != 0 {
			t.Errorf("Reconcile after Apply repaired %v", r)
		}
		check(t, []probe{
			{"from the LAN", w.lan, "tcp", "192.0.2.1:8080", "m1 192.0.2.200"},
			{"from the LAN, udp", w.lan, "udp", "192.0.2.1:8080", "m1 192.0.2.200"},
			{"from the LAN, IPv6", w.lan, "tcp", "[2001:db8:f::1]:8080", "m1 2001:db8:f::200"},
			{"from the host", w.host, "tcp", "192.0.2.1:8080", "m1 192.0.2.200"},
			{"from the host by 127.0.0.1", w.host, "tcp", "127.0.0.1:8080", "m1 192.0.2.200"},
			{"on loopback, from the host", w.host, "tcp", "127.0.0.1:8082", "m1 192.0.2.200"},
			{"on loopback, from the LAN", w.lan, "tcp", "192.0.2.1:8082", ""},
			{"from a neighbour", m2, "tcp", "192.0.2.1:8080", "m1 192.0.2.200"},
			{"from a neighbour, IPv6", m2, "tcp", "[2001:db8:f::1]:8080", "m1 2001:db8:f::200"},
			{"from a bridge network", w.b1, "tcp", "192.0.2.1:8080", "m1 192.0.2.200"},
			{"from docker0", w.d1, "tcp", "192.0.2.1:8080", "m1 192.0.2.200"},

			{"the host, any port", w.host, "tcp", "192.0.2.11:81", "m1 192.0.2.200"},
			{"the LAN, any port", w.lan, "tcp", "192.0.2.11:81", "m1 192.0.2.2"},
			{"the LAN itself", w.host, "tcp", "192.0.2.2:80", "lan 192.0.2.1"},
			{"beyond", m1, "tcp", "192.0.2.2:80", "lan 192.0.2.11"},
			{"a bridge network's container, by the host", m2, "tcp", "172.30.2.2:80", ""},
			{"routed by the host", w.b1, "tcp", "192.0.2.11:81", ""},
			{"routed by the host, IPv6", w.b1, "tcp", "[2001:db8:f::11]:81", ""},
		})
		if t.Failed() {
			w.dump(t)
		}
		fw.remove(t, nat.State{Endpoints: state.Endpoints})
		check(t, []probe{{"not any more", w.lan, "tcp", "192.0.2.1:8080", ""}})
	})
}

// TestInside: what comes to a container's own address is translated in its
// sandbox, also what it sends itself.
func TestInside(t *testing.T) {
	host, box := newNamespace(t, "host"), newNamespace(t, "box")
	host.run(t, "ip", "link", "add", "eth0", "type", "veth", "peer", "vbox")
	host.moveTo(t, "vbox", box)
	host.address(t, "eth0", "192.0.2.1/24", "2001:db8:f::1/64")
	box.run(t, "ip", "link", "set", "vbox", "name", "eth0")
	box.address(t, "eth0", "192.0.2.11/24", "192.0.2.12/24", "2001:db8:f::11/64")
	for _, l := range []string{"tcp :80", "udp4 :80", "tcp :8081"} {
		network, port, _ := strings.Cut(l, " ")
		box.serve(t, network, port)
	}
	path := fmt.Sprintf("/proc/self/fd/%d", int(box.h))
	i := nftables.NewInside("test1", nil)
	ip4, ip6 := netip.MustParseAddr("192.0.2.11"), netip.MustParseAddr("2001:db8:f::11")
	ports := []nat.Port{
		{Proto: 6, HostIP: ip4, HostPort: 8080, Target: ip4, TargetPort: 80}, {Proto: 17, HostIP: ip4, HostPort: 8080, Target: ip4, TargetPort: 80},
		{Proto: 6, HostIP: ip6, HostPort: 8080, Target: ip6, TargetPort: 80},
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	differs := func(want bool, ports []nat.Port) {
		t.Helper()
		what, err := i.Check(t.Context(), path, "e1", ports)
		must(err)
		if (what != "") != want {
			t.Errorf("Check: %q", what)
		}
	}
	differs(true, ports)
	for range 2 { // it may be repeated
		must(i.Apply(t.Context(), path, "e1", ports))
		differs(false, ports)
	}
	must(i.Apply(t.Context(), path, "e2", []nat.Port{{Proto: 6, HostIP: netip.MustParseAddr("192.0.2.12"), HostPort: 8080, Target: netip.MustParseAddr("192.0.2.12"), TargetPort: 8081}}))
	check(t, []probe{
		{"tcp", host, "tcp", "192.0.2.11:8080", "box 192.0.2.1"},
		{"udp", host, "udp", "192.0.2.11:8080", "box 192.0.2.1"},
		{"IPv6", host, "tcp", "[2001:db8:f::11]:8080", "box 2001:db8:f::1"},
		{"under its own number", host, "tcp", "192.0.2.11:80", "box 192.0.2.1"},
		{"itself", box, "tcp", "192.0.2.11:8080", "box 192.0.2.11"},
		{"another endpoint's", host, "tcp", "192.0.2.12:8080", "box 192.0.2.1"},
		{"not its address", box, "tcp", "127.0.0.1:8080", ""},
	})
	for _, harm := range []string{"delete table inet fairway-e1", "flush chain inet fairway-e1 nat-prerouting", "flush map inet fairway-e1 bound4"} {
		box.run(t, append([]string{"nft"}, strings.Fields(harm)...)...)
		differs(true, ports)
		must(i.Apply(t.Context(), path, "e1", ports))
	}
	must(i.Apply(t.Context(), path, "e1", ports[:1])) // others than before
	differs(true, ports)
	must(i.Apply(t.Context(), path, "e1", nil))
	differs(false, nil)
	if out := box.run(t, "nft", "list", "tables"); strings.Contains(out, "e1") || !strings.Contains(out, "e2") {
		t.Errorf("tables: %s", out)
	}
	must(i.Apply(t.Context(), "/proc/self/fd/nosuch", "e1", ports)) // a sandbox that is gone
}

// moveTo puts a link into another namespace.
func (n *namespace) moveTo(t testing.TB, link string, to *namespace) {
	t.Helper()
	n.netlink(t, "move "+link+" to "+to.name, func() error {
		l, err := netlink.LinkByName(link)
		if err != nil {
			return err
		}
		return netlink.LinkSetNsFd(l, int(to.h))
	})
}
