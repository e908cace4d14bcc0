package beside

import (
	"crypto/sha256"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"fairway/link"
	"fairway/nat"
	"fairway/store"
)

// The names of --aux-address that say which address the host is to have. Docker's
// command takes a name once, so that the second family has another.
const (
	auxHost  = "host"
	auxHost6 = "host6"
)

// NamedHost returns the addresses for the host that the user names, at most one
// a family.
func NamedHost(subnets []store.Subnet) (out []netip.Addr, err error) {
	for _, s := range subnets {
		for _, name := range []string{auxHost, auxHost6} {
			a, ok := s.Aux[name]
			if !ok {
				continue
			}
			if i := slices.IndexFunc(out, func(o netip.Addr) bool { return o.Is6() == a.Is6() }); i >= 0 {
				return nil, fmt.Errorf("aux-address %s=%s: the host has %s already; want one address in a family", name, a, out[i])
			}
			if a == s.Gateway {
				return nil, fmt.Errorf("aux-address %s=%s: is the network's gateway", name, a)
			}
			out = append(out, a)
		}
	}
	return out, nil
}

// HostLinks returns the host's own link on a network's parent, of the same kind
// as the containers'; nothing for a network without host_access.
func HostLinks(instance string, n store.Network, kind link.IPvlan) link.Set {
	if n.HostLink == "" {
		return nil
	}
	return link.Set{link.Shim{
		Namespace: n.Namespace, Name: n.HostLink, Parent: n.Link, IPvlan: kind, MAC: hostMAC(n), MTU: n.MTU,
		Alias: link.Mark(instance, n.ID, ""), Addresses: n.HostAddresses, Localnet: n.IPv4 && !n.Internal,
	}}
}

// hostMAC returns the address of the host's link, always the same for a network:
// containers that know it aren't told when the link is made again. It is of the
// locally administered kind.
func hostMAC(n store.Network) net.HardwareAddr {
	sum := sha256.Sum256([]byte("fairway host " + n.ID))
	return append(net.HardwareAddr{2}, sum[:5]...)
}

// HostRoutes returns the host's ways to an endpoint, in those subnets in which it
// has an address of its own.
func HostRoutes(n store.Network, e store.Endpoint) (set link.Set) {
	for _, p := range []netip.Prefix{e.IPv4, e.IPv6} {
		if p.IsValid() && HostAddress(n, p.Addr()).IsValid() {
			set = append(set, link.HostRoute{Namespace: n.Namespace, Link: n.HostLink, IP: p.Addr()})
		}
	}
	return set
}

// HostAddress returns the address of the host's own link in the subnet that ip is
// in; invalid if there is none.
func HostAddress(n store.Network, ip netip.Addr) netip.Addr {
	if n.HostLink == "" {
		return netip.Addr{}
	}
	for _, s := range n.Subnets {
		if !s.Prefix.Contains(ip) {
			continue
		}
		for _, a := range n.HostAddresses {
			if s.Prefix.Contains(a) {
				return a
			}
		}
	}
	return netip.Addr{}
}

// RoutesToHost returns the routes inside of a container to the host's other
// addresses on the LAN: those at the parent can't be asked for there, since the
// parent doesn't hear its macvlans.
func RoutesToHost(n store.Network, e store.Endpoint) (out []link.Route) {
	for _, a := range e.HostAddresses {
		own := e.IPv4
		if a.Is6() {
			own = e.IPv6
		}
		if via := HostAddress(n, own.Addr()); via.IsValid() && own.IsValid() && a != via {
			out = append(out, link.Route{Destination: netip.PrefixFrom(a, a.BitLen()), NextHop: via})
		}
	}
	return out
}

// CheckEndpoint refuses an endpoint with an address of the host's.
func CheckEndpoint(n store.Network, e store.Endpoint) error {
	for _, p := range []netip.Prefix{e.IPv4, e.IPv6} {
		if p.IsValid() && slices.Contains(n.HostAddresses, p.Addr()) {
			return fmt.Errorf("address %s: is the host's (host_access)", p.Addr())
		}
	}
	return nil
}

// Firewall returns what the firewall must hold for a network with host_access:
// what is published on the host reaches it, and all else that the host would
// route to or from it is dropped. It is without an ID for any other network.
func Firewall(n store.Network) nat.Network {
	if n.HostLink == "" {
		return nat.Network{}
	}
	out := nat.Network{ID: n.ID, Link: n.HostLink, Internal: n.Internal, Beside: true}
	for _, s := range n.Subnets {
		if HostAddress(n, s.Prefix.Addr()).IsValid() {
			out.Families = append(out.Families, nat.Family{Subnet: s.Prefix, Mode: nat.ModeNAT})
		}
	}
	return out
}

// EndpointFirewall returns what the firewall must hold for an endpoint: what it
// publishes on the host and the kernel translates.
func EndpointFirewall(n store.Network, e store.Endpoint) nat.Endpoint {
	if n.HostLink == "" {
		return nat.Endpoint{}
	}
	out := nat.Endpoint{ID: e.ID, Network: n.ID, Link: n.HostLink, IPv4: e.IPv4.Addr(), IPv6: e.IPv6.Addr()}
	for _, p := range e.Published {
		if p.HostIP.IsValid() && p.HostIP.Is6() == p.IP.Is6() {
			out.Ports = append(out.Ports, nat.Port{
				Proto: p.Proto, HostIP: p.HostIP, HostPort: p.HostPort, Target: p.IP, TargetPort: p.Port,
			})
		}
	}
	return out
}
