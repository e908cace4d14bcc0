//go:build e2e

package e2e

import (
	"regexp"
	"strings"
	"testing"

	"fairway/test/e2e/lab"
)

// onBridge makes a network on the host's bridge lan0.
func onBridge(t testing.TB, h *lab.Host, name string, args ...string) {
	t.Helper()
	network(t, h, "fairway", name, append([]string{
		"--opt", "mode=transparent", "--opt", "parent=lan0", "--subnet", lanSubnet, "--ip-range", lanRange, "--gateway", lab.Neighbour,
	}, args...)...)
}

// newBridge gives the host a bridge lan0 on the LAN, of which it is no part
// itself, and rules that drop what is forwarded, bridged frames too.
func newBridge(t testing.TB, h *lab.Host) {
	t.Helper()
	h.LAN.Plug(t, h, "eth7")
	h.Exec(t, "sh", "-ec", `
		ip link add lan0 type bridge forward_delay 0
		ip link set eth7 master lan0
		ip link set lan0 up
		echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables
		echo 1 >/proc/sys/net/bridge/bridge-nf-call-ip6tables`)
}

// settingsOf is all that the kernel says of a bridge but for what runs.
func settingsOf(t testing.TB, h *lab.Host, bridge string) string {
	t.Helper()
	out := h.Exec(t, "sh", "-ec", "ip -d link show "+bridge+"; ip addr show "+bridge+"; cd /proc/sys/net; grep -rs . ipv4/conf/"+bridge+" ipv6/conf/"+bridge+" || true")
	return regexp.MustCompile(`(?m)\w+_timer +[0-9.]+|fdb_n_learned \d+|valid_lft.*| tentative|stable_secret.*|index [0-9]+`).ReplaceAllString(out, "")
}

// TestTransparent attaches containers to a bridge of the host's.
func TestTransparent(t *testing.T) {
	each(t, ends, func(t *testing.T, engine string) {
		if world.driver != "fairway" {
			return
		}
		h := running(t, engine)
		newBridge(t, h)
		h.Exec(t, "iptables", "-P", "FORWARD", "DROP")
		before := settingsOf(t, h, "lan0")
		onBridge(t, h, "lan")
		a := serve(t, h, "a1", "--network", "lan", "--publish", "8080:80")
		b := serve(t, h, "b1", "--network", "lan", "--ip", "203.0.113.180", "--mac-address", "02:11:22:33:44:55")
		ip := ip4(t, h, "a1", "lan")
		both := func(what string) {
			t.Helper()
			neighbour(h).reaches(t, "tcp", at(ip, 80), "a1", lab.Neighbour)
			b.reaches(t, "tcp", "a1:80", "a1", "203.0.113.180")
			a.reaches(t, "udp", "b1:53", "b1", ip)
			a.reaches(t, "tcp", lab.Outside+":7", "neighbour", ip)
			if t.Failed() {
				t.Fatalf("after: %s", what)
			}
		}
		both("start")
		want(t, "MAC address of b1", linkValue(t, b, "eth0", "link/ether"), "02:11:22:33:44:55")
		want(t, "default route", defaultRoute(t, a, "-4"), lab.Neighbour)
		want(t, "links", len(lines(mustTry(t, a, "ip", "-o", "link"))), 2)
		neighbour(h).isShutOut(t, "tcp", at(h.IP, 8080)) // -p publishes nothing
		if after := settingsOf(t, h, "lan0"); after != before {
			t.Errorf("the bridge was\n%s\nand is\n%s", before, after)
		}
		refusedOnBridge(t, h)
		isolatedOnBridge(t, h)
		if engine == newest {
			leasedOnBridge(t, h)
		}
		bridgeGone(t, h, both)
		if err := h.Engine().RemoveAll(); err != nil {
			t.Fatal(err)
		}
		nothingOfOurs(t, h)
	})
}

