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

// MayCarry reports whether what a client sends may be carried to a container: as
// the firewall lets it go where it can be translated. An internal network's goes
// nowhere, without ICC it doesn't go to a neighbour, and the container's clients
// are those of publish=. The client's zone is the link by which it came in; "" if
// that isn't known.
func (d *Driver) MayCarry(client, container netip.Addr) bool {
	link, client := client.Zone(), client.WithZone("").Unmap()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, n := range d.networks {
		f := n.view.Firewall()
		from, to := link == f.Link, false
		for _, family := range f.Families {
			from = from || family.Subnet.Contains(client)
			to = to || family.Subnet.Contains(container)
		}
		switch {
		case from && (f.Internal || to && !f.ICC):
			return false
		case from || !to:
			continue
		}
		allowed := f.Clients
		if e, ok := d.endpoints[d.claims[claim{n.ID, container}]]; ok {
			if own := n.view.EndpointFirewall(e).Clients; own != nil {
				allowed = *own
			}
		}
		if !allowed.Admit(client, link) {
			return false
		}
	}
	return true
}
