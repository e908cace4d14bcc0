package bridge

import (
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
	o, err := n.set.ParseEndpointOptions(e.Options)
	if err != nil {
		return err
	}
	if o.Clients != nil {
		if err := n.checkClients(*o.Clients); err != nil {
			return err
		}
	}
	if err := n.checkSenders(o.Senders); err != nil {
		return err
	}
	if mac, err := net.ParseMAC(e.MAC); err != nil || len(mac) != 6 || mac[0]&1 != 0 {
		return fmt.Errorf("mac-address %q: want a unicast MAC address", e.MAC)
	}
	for _, p := range []netip.Prefix{e.IPv4, e.IPv6} {
		if !p.IsValid() {
			continue
		}
		s, ok := n.SubnetOf(p.Addr())
		if !ok {
			return fmt.Errorf("address %s: in no subnet of the network", p.Addr())
		}
		if s.Gateway == p.Addr() && n.onBridge(s) {
			return fmt.Errorf("address %s: is the network's gateway", p.Addr())
		}
	}
	return nil
}

// Attachment returns what the kernel must hold for e to be attached to n: a
// veth pair whose host end is a port of n's bridge. The end named Inside waits
// in the host's namespace until Docker moves it into the sandbox.
//
// With antispoof the bridge knows the endpoint's addresses beforehand and
// learns nothing from it. A container reaches a port of its own through the
// host's address only by a hairpin: with bridge-nf-call-iptables on, the kernel
// hands the translated frame straight back to the bridge port
// (br_nf_pre_routing_finish). See veth(4), bridge(8).
func (n Network) Attachment(e store.Endpoint) link.Set {
	o, _ := n.set.ParseEndpointOptions(e.Options) // CheckEndpoint has seen them
	mac, _ := net.ParseMAC(e.MAC)
	set := link.Set{link.Veth{
		Namespace: n.Namespace, Name: e.HostLink, Peer: e.Inside, PeerMAC: mac, MTU: n.MTU, Master: n.Link, Adopted: n.Adopted,
		Alias:    link.Mark(n.instance, e.ID, e.Container),
		Isolated: !n.set.ICC, Learning: !o.Antispoof, Hairpin: n.publishes(),
		Sandbox: e.Sandbox, Inside: n.Inside(e),
	}}
	for _, p := range []netip.Prefix{e.IPv4, e.IPv6} {
		if p.IsValid() && o.Antispoof {
			set = append(set, link.Neighbour{Namespace: n.Namespace, Link: n.Link, IP: p.Addr(), MAC: mac})
		}
	}
	return set
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
	return o.Senders.Guard(e.HostLink, e.ID, mac, e.IPv4.Addr(), e.IPv6.Addr()), true
}

// Inside returns how the endpoint's interface in the sandbox is configured.
func (n Network) Inside(e store.Endpoint) link.Inside {
	in := link.Inside{Prefix: n.set.IfacePrefix}
	for _, s := range n.Subnets {
		p := e.IPv4
		if s.Is6() {
			p = e.IPv6
		}
		if !p.IsValid() {
			continue
		}
		in.Addresses = append(in.Addresses, p)
		if g := n.gatewayOf(s, e); g.IsValid() {
			in.Gateways = append(in.Gateways, g)
		}
		for _, r := range n.set.Routes {
			if r.Destination.Addr().Is6() == s.Is6() {
				in.Routes = append(in.Routes, r)
			}
		}
	}
	for _, r := range e.Learned.Routes {
		if !n.Internal {
			in.Routes = append(in.Routes, link.Route(r))
		}
	}
	return in
}

// gatewayOf returns the default gateway of e in the family of s: that which the
// user names, or that which the LAN's DHCP server does.
func (n Network) gatewayOf(s store.Subnet, e store.Endpoint) netip.Addr {
	if g := n.gateway(s); g.IsValid() || n.Internal || n.set.NoGateway || n.set.PublishBy == byDocker {
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

// KeepGatewayService reports whether Docker may attach the container to its own
// gateway bridge, for want of a gateway of ours.
func (n Network) KeepGatewayService() bool { return n.set.PublishBy == byDocker }

// clients returns who may reach an endpoint's ports.
func (n Network) clients(o EndpointOptions) nat.Clients {
	if o.Clients != nil {
		return *o.Clients
	}
	return n.set.Clients
}

// EndpointFirewall returns what the firewall must hold for the endpoint: nothing
// for what is published to an address of the other family, and just the answers
// for what the daemon carries under the clients' addresses.
func (n Network) EndpointFirewall(e store.Endpoint) nat.Endpoint {
	o, _ := n.set.ParseEndpointOptions(e.Options)
	out := nat.Endpoint{
		ID: e.ID, Network: n.ID, Link: n.Link, IPv4: e.IPv4.Addr(), IPv6: e.IPv6.Addr(),
		Direct: len(n.set.Trusted) > 0, Clients: o.Clients,
	}
	hostDecides := n.clients(o).HostFirewall
	for _, p := range e.Published {
		if p.HostIP.IsValid() && p.HostIP.Is6() != p.IP.Is6() {
			continue
		}
		if hostDecides {
			if !slices.Contains(out.Carried, p.IP) {
				out.Carried = append(out.Carried, p.IP)
			}
			continue
		}
		out.Ports = append(out.Ports, nat.Port{
			Proto: p.Proto, HostIP: p.HostIP, HostPort: p.HostPort, Target: p.IP, TargetPort: p.Port,
		})
	}
	return out
}
