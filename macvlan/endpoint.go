package macvlan

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"fairway/beside"
	"fairway/link"
	"fairway/nat"
	"fairway/store"
)

// CheckEndpoint refuses an endpoint that the network can't have, in one line.
func (n Network) CheckEndpoint(e store.Endpoint) error {
	if _, err := ParseEndpointOptions(e.Options); err != nil {
		return err
	}
	if n.Mode == ipvlan {
		if e.MAC != "" {
			return fmt.Errorf("mac-address %q: an ipvlan has the MAC address of its parent; leave it out, or use mode=macvlan", e.MAC)
		}
	} else if mac, err := net.ParseMAC(e.MAC); err != nil || len(mac) != 6 || mac[0]&1 != 0 {
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
	return beside.CheckEndpoint(n.Network, e)
}

// Attachment returns what the kernel must hold for e to be attached to n: a
// macvlan or ipvlan on the parent, which waits in the host's namespace until Docker moves
// it into the sandbox, and with host_access the host's routes to it.
func (n Network) Attachment(e store.Endpoint) link.Set {
	mac, _ := net.ParseMAC(e.MAC) // CheckEndpoint has seen it
	return append(link.Set{link.Macvlan{
		Namespace: n.Namespace, Name: e.Inside, Parent: n.Link, Mode: n.set.Mode, IPvlan: n.set.IPvlan, MAC: mac, MTU: cmp.Or(n.MTU, e.Learned.MTU),
		Alias:   link.Mark(n.instance, e.ID, e.Container),
		Sandbox: e.Sandbox, Inside: n.Inside(e), Left: e.Confirmed && e.Sandbox == "",
	}}, beside.HostRoutes(n.Network, e)...)
}

// PortPrefix returns "": the endpoint has no link on the host but the one that
// is moved.
func (n Network) PortPrefix(store.Endpoint) string { return "" }

// Inside returns how the endpoint's interface in the sandbox is configured.
func (n Network) Inside(e store.Endpoint) link.Inside {
	in := link.Inside{Prefix: n.set.IfacePrefix}
	for _, p := range []netip.Prefix{e.IPv4, e.IPv6} {
		s, ok := n.SubnetOf(p.Addr())
		if !ok {
			continue
		}
		in.Addresses = append(in.Addresses, p)
		if n.Silent() {
			in.Routes = append(in.Routes, n.byDevice(s)...)
		}
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
		if !n.internal() && !n.Silent() {
			in.Routes = append(in.Routes, link.Route(r))
		}
	}
	in.Routes = append(in.Routes, beside.RoutesToHost(n.Network, e)...)
	in.Autoconf = n.autoconf()
	return in
}

// autoconf returns what containers make of router advertisements.
func (n Network) autoconf() link.Autoconf {
	switch {
	case n.set.IPv6 != ipv6SLAAC:
		return link.AutoconfNone
	case n.internal() || n.set.NoGateway:
		return link.AutoconfAddresses
	}
	return link.AutoconfRoutes
}

// byDevice returns the routes of a container in s where the host is the router:
// there is no next hop to ask for. Without a way out there are those to the
// network's other subnets.
func (n Network) byDevice(s store.Subnet) (out []link.Route) {
	if !n.internal() && !n.set.NoGateway {
		everywhere := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
		if s.Is6() {
			everywhere = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
		}
		return []link.Route{{Destination: everywhere}}
	}
	for _, o := range n.Subnets {
		if o.Is6() == s.Is6() && o.Prefix != s.Prefix {
			out = append(out, link.Route{Destination: o.Prefix})
		}
	}
	return out
}

// gatewayOf returns the default gateway of e in the family of s: that which the
// user names, or that which the LAN's DHCP server does.
func (n Network) gatewayOf(s store.Subnet, e store.Endpoint) netip.Addr {
	if g := n.gateway(s); g.IsValid() || n.internal() || n.set.NoGateway || n.Silent() {
		return g
	}
	return e.Learned.Gateway(s.Is6())
}

// IfaceName returns the name that the user wants for the interface in the
// container; "" if that is left open.
func (n Network) IfaceName(e store.Endpoint) string {
	o, _ := ParseEndpointOptions(e.Options)
	return o.IfaceName
}

// KeepGatewayService reports that Docker may never attach the container to its
// own gateway bridge, for want of a gateway: the user didn't ask for a way
// around the LAN.
func (n Network) KeepGatewayService() bool { return false }

// EndpointFirewall returns what the firewall must hold for what the endpoint
// publishes on the host; nothing without host_access.
func (n Network) EndpointFirewall(e store.Endpoint) nat.Endpoint {
	return beside.EndpointFirewall(n.Network, e)
}

// Bindings returns where a port of e is published: on its own address and, with
// host_access, on the host's.
func (n Network) Bindings(e store.Endpoint, want store.PortBinding) ([]store.PortBinding, error) {
	all := beside.Bindings(n.Network, e, want)
	if !n.translatesInside() {
		all = slices.DeleteFunc(all, store.PortBinding.OnItsOwn)
	}
	return all, nil
}

// Publishes reports whether ports are published: on the containers' own addresses,
// or on the host's.
func (n Network) Publishes() bool { return n.translatesInside() || n.HostLink != "" }

// translatesInside reports whether what comes from the LAN passes the netfilter of
// the sandbox. In mode l3s of ipvlans it passes that of the host and no other
// (ipvlan_nf_input in drivers/net/ipvlan/ipvlan_l3s.c).
func (n Network) translatesInside() bool { return n.set.IPvlan.Mode != link.IPvlanL3S }

// InsidePorts returns what is translated in the sandbox of e.
func (n Network) InsidePorts(e store.Endpoint) []nat.Port { return beside.Inside(e) }

// Guarded reports that no bridge port is guarded: there is none.
func (n Network) Guarded(store.Endpoint) (nat.Guarded, bool) { return nat.Guarded{}, false }

// Detection returns the LAN that e's addresses are on; ok is false where nobody
// of it is to be asked for them, as where the host is the containers' router.
func (n Network) Detection(store.Endpoint) (on link.Segment, ok bool) {
	return link.Segment{Namespace: n.Namespace, Link: n.Link}, n.set.DAD && n.set.Parent != "" && !n.Silent()
}
