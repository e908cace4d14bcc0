//go:build kernel && vm

package link

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// TestShimIPvlan has the host and a container reach each other where both have
// the parent's MAC address, in each mode.
func TestShimIPvlan(t *testing.T) {
	for _, mode := range []IPvlanMode{IPvlanL2, IPvlanL3, IPvlanL3S} {
		t.Run(string(mode), func(t *testing.T) {
			h := newLANWithHost(t)
			runAll(t, "sysctl -qw net.ipv4.conf.all.arp_ignore=1")
			h.shim.IPvlan = IPvlan{mode, IPvlanBridge}
			m := h.want[1].(Macvlan)
			m.Mode, m.MAC, m.IPvlan = "", nil, h.shim.IPvlan
			if mode != IPvlanL2 {
				for _, all := range []string{"0.0.0.0/0", "::/0"} {
					m.Inside.Routes = append(m.Inside.Routes, Route{Destination: netip.MustParsePrefix(all)})
				}
			}
			want := slices.Concat(Set{h.shim, m}, h.want[2:])
			for range 2 { // it may be repeated
				must(t, h.Apply(t.Context(), want))
			}
			clean(t, h.Conn, want)
			const home = "/proc/thread-self/ns/net"
			echo(t, home)
			echo(t, h.sandbox)
			if mode == IPvlanL2 {
				echo(t, h.neighbour)
			}
			reach := func(from string, addresses ...string) {
				t.Helper()
				inside(t, from, func() {
					for _, to := range addresses {
						ask(t, "", to)
					}
				})
			}
			reach(home, containerIP, containerIP6)
			reach(h.sandbox, shimIP, shimIP6, hostIP, hostIP6)
			reach(h.neighbour, hostIP, hostIP6)
			if mode == IPvlanL2 { // else nobody on the LAN asks for other addresses
				reach(h.sandbox, "172.30.0.50", "fd00:30::50")
				reach(h.neighbour, containerIP, containerIP6)
				// What comes to the parent's own address comes by the parent, whose
				// route to the container isn't by it.
				runAll(t, "sysctl -qw net.ipv4.conf.all.rp_filter=1")
				reach(h.sandbox, shimIP, hostIP6)
			}
			all := "shim fws1 on eth1, route to " + containerIP + " by fws1, route to " + containerIP6 + " by fws1"
			for do, repaired := range map[string]string{
				"ip link del fws1": all, "ip link set fws1 down": all, "sysctl -qw net.ipv4.conf.fws1.arp_ignore=0": "shim fws1 on eth1",
			} {
				runIn(t, h.Conn, strings.Fields(do)...)
				if got := reconciled(t, h.Conn, want); got != repaired {
					t.Errorf("%s: repaired %s\n want %s", do, got, repaired)
				}
				clean(t, h.Conn, want)
			}
			must(t, h.Remove(t.Context(), want))
			must(t, h.Quiesce(t.Context()))
			must(t, h.Apply(t.Context(), Set{testMacvlan(2)})) // the parent is free for another kind
		})
	}
}