// refusedOnBridge asks for what can't be had: one line says why.
func refusedOnBridge(t *testing.T, h *lab.Host) {
	t.Helper()
	refused := func(says string, args ...string) {
		t.Helper()
		if out := h.DockerErr(t, args...); !strings.Contains(out, says) {
			t.Errorf("%v: %q, want %q", args, out, says)
		}
	}
	create := func(says string, args ...string) {
		t.Helper()
		refused(says, append(append([]string{"network", "create", "--driver", "fairway", "--opt", "mode=transparent", "--subnet", "10.97.7.0/24"}, args...), "no")...)
	}
	create("option parent: missing")
	create(`option parent="eth0": is a veth; want a bridge`, "--opt", "parent=eth0")
	create(`option parent="lan9": there is no such link`, "--opt", "parent=lan9")
	create(`option vlan="40": bridge lan0 isn't VLAN-aware`, "--opt", "parent=lan0", "--opt", "vlan=40")
	// The host's own eth0 is another machine to this LAN.
	refused("address "+h.IP+": "+linkValue(t, machine(h.Machine), "eth0", "link/ether")+" has it on the LAN of lan0",
		runArgs("c1", "--network", "lan", "--ip", h.IP)...)
	h.Docker(t, "rm", "c1")
}

// isolatedOnBridge has fairway give out addresses, of which somebody has the
// first, to containers that reach the LAN and not each other.
func isolatedOnBridge(t *testing.T, h *lab.Host) {
	t.Helper()
	h.LAN.Neighbour.Exec(t, "ip", "addr", "add", "203.0.113.240/32", "dev", "lan")
	defer h.LAN.Neighbour.Exec(t, "ip", "addr", "del", "203.0.113.240/32", "dev", "lan")
	network(t, h, "fairway", "apart", "--opt", "mode=transparent", "--opt", "parent=lan0", "--opt", "isolated=true", "--ipam-driver", "fairway",
		"--subnet", lanSubnet, "--ip-range", "203.0.113.240/28")
	c := serve(t, h, "c1", "--network", "apart")
	d := serve(t, h, "d1", "--network", "apart")
	want(t, "address of c1", ip4(t, h, "c1", "apart"), "203.0.113.241")
	want(t, "default route", defaultRoute(t, c, "-4"), "")
	neighbour(h).reaches(t, "tcp", at("203.0.113.241", 80), "c1", lab.Neighbour)
	d.isShutOut(t, "tcp", at("203.0.113.241", 80))
	d.reaches(t, "tcp", "203.0.113.180:80", "b1", "203.0.113.242") // that one isn't isolated
	h.Docker(t, "rm", "-f", "c1", "d1")
	h.Docker(t, "network", "rm", "apart")
}

// leasedOnBridge has the LAN's DHCP server hand out addresses on the bridge.
func leasedOnBridge(t *testing.T, h *lab.Host) {
	t.Helper()
	dhcpd(t, h)
	network(t, h, "fairway", "leased", append(byDHCP("lan0", "--subnet", lanSubnet), "--opt", "mode=transparent", "--opt", "parent=lan0")...)
	c := serve(t, h, "c1", "--network", "leased", "--mac-address", dhcpMAC)
	want(t, "the reserved address", ip4(t, h, "c1", "leased"), dhcpReserved)
	want(t, "default route", defaultRoute(t, c, "-4"), lab.Neighbour)
	want(t, "MTU", linkValue(t, c, "eth0", "mtu"), "1400")
	neighbour(h).reaches(t, "tcp", at(dhcpReserved, 80), "c1", lab.Neighbour)
	h.Docker(t, "rm", "-f", "c1")
	h.Docker(t, "network", "rm", "leased")
}

// bridgeGone takes the bridge away, with the daemon running and not, and gives
// it back.
func bridgeGone(t *testing.T, h *lab.Host, both func(string)) {
	t.Helper()
	h.Exec(t, "ip", "link", "del", "lan0")
	remarks(t, h, "waits for lan0")
	if out := h.DockerErr(t, runArgs("c1", "--network", "lan")...); !strings.Contains(out, "lan0: no such device") {
		t.Errorf("a container without its bridge: %q", out)
	}
	h.Docker(t, "rm", "c1")
	h.KillFairway(t)
	h.StartFairway(t)
	remarks(t, h, "waits for lan0")
	newBridge(t, h)
	remarks(t, h, "")
	both("bridge gone and back")
	h.Exec(t, "ip", "link", "set", "lan0", "down")
	remarks(t, h, "lan0 is down")
	h.Exec(t, "ip", "link", "set", "lan0", "up")
	remarks(t, h, "")
	h.KillFairway(t)
	h.StartFairway(t)
	both("kill of the daemon")
}
