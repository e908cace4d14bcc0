//go:build kernel

package firewall

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"fairway/nat"
)

// TestCells asks for a container's published ports from everywhere: each
// protocol, both families, each kind of host address. Where the kernel can't
// translate (::1), the daemon carries tcp and udp, which test/e2e shows; for
// sctp there is no way.
func TestCells(t *testing.T) { eachBackend(t, testCells) }

// The ports of the cells, by the host address that they are published on.
const (
	onAll      = 9100
	onOne      = 9101
	onLoopback = 9102
)

func testCells(t *testing.T, kind backend) {
	w, _, _ := start(t, kind, func(_, _ *nat.Network, a1, _ *nat.Endpoint) {
		for _, proto := range []uint8{6, 17, 132} {
			a1.Ports = append(a1.Ports,
				port(proto, "", onAll, "172.30.1.2:80"), port(proto, "", onAll, "[2001:db8:a::2]:80"),
				port(proto, "192.0.2.1", onOne, "172.30.1.2:80"), port(proto, "2001:db8:f::1", onOne, "[2001:db8:a::2]:80"),
				port(proto, "127.0.0.1", onLoopback, "172.30.1.2:80"))
		}
	})
	w.docker(t, engines[1])                                                            // 28.5: masquerades what leaves its network
	w.host.run(t, "ip", "link", "set", "va1", "type", "bridge_slave", "hairpin", "on") // see TestHairpin
	w.a1.serve(t, "udp6", ":80")
	w.a1.serveSCTP(t, "sctp4", 80)
	w.a1.serveSCTP(t, "sctp6", 80)
	const later4, later6 = "192.0.2.9", "2001:db8:f::9" // no rule is made for them
	w.address(t, "eth0", later4+"/32", later6+"/128")
	for _, proto := range []string{"tcp", "udp", "sctp"} {
		t.Run(proto, func(t *testing.T) {
			check(t, append(
				w.cells(proto+"4", "192.0.2.1", later4, "172.30.1.1", map[*namespace]string{
					w.lan: "192.0.2.2", w.b1: "172.30.2.2",
				}),
				w.cells(proto+"6", "2001:db8:f::1", later6, "2001:db8:a::1", map[*namespace]string{
					w.lan: "2001:db8:f::2", w.b1: "2001:db8:b::2",
				})...))
			if t.Failed() {
				w.dump(t)
			}
		})
	}
}

// cells are those of one protocol and family. A1 sees the client's own address,
// as seen says, or the host's own that it used; else, where the answer would go
// another way, that of its gateway.
func (w *world) cells(network, first, later, gateway string, seen map[*namespace]string) (out []probe) {
	add := func(who string, from *namespace, addr, on string, port int, open bool) {
		p := probe{name: strings.Join([]string{network, who, on}, ", "), from: from, network: network}
		p.to = netip.AddrPortFrom(netip.MustParseAddr(addr), uint16(port)).String()
		switch {
		case !open:
		case from == w.host && !netip.MustParseAddr(addr).IsLoopback():
			p.want = "a1 " + addr
		case seen[from] != "":
			p.want = "a1 " + seen[from]
		default:
			p.want = "a1 " + gateway
		}
		out = append(out, p)
	}
	for _, c := range []struct {
		who  string
		from *namespace
	}{
		{"another machine", w.lan},
		{"the host by its address", w.host},
		{"the same container", w.a1},
		{"another of the same network", w.a2},
		{"of another network", w.b1},
		{"of a Docker network", w.d1},
	} {
		add(c.who, c.from, first, "published on all", onAll, true)
		add(c.who, c.from, later, "published on all, by an address of later", onAll, true)
		add(c.who, c.from, first, "published on one address", onOne, true)
		add(c.who, c.from, later, "published on one address, by another", onOne, false)
		add(c.who, c.from, first, "published on loopback, by an address", onLoopback, false)
	}
	const who = "the host by loopback"
	if strings.HasSuffix(network, "4") {
		add(who, w.host, "127.0.0.1", "published on all", onAll, true)
		add(who, w.host, "127.0.0.1", "published on one address", onOne, false)
		add(who, w.host, "127.0.0.1", "published on loopback", onLoopback, true)
	} else {
		add(who, w.host, "::1", "published on all: only the daemon could", onAll, false)
		add(who, w.host, "::1", "published on one address", onOne, false)
	}
	return out
}

// TestSCTPTranslated: what the kernel tracks of an association is what fairway
// says, so that INIT ACK finds the way back by its ports, not by luck.
func TestSCTPTranslated(t *testing.T) { eachBackend(t, testSCTPTranslated) }

func testSCTPTranslated(t *testing.T, kind backend) {
	w, _, _ := start(t, kind, func(_, _ *nat.Network, a1, _ *nat.Endpoint) {
		a1.Ports = append(a1.Ports, port(132, "", onAll, "172.30.1.2:80"))
	})
	w.a1.serveSCTP(t, "sctp4", 80)
	if got, want := w.lan.ask("sctp4", "192.0.2.1:"+strconv.Itoa(onAll)), "a1 192.0.2.2"; got != want {
		t.Fatalf("INIT from another machine: got %q, want %q", got, want)
	}
	if got := w.lan.ask("sctp4", "172.30.1.2:80"); got != "" {
		t.Errorf("INIT to the container's own address: got %q, want no answer", got)
	}
	tracked := w.host.run(t, "conntrack", "-L", "-p", "sctp")
	for _, want := range []string{
		"src=192.0.2.2 dst=192.0.2.1 sport=", fmt.Sprintf("dport=%d src=172.30.1.2 dst=192.0.2.2 sport=80 ", onAll),
	} {
		if !strings.Contains(tracked, want) {
			t.Errorf("tracked: %s\nwant %q in it", tracked, want)
		}
	}
}
