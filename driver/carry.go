package driver

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"fairway/store"
)

// carried returns where the daemon carries what comes to p's port on the host
// and the kernel can't translate; invalid if there is no such thing, as for IPv4.
func carried(p store.PortBinding) netip.AddrPort {
	if !p.HostIP.Is6() || p.Proto != unix.IPPROTO_TCP && p.Proto != unix.IPPROTO_UDP {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(p.IP, p.Port)
}

// MayCarry reports whether what a client sends may be carried to a container.
// What comes out of a network never takes this way to where the firewall lets it
// not go by itself: an internal network's goes nowhere, and without ICC not to a
// neighbour. The client's zone is the link that it came in by, if that is known.
func (d *Driver) MayCarry(client, container netip.Addr) bool {
	link, client := client.Zone(), client.WithZone("").Unmap()
	if client.IsLoopback() {
		return true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, n := range d.networks {
		f := n.view.Firewall()
		from, to := link == f.Link, false
		for _, family := range f.Families {
			from = from || family.Subnet.Contains(client)
			to = to || family.Subnet.Contains(container)
		}
		if from && (f.Internal || !f.ICC && to) {
			return false
		}
	}
	return true
}
