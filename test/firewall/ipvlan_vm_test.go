//go:build kernel && vm

package firewall

import (
	"fmt"
	"net/netip"
	"testing"

	"fairway/nat"
	"fairway/nat/nftables"
)

// TestInsideIPvlan: what comes from the LAN to a container's own address is
// translated in its sandbox in the modes l2 and l3, and isn't in l3s.
func TestInsideIPvlan(t *testing.T) {
	for mode, answer := range map[string]string{"l2": "box 192.0.2.2", "l3": "box 192.0.2.2", "l3s": ""} {
		t.Run(mode, func(t *testing.T) {
			host, box, lan := newNamespace(t, "host"), newNamespace(t, "box"), newNamespace(t, "lan")
			host.run(t, "ip", "link", "add", "eth0", "type", "veth", "peer", "vlan0")
			host.moveTo(t, "vlan0", lan)
			lan.run(t, "ip", "link", "set", "vlan0", "name", "eth0")
			host.address(t, "eth0", "192.0.2.1/24")
			lan.address(t, "eth0", "192.0.2.2/24")
			host.run(t, "ip", "link", "add", "link", "eth0", "name", "ibox", "type", "ipvlan", "mode", mode)
			host.moveTo(t, "ibox", box)
			box.run(t, "ip", "link", "set", "ibox", "name", "eth0", "up")
			box.address(t, "eth0", "10.1.0.5/24")
			box.run(t, "ip", "route", "add", "192.0.2.0/24", "dev", "eth0")
			lan.run(t, "ip", "route", "add", "10.1.0.0/24", "dev", "eth0")
			if mode != "l2" { // the host is the router
				lan.run(t, "ip", "route", "add", "10.1.0.5", "via", "192.0.2.1")
			}
			box.serve(t, "tcp", ":80")
			ip := netip.MustParseAddr("10.1.0.5")
			ports := []nat.Port{{Proto: 6, HostIP: ip, HostPort: 8080, Target: ip, TargetPort: 80}}
			if err := nftables.NewInside("test1", nil).Apply(t.Context(), fmt.Sprintf("/proc/self/fd/%d", int(box.h)), "e1", ports); err != nil {
				t.Fatal(err)
			}
			check(t, []probe{
				{"under its own number", lan, "tcp", "10.1.0.5:80", "box 192.0.2.2"},
				{"under another", lan, "tcp", "10.1.0.5:8080", answer},
				{"itself", box, "tcp", "10.1.0.5:8080", "box 10.1.0.5"},
			})
		})
	}
}
