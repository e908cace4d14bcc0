package driver

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"fairway/nat"
	"fairway/store"
)

// carried returns where the daemon carries what comes to p's port on the host and
// the kernel doesn't translate; invalid if there is no such thing, as for IPv4
// unless the host decides (hostDecides).
func carried(p store.PortBinding, hostDecides bool) netip.AddrPort {
	tcpOrUDP := p.Proto == unix.IPPROTO_TCP || p.Proto == unix.IPPROTO_UDP
	if !p.HostIP.IsValid() || !tcpOrUDP || !p.HostIP.Is6() && !hostDecides {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(p.IP, p.Port)
}

// hostDecides reports whether the host's own INPUT rules say who may reach e's
// ports: publish=host-firewall. The daemon carries all of them then.
func (d *Driver) hostDecides(e store.Endpoint) bool {
	n, ok := d.network(e.Network)
	return ok && n.clients(e).HostFirewall
}

// clients returns who may reach e's ports.
func (n network) clients(e store.Endpoint) nat.Clients {
	e.Published = nil // however many there are
	if own := n.view.EndpointFirewall(e).Clients; own != nil {
		return *own
	}
	return n.view.Firewall().Clients
}

// MayCarry reports whether what a client sends may be carried to a container: as
// the firewall lets it go where it can be translated. An internal network's goes
// nowhere, without ICC it doesn't go to a neighbour, and the container's clients
// are those of publish=. Link is the one by which the client came in; "" if that
// isn't known.
//
// AsItself: the container is to see the client's own address. It can't from the
// host and from a neighbour on its bridge, to whom it would answer by another way,
// nor from another family; and Docker's containers are behind an address of the
// host's everywhere, since Docker may drop what isn't from their own network.
func (d *Driver) MayCarry(link string, client, container netip.Addr) (may, asItself bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, n := range d.networks {
		if !n.publishes() {
			continue
		}
		f := n.view.Firewall()
		from, to := link == f.Link, false
		for _, family := range f.Families {
			from = from || !f.Beside && family.Subnet.Contains(client) // else it is a LAN's
			to = to || family.Subnet.Contains(container)
		}
		switch {
		case from && (f.Internal || to && !f.ICC):
			return false, false
		case from || !to:
			continue
		}
		allowed := f.Clients
		if e, ok := d.endpoints[d.claims[claim{n.ID, container}]]; ok {
			allowed = n.clients(e)
		}
		if !allowed.Admit(client, link) {
			return false, false
		}
		asItself = allowed.HostFirewall && client.Is6() == container.Is6() && !client.IsLinkLocalUnicast() &&
			link != "" && link != "lo" && !nat.LooksLikeDockers(link)
	}
	return true, asItself
}
