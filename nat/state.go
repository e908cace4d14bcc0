package nat

import (
	"net/netip"
	"slices"
)

// A State is what the firewall must hold for some networks and endpoints, or
// for all of them.
type State struct {
	Networks  []Network
	Endpoints []Endpoint
}

// A Network is what the firewall must hold for one network.
//
// What a network's containers send to the outside passes, unless it is
// internal. What comes to them from another link, be it another network or the
// outside, passes as the family's Mode says. Replies always pass.
type Network struct {
	ID       string
	Link     string // the bridge
	Internal bool   // nothing passes between the bridge and any other link
	// ICC: containers of the network reach each other. It is a flag of the
	// bridge ports (link.Veth.Isolated) in the first place; a backend repeats
	// it for what is routed back into the bridge.
	ICC bool
	// Beside: Link is the host's own link on a LAN, beside those of the containers.
	// They answer by the LAN whatever came from elsewhere, so that what is
	// published takes the link's address. Nothing else passes between it and any
	// other link, or back into it. The subnet is the LAN's and is routed as ever.
	Beside   bool
	Trusted  []string // links from which published ports may be reached by routing, too
	Clients  Clients  // who may reach published ports
	Families []Family // those that the network has
	// Bridged: Link is somebody else's bridge, and the network has nothing but
	// ports on it, and no Families. Its frames pass FORWARD, through which
	// br_netfilter hands bridged frames; nothing else is done for it.
	Bridged bool
}

// A Family is a network's part in one address family.
type Family struct {
	Subnet  netip.Prefix
	Gateway netip.Addr // the bridge's own address; invalid if it has none
	Mode    GatewayMode
	// Masquerade: packets that leave the network by another link take that
	// link's address, or SNAT's where it is valid. Only with Mode nat and
	// nat-unprotected.
	Masquerade bool
	SNAT       netip.Addr
}

// Is6 reports whether the family is IPv6.
func (f Family) Is6() bool { return f.Subnet.Addr().Is6() }

// Served returns what the kernel's rules serve of e: its ports, and as a Port
// without numbers each address that is carried.
func (e Endpoint) Served() []Port {
	out := slices.Clone(e.Ports)
	for _, a := range e.Carried {
		out = append(out, Port{Target: a})
	}
	return out
}

// Only returns e with nothing but one of those that it serves.
func (e Endpoint) Only(p Port) Endpoint {
	e.Ports, e.Carried = []Port{p}, nil
	if p.TargetPort == 0 {
		e.Ports, e.Carried = nil, []netip.Addr{p.Target}
	}
	return e
}

// GatewayMode is how a network is reached from outside, in one family. The
// names and meanings are those of Docker's bridge driver.
type GatewayMode string

// The gateway modes.
const (
	ModeNAT         GatewayMode = "nat"             // published ports by address translation; all else is dropped
	Unprotected     GatewayMode = "nat-unprotected" // as nat, and every port can be reached by routing to the container's address
	Routed          GatewayMode = "routed"          // no translation; published ports and ICMP by routing; all else is dropped
	IsolatedGateway GatewayMode = "isolated"        // only with an internal network: the bridge has no address
)

// An Endpoint is what the firewall must hold for one endpoint.
type Endpoint struct {
	ID      string
	Network string // ID of its network
	Link    string // the network's bridge
	IPv4    netip.Addr
	IPv6    netip.Addr
	Direct  bool     // the network has Trusted links
	Clients *Clients // who may reach its ports; nil: as the network says
	Ports   []Port
	// Carried are addresses of it with ports that a Proxy carries under the
	// clients' own addresses (Clients.HostFirewall): what it answers to those is
	// the Proxy's. Such ports aren't among Ports.
	Carried []netip.Addr
}

// A Port is published: whoever sends to HostIP:HostPort reaches Target:TargetPort.
// In a routed family HostPort is 0: the target itself is reached.
type Port struct {
	Proto      uint8      // IP protocol number: 6 tcp, 17 udp, 132 sctp
	HostIP     netip.Addr // invalid: every address of the host in Target's family
	HostPort   uint16
	Target     netip.Addr
	TargetPort uint16
}

// How the names of bridge ports begin: those of endpoints that may only be what
// they are (antispoof), and those of endpoints that may also play a router.
const (
	GuardedPort = "fwv"
	OpenPort    = "fwo"
)
