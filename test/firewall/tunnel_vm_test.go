//go:build kernel && vm

package firewall

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"fairway/nat"
)

// TestWireGuard: beside wg-quick(8) with a tunnel that takes everything, whose
// fwmark, policy rules, rp_filter and src_valid_mark are real, all connections
// pass, or don't, as without it, and containers get outside through the tunnel.
// It runs in the virtual machine, whose kernel has WireGuard.
func TestWireGuard(t *testing.T) { eachBackend(t, testWireGuard) }

func testWireGuard(t *testing.T, kind backend) {
	for _, c := range []struct {
		name  string
		first bool // the tunnel is there before the firewall
		nft   bool // wg-quick uses nft; else iptables
	}{{"up later", false, true}, {"up first", true, true}, {"up first, iptables", true, false}} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, kind)
			w.host.run(t, "iptables", "-P", "FORWARD", "DROP")
			w.host.run(t, "ip6tables", "-P", "FORWARD", "DROP")
			for _, link := range []string{"all", "default", "eth0", "fwa", "fwb"} {
				w.host.sysctl(t, "net/ipv4/conf/"+link+"/rp_filter", "1")
			}
			up := w.tunnel(t, c.nft)
			fw := w.firewall(t)
			a, b := networks()
			a1, b1 := endpoints()
			s := nat.State{Networks: []nat.Network{a, b}, Endpoints: []nat.Endpoint{a1, b1}}
			if c.first {
				up()
			}
			fw.apply(t, s)
			if !c.first {
				up()
			}
			// Where the tunnel came later, its rules are before ours now.
			if r := fw.reconcile(t, s); c.first && len(r) != 0 {
				t.Errorf("Reconcile beside the tunnel repaired %v", r)
			}
			if r := fw.reconcile(t, s); len(r) != 0 {
				t.Errorf("Reconcile repaired %v once more", r)
			}
			probes := append(w.common(), w.throughTunnel()...)
			if kind.name == viaIptables.name && c.first {
				// wg-quick gives every packet of udp its connection's mark, after ours.
				probes = slices.DeleteFunc(probes, func(p probe) bool { return p.network == "udp" })
			}
			check(t, probes)
			for _, subnet := range []string{"172.30.1.0/24", "2001:db8:a::/64"} {
				w.lan.run(t, "ip", "route", "add", subnet, "dev", "wg0")
			}
			forbidden := []probe{
				{"by routing through the tunnel", w.lan, "tcp", "172.30.1.2:81", ""},
				{"by routing through the tunnel to the target", w.lan, "tcp", "172.30.1.2:80", ""},
				{"by routing through the tunnel, udp", w.lan, "udp", "172.30.1.2:80", ""},
				{"by routing through the tunnel, IPv6", w.lan, "tcp", "[2001:db8:a::2]:81", ""},
			}
			check(t, forbidden)
			w.shell(t, kind.flush())
			check(t, forbidden)
			if t.Failed() {
				t.Log(w.host.run(t, "sh", "-c", "ip rule; ip -6 rule; ip route show table all; nft list ruleset; wg"))
			}
		})
	}
}

// tunnel makes the neighbour the tunnel's other end, behind which is the
// outside (198.51.100.1), and returns what calls wg-quick on the host.
func (w *world) tunnel(t *testing.T, nft bool) (up func()) {
	t.Helper()
	key := func() (private, public string) {
		private = strings.TrimSpace(w.host.run(t, "wg", "genkey"))
		return private, strings.TrimSpace(w.host.input(t, private, "wg", "pubkey"))
	}
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ours, ourPublic := key()
	theirs, theirPublic := key()

	w.lan.run(t, "ip", "link", "add", "wg0", "type", "wireguard")
	w.lan.run(t, "wg", "setconf", "wg0", file("lan.conf", "[Interface]\nListenPort = 51820\nPrivateKey = "+theirs+
		"\n[Peer]\nPublicKey = "+ourPublic+"\nAllowedIPs = 10.77.0.2/32, fd77::2/128, 172.30.0.0/16, 2001:db8:a::/64\n"))
	for _, command := range []string{
		"address add 10.77.0.1/24 dev wg0", "address add fd77::1/64 dev wg0 nodad",
		"link set wg0 up", "address add 198.51.100.1/32 dev lo", "address add 2001:db8:ffff::1/128 dev lo nodad",
		"route replace 10.77.0.0/24 dev wg0 src 198.51.100.1",
	} {
		w.lan.run(t, append([]string{"ip"}, strings.Fields(command)...)...)
	}
	conf := file("wg0.conf", "[Interface]\nPrivateKey = "+ours+"\nAddress = 10.77.0.2/24, fd77::2/64\n"+
		"[Peer]\nPublicKey = "+theirPublic+"\nEndpoint = 192.0.2.2:51820\nAllowedIPs = 0.0.0.0/0, ::/0\nPersistentKeepalive = 1\n")
	return func() {
		t.Helper()
		if nft {
			w.host.run(t, "wg-quick", "up", conf)
			return
		}
		// Without nft, wg-quick takes iptables.
		bin := t.TempDir()
		for _, d := range []string{"/usr/bin", "/usr/sbin"} {
			files, err := os.ReadDir(d)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range files {
				if f.Name() != "nft" {
					_ = os.Symlink(filepath.Join(d, f.Name()), filepath.Join(bin, f.Name()))
				}
			}
		}
		w.host.run(t, "env", "PATH="+bin, "bash", "/usr/bin/wg-quick", "up", conf)
	}
}

// throughTunnel are the connections by way of the tunnel.
func (w *world) throughTunnel() []probe {
	return []probe{
		{"container to outside", w.a1, "tcp", "198.51.100.1:80", "lan 10.77.0.2"},
		{"container to outside, udp", w.a1, "udp", "198.51.100.1:80", "lan 10.77.0.2"},
		{"container to outside, IPv6", w.a1, "tcp", "[2001:db8:ffff::1]:80", "lan fd77::2"},
		{"another network's container to outside", w.b1, "tcp", "198.51.100.1:80", "lan 10.77.0.2"},
		{"host to outside", w.host, "tcp", "198.51.100.1:80", "lan 10.77.0.2"},
		{"host to container", w.host, "tcp", "172.30.1.2:81", "a1 172.30.1.1"},
		{"host to container, udp", w.host, "udp", "172.30.1.2:80", "a1 172.30.1.1"},
		{"host to container, IPv6", w.host, "tcp", "[2001:db8:a::2]:81", "a1 2001:db8:a::1"},
		{"published, from the tunnel", w.lan, "tcp", "10.77.0.2:8080", "a1 198.51.100.1"},
		{"published, from the tunnel, udp", w.lan, "udp", "10.77.0.2:8080", "a1 198.51.100.1"},
		{"published, from the tunnel, IPv6", w.lan, "tcp", "[fd77::2]:8080", "a1 fd77::1"},
		{"published on 127.0.0.1, from the tunnel", w.lan, "tcp", "10.77.0.2:8082", ""},
		{"published on another address, from the tunnel", w.lan, "tcp", "10.77.0.2:8083", ""},
	}
}
