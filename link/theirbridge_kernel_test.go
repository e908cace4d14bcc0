//go:build kernel

package link

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// withLAN returns a Conn in a namespace with a bridge of somebody else's, which
// takes its own MAC address from its ports, and the other end of a port of it,
// lan0, where a machine of the LAN would be.
func withLAN(t *testing.T) *Conn {
	t.Helper()
	c := newConn(t)
	newTheirBridge(t, c, "1500")
	return c
}

func newTheirBridge(t *testing.T, c *Conn, mtu string) {
	t.Helper()
	for _, do := range []string{
		"ip link add br0 type bridge forward_delay 0 mcast_snooping 0", "ip link add port0 mtu " + mtu + " address 06:00:00:00:00:01 type veth peer lan0 mtu " + mtu,
		"ip link set port0 master br0 up", "ip link set lan0 up", "ip link set br0 up",
	} {
		runIn(t, c, strings.Fields(do)...)
	}
	for range 2000 { // the kernel sees a carrier some time later
		if strings.Contains(run(t, "ip", "link", "show", "br0"), "state UP") {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("br0 has no carrier")
}

func theirPort(n int) Veth {
	return Veth{
		Name: fmt.Sprintf("fwv%d", n), Peer: fmt.Sprintf("fwi%d", n), PeerMAC: mac(fmt.Sprintf("02:00:00:00:00:%02x", n)),
		Master: "br0", Adopted: true, Alias: Mark("0123abcd", fmt.Sprintf("e%d", n), ""),
		Inside: Inside{Prefix: "eth", Addresses: []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("10.9.0.%d/24", n))}},
	}
}

// bridgeAsSeen is all that the kernel says of br0 but for its ports.
func bridgeAsSeen(t *testing.T) string {
	t.Helper()
	out := run(t, "ip", "-d", "link", "show", "br0") + run(t, "ip", "addr", "show", "br0")
	for _, s := range []string{"ipv4/conf/br0/forwarding", "ipv4/conf/br0/arp_ignore", "ipv4/conf/br0/route_localnet", "ipv6/conf/br0/accept_ra", "ipv6/conf/br0/disable_ipv6"} {
		out += run(t, "cat", "/proc/sys/net/"+s)
	}
	var kept []string
	for word := range strings.FieldsSeq(out) { // timers run, and detection of duplicates
		if (!strings.Contains(word, ".") || strings.Contains(word, "/")) && word != "tentative" {
			kept = append(kept, word)
		}
	}
	return strings.Join(kept, " ")
}

// TestTheirBridgeStays attaches ports to a bridge of somebody else's, with less
// than its MTU in the container, takes them away, and wants the bridge to have
// noticed nothing.
func TestTheirBridgeStays(t *testing.T) {
	c := withLAN(t)
	before := bridgeAsSeen(t)
	v, w := theirPort(1), theirPort(2)
	v.PeerMTU, w.Isolated = 1300, true
	want := Set{v, w}
	for range 2 {
		must(t, c.Apply(t.Context(), want))
	}
	if after := bridgeAsSeen(t); after != before {
		t.Errorf("the bridge was\n%s\nand is\n%s", before, after)
	}
	for name, mtu := range map[string]string{"fwv1": "mtu 1500 ", "fwi1": "mtu 1300 ", "fwv2": "mtu 1500 ", "fwi2": "mtu 1500 "} {
		if out := run(t, "ip", "link", "show", name); !strings.Contains(out, mtu) {
			t.Errorf("%s: want %s:\n%s", name, mtu, out)
		}
	}
	clean(t, c, want)
	must(t, c.Remove(t.Context(), want))
	must(t, c.Quiesce(t.Context()))
	if after := bridgeAsSeen(t); after != before {
		t.Errorf("the bridge was\n%s\nand in the end is\n%s", before, after)
	}
	if got := names(t, c); len(got) != 3 {
		t.Errorf("left %v", got)
	}
}

// TestTheirBridgeComesAndGoes removes the bridge, and makes it anew with another
// MTU.
func TestTheirBridgeComesAndGoes(t *testing.T) {
	c := withLAN(t)
	sandbox, _ := newSandbox(t)
	v := theirPort(1)
	must(t, c.Apply(t.Context(), Set{v}))
	run(t, "ip", "link", "set", "fwi1", "netns", sandbox)
	v.Sandbox = sandbox
	run(t, "ip", "link", "del", "br0")
	clean(t, c, Set{v}) // it waits
	err := c.Apply(t.Context(), Set{theirPort(2)})
	if !errors.Is(err, unix.ENODEV) {
		t.Errorf("a port without its bridge: %v, want ENODEV", err)
	}
	run(t, "ip", "link", "del", "port0")
	newTheirBridge(t, c, "9000")
	before := bridgeAsSeen(t)
	repairs, err := c.Reconcile(t.Context(), Set{v})
	must(t, err)
	if len(repairs) != 1 || repairs[0].What != "was no port of br0" {
		t.Errorf("repairs %v, want the port to be one again", repairs)
	}
	if after := bridgeAsSeen(t); after != before {
		t.Errorf("the bridge was\n%s\nand is\n%s", before, after)
	}
	clean(t, c, Set{v})
}

// TestPortVLANsRefused: where the bridge doesn't look at VLANs, a port in one
// would be in all.
func TestPortVLANsRefused(t *testing.T) {
	c := withLAN(t)
	v := theirPort(1)
	v.VLANs = PortVLANs{Access: 40}
	err := c.Apply(t.Context(), Set{v})
	if !errors.Is(err, unix.EOPNOTSUPP) || !strings.Contains(err.Error(), "bridge br0 isn't VLAN-aware") {
		t.Errorf("got %v, want a word on VLANs", err)
	}
	if got := names(t, c); len(got) != 3 {
		t.Errorf("left %v", got)
	}
}
