//go:build kernel

package firewall

import (
	"testing"

	"fairway/nat"
)

// TestBridged: a bridge of the host's, of which fairway has nothing but ports,
// where bridged frames go through iptables and FORWARD drops:
//
//	box 198.51.100.2 ─── nic0 ┐
//	vm  198.51.100.3 ─── vnet0 ├ lan0   c 198.51.100.4 ─── fwv9
//
// What c says and hears passes; between the others nothing is opened.
func TestBridged(t *testing.T) {
	each(t, testBridged, viaIptables, viaNftables)
}

func testBridged(t *testing.T, kind backend) {
	w := newWorld(t, kind)
	box, vm, c := newNamespace(t, "box"), newNamespace(t, "vm"), newNamespace(t, "c")
	w.host.run(t, "ip", "link", "add", "lan0", "type", "bridge", "forward_delay", "0", "mcast_snooping", "0")
	w.host.run(t, "ip", "link", "set", "lan0", "up")
	for _, p := range []struct {
		n            *namespace
		port, v4, v6 string
	}{
		{n: box, port: "nic0", v4: "198.51.100.2/24", v6: "2001:db8:e::2/64"},
		{n: vm, port: "vnet0", v4: "198.51.100.3/24", v6: "2001:db8:e::3/64"},
		{n: c, port: "fwv9", v4: "198.51.100.4/24", v6: "2001:db8:e::4/64"},
	} {
		w.host.run(t, "ip", "link", "add", p.port, "type", "veth", "peer", "name", "to-"+p.port)
		w.host.give(t, "to-"+p.port, p.n)
		w.host.run(t, "ip", "link", "set", p.port, "master", "lan0", "up")
		p.n.address(t, "to-"+p.port, p.v4, p.v6)
		p.n.serve(t, "tcp", ":80")
	}
	for _, tables := range []string{"iptables", "ip6tables"} {
		w.host.sysctl(t, "net/bridge/bridge-nf-call-"+tables, "1")
	}
	open := []probe{
		{"container to the LAN", c, "tcp", "198.51.100.2:80", "box 198.51.100.4"},
		{"the LAN to a container", box, "tcp", "198.51.100.4:80", "c 198.51.100.2"},
		{"a virtual machine to a container, IPv6", vm, "tcp", "[2001:db8:e::4]:80", "c 2001:db8:e::3"},
		{"container to the LAN, IPv6", c, "tcp", "[2001:db8:e::2]:80", "box 2001:db8:e::4"},
		{"container to the LAN, ping", c, "ip4:icmp", "198.51.100.2", "198.51.100.2"},
	}
	closed := []probe{
		{"a virtual machine to the LAN", vm, "tcp", "198.51.100.2:80", ""},
		{"the LAN to a virtual machine, IPv6", box, "tcp", "[2001:db8:e::3]:80", ""},
	}
	check(t, append(append([]probe{}, open...), probe{"a virtual machine to the LAN, with policy ACCEPT", vm, "tcp", "198.51.100.2:80", "box 198.51.100.3"}))
	w.host.run(t, "iptables", "-P", "FORWARD", "DROP")
	w.host.run(t, "ip6tables", "-P", "FORWARD", "DROP")
	all := append([]probe{}, closed...)
	for _, p := range open {
		p.name, p.want = "without rules: "+p.name, ""
		all = append(all, p)
	}
	check(t, all)

	fw := w.firewall(t)
	s := nat.State{Networks: []nat.Network{{ID: "cccccccccccccccc", Link: "lan0", Bridged: true}}}
	fw.apply(t, s)
	check(t, append(append([]probe{}, open...), closed...))
	if r := fw.reconcile(t, s); len(r) != 0 {
		t.Errorf("Reconcile after Apply repaired %v", r)
	}
	w.host.run(t, "iptables", "-F", "FAIRWAY-ACCEPT")
	if r := fw.reconcile(t, s); len(r) != 1 {
		t.Errorf("Reconcile after a flush repaired %v, want one chain", r)
	}
	check(t, open[:1])

	a, b := networks() // beside others
	a1, b1 := endpoints()
	fw.apply(t, nat.State{Networks: []nat.Network{a, b}, Endpoints: []nat.Endpoint{a1, b1}})
	check(t, append(append([]probe{
		{"another network's published port", w.lan, "tcp", "192.0.2.1:8080", "a1 192.0.2.2"},
	}, open...), closed...))
	w.dump(t)

	fw.remove(t, nat.State{Networks: []nat.Network{a, b}, Endpoints: []nat.Endpoint{a1, b1}})
	fw.remove(t, s)
	if left := w.ours(t); left != "" {
		t.Errorf("in the end there is\n%s", left)
	}
	check(t, all)
}
