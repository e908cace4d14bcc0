package transparent

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"fairway/link"
	"fairway/nat"
	"fairway/store"
)

// CheckEndpoint refuses an endpoint that the network can't have, in one line.
func (n Network) CheckEndpoint(e store.Endpoint) error {
	if _, err := n.set.ParseEndpointOptions(e.Options); err != nil {
		return err
	}
	if mac, err := net.ParseMAC(e.MAC); err != nil || len(mac) != 6 || mac[0]&1 != 0 {
		return fmt.Errorf("mac-address %q: want a unicast MAC address", e.MAC)
	}
	for _, p := range []netip.Prefix{e.IPv4, e.IPv6} {
		if !p.IsValid() {
			continue
		}
		if s, ok := n.SubnetOf(p.Addr()); !ok {
			return fmt.Errorf("address %s: in no subnet of the network", p.Addr())
		} else if n.gateway(s) == p.Addr() {
			return fmt.Errorf("address %s: is the network's gateway", p.Addr())
		}
	}
	return nil
}

// Attachment returns what the kernel must hold for e to be attached to n: a veth
// pair whose host end is a port of the bridge. The end named Inside waits in the
// host's namespace until Docker moves it into the sandbox. With antispoof the
// bridge knows where the endpoint is beforehand and learns nothing from it.
func (n Network) Attachment(e store.Endpoint) link.Set {
	o, _ := n.set.ParseEndpointOptions(e.Options) // CheckEndpoint has seen them
	mac, _ := net.ParseMAC(e.MAC)
	return link.Set{link.Veth{
		Namespace: n.Namespace, Name: e.HostLink, Peer: e.Inside, PeerMAC: mac, PeerMTU: cmp.Or(n.MTU, e.Learned.MTU), Master: n.Link, Adopted: true,
		Alias:    link.Mark(n.instance, e.ID, e.Container),
		Isolated: o.Isolated, Learning: !o.Antispoof, VLANs: o.VLANs,
		Sandbox: e.Sandbox, Inside: n.Inside(e),
	}}
}

// PortPrefix returns how the name of the endpoint's bridge port begins.
func (n Network) PortPrefix(e store.Endpoint) string {
	if o, _ := n.set.ParseEndpointOptions(e.Options); o.Antispoof {
		return nat.GuardedPort
	}
	return nat.OpenPort
}

// Guarded returns what e may send from; ok is false if that is anything.
func (n Network) Guarded(e store.Endpoint) (g nat.Guarded, ok bool) {
	o, _ := n.set.ParseEndpointOptions(e.Options)
	if !o.Antispoof {
		return g, false
	}
	mac, _ := net.ParseMAC(e.MAC)
	g = o.Senders.Guard(e.HostLink, e.ID, mac, e.IPv4.Addr(), e.IPv6.Addr())
	if n.set.IPv6 == ipv6SLAAC { // which addresses the LAN's routers let it make, the record doesn't say
		g.Addresses = slices.DeleteFunc(g.Addresses, netip.Addr.Is6)
		g.Prefixes = append(slices.DeleteFunc(slices.Clone(g.Prefixes), func(p netip.Prefix) bool { return p.Addr().Is6() }), netip.PrefixFrom(netip.IPv6Unspecified(), 0))
	}
	return g, true
}

// Inside returns how the endpoint's interface in the sandbox is configured.
func (n Network) Inside(e store.Endpoint) link.Inside {
	in := link.Inside{Prefix: n.set.IfacePrefix}
	for _, p := range []netip.Prefix{e.IPv4, e.IPv6} {
		s, ok := n.SubnetOf(p.Addr())
		if !ok {
			continue
		}
		in.Addresses = append(in.Addresses, p)
		if g := n.gatewayOf(s, e); g.IsValid() {
			in.Gateways = append(in.Gateways, g)
		}
		for _, r := range n.set.Routes {
			if s.Prefix.Contains(r.NextHop) {
				in.Routes = append(in.Routes, r)
			}
		}
	}
	for _, r := range e.Learned.Routes {
		if !n.Internal {
			in.Routes = append(in.Routes, link.Route(r))
		}
	}
	in.Autoconf = n.autoconf()
	return in
}

// autoconf returns what containers make of router advertisements.
func (n Network) autoconf() link.Autoconf {
	switch {
	case n.set.IPv6 != ipv6SLAAC:
		return link.AutoconfNone
	case n.Internal || n.set.NoGateway:
		return link.AutoconfAddresses
	}
	return link.AutoconfRoutes
}

// gatewayOf returns the default gateway of e in the family of s: that which the
// user names, or that which the LAN's DHCP server does.
func (n Network) gatewayOf(s store.Subnet, e store.Endpoint) netip.Addr {
	if g := n.gateway(s); g.IsValid() || n.Internal || n.set.NoGateway {
		return g
	}
	return e.Learned.Gateway(s.Is6())
}

// IfaceName returns the name that the user wants for the interface in the
// container; "" if that is left open.
func (n Network) IfaceName(e store.Endpoint) string {
	o, _ := n.set.ParseEndpointOptions(e.Options)
	return o.IfaceName
}

// KeepGatewayService reports that Docker may never attach the container to its
// own gateway bridge, for want of a gateway: the user didn't ask for a way
// around the LAN.
func (n Network) KeepGatewayService() bool { return false }

// EndpointFirewall returns nothing, see Firewall.
func (n Network) EndpointFirewall(store.Endpoint) nat.Endpoint { return nat.Endpoint{} }

// Bindings returns nothing: the container's ports are on the LAN by themselves,
// and the host has no part in it.
func (n Network) Bindings(store.Endpoint, store.PortBinding) ([]store.PortBinding, error) {
	return nil, nil
}

// Segment returns where the host speaks to those beside e.
func (n Network) Segment(e store.Endpoint) link.Segment {
	o, _ := n.set.ParseEndpointOptions(e.Options)
	return link.Segment{Namespace: n.Namespace, Link: n.Link, VLAN: o.VLANs.Access}
}

// Detection returns the LAN that e's addresses are on; ok is false where nobody
// of it is to be asked for them: what has no tag goes nowhere from a trunk that
// has no VLAN for it.
func (n Network) Detection(e store.Endpoint) (on link.Segment, ok bool) {
	o, _ := n.set.ParseEndpointOptions(e.Options)
	return n.Segment(e), n.set.DAD && (o.VLANs.IsZero() || o.VLANs.Access != 0)
}
