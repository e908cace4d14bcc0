package admin

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"strconv"

	"fairway/store"
)

// Records is what the API shows. Each method returns a copy.
type Records interface {
	Networks() []store.Network
	Endpoints() []store.Endpoint
	// Denied is how many frames were dropped by the links of endpoints that send
	// only what is theirs.
	Denied(ctx context.Context) map[string]uint64
	// Taken reports whether somebody else on the host has a port that an
	// endpoint publishes, and who.
	Taken(endpoint string, p store.PortBinding) (by string, taken bool)
	// PortStates looks at the kernel and says how each published port is, with
	// what goes by it if traffic is asked for.
	PortStates(ctx context.Context, traffic bool) States
}

// Remarks are what some Records say of networks, by ID, beside what is recorded.
type Remarks interface{ Remarks() map[string]string }

// Leases are what some Records have from DHCP servers.
type Leases interface {
	// Leases returns all leases, and how many were lost since the daemon started.
	Leases() (all []LeaseState, lost uint64)
}

// Autoconfigured is what some Records find in containers beside what is recorded:
// the IPv6 addresses that they made of router advertisements, by endpoint.
type Autoconfigured interface {
	Autoconfigured(ctx context.Context) map[string][]netip.Prefix
}

// A LeaseState is a lease and how it is: see Lease.
type LeaseState struct {
	store.Lease
	State, Why string
}

// A Published port is what an endpoint publishes.
type Published struct {
	Endpoint string // ID
	store.PortBinding
}

// States are those of all ports. Traffic is that of the connections that are
// open now; bytes and packets are known only if Counted.
type States struct {
	Ports   map[Published]State
	Waiting []Waiting
	Counted bool
}

// A State is how a published port is.
type State struct {
	From, Why                   string // see Port.ReachableFrom
	Live                        bool   // by AddPorts
	Carried                     bool   // all of it by the daemon: see ProxiedAll
	Connections, Bytes, Packets uint64
}

// All returns everything that r has, as the API shows it. Nothing is asked of
// r's ports but what is recorded.
func All(ctx context.Context, r Records) (Networks, Endpoints, Ports, Leased) {
	return networks(r), endpoints(ctx, r), portsOf(r, States{}, false, func(Published) bool { return true }), leases(r)
}

// networks returns r's networks by name, those without one last.
func networks(r Records) Networks {
	members, remarks := map[string]int{}, remarksOf(r)
	for _, e := range r.Endpoints() {
		members[e.Network]++
	}
	reply := Networks{Version: Version, Networks: []Network{}}
	for _, n := range r.Networks() {
		view := Network{
			ID: n.ID, Name: n.Name, Engine: n.Engine, Mode: n.Mode, Link: n.Link, MTU: n.MTU, Remark: remarks[n.ID],
			Internal: n.Internal, Options: orEmpty(n.Options), Subnets: []Subnet{},
			Endpoints: members[n.ID], Created: n.Created,
		}
		for _, s := range n.Subnets {
			view.Subnets = append(view.Subnets, Subnet{Subnet: s.Prefix, Gateway: s.Gateway})
		}
		reply.Networks = append(reply.Networks, view)
	}
	slices.SortFunc(reply.Networks, func(a, b Network) int {
		return cmp.Or(named(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
	return reply
}

// endpoints returns r's endpoints by network, container and address.
func endpoints(ctx context.Context, r Records) Endpoints {
	of, remarks, denied := map[string]store.Network{}, remarksOf(r), r.Denied(ctx)
	for _, n := range r.Networks() {
		of[n.ID] = n
	}
	var made map[string][]netip.Prefix
	if a, ok := r.(Autoconfigured); ok {
		made = a.Autoconfigured(ctx)
	}
	reply := Endpoints{Version: Version, Endpoints: []Endpoint{}}
	for _, e := range r.Endpoints() {
		var count *uint64
		if n, guarded := denied[e.HostLink]; guarded {
			count = &n
		}
		reply.Endpoints = append(reply.Endpoints, Endpoint{
			ID: e.ID, Network: e.Network, NetworkName: of[e.Network].Name, Mode: of[e.Network].Mode, Remark: remarks[e.Network],
			Container: e.Container, ContainerID: e.ContainerID,
			IPv4: e.IPv4, IPv6: e.IPv6, SLAAC: made[e.ID], MAC: e.MAC, Link: cmp.Or(e.HostLink, of[e.Network].Link), Denied: count,
			Sandbox: e.Sandbox, Joined: e.Sandbox != "",
			Options: orEmpty(e.Options), Created: e.Created,
		})
	}
	slices.SortFunc(reply.Endpoints, func(a, b Endpoint) int {
		return cmp.Or(
			named(a.NetworkName, b.NetworkName), cmp.Compare(a.Network, b.Network),
			named(a.Container, b.Container), a.IPv4.Addr().Compare(b.IPv4.Addr()), cmp.Compare(a.ID, b.ID))
	})
	return reply
}

func remarksOf(r Records) map[string]string {
	if r, ok := r.(Remarks); ok {
		return r.Remarks()
	}
	return nil
}

// portsOf returns what r's endpoints publish and show doesn't leave out, by port.
func portsOf(r Records, s States, traffic bool, show func(Published) bool) Ports {
	names := networkNames(r)
	reply := Ports{Version: Version, Ports: []Port{}}
	for _, e := range r.Endpoints() {
		for _, p := range e.Published {
			if !show(Published{e.ID, p}) {
				continue
			}
			by, _ := r.Taken(e.ID, p)
			state := s.Ports[Published{e.ID, p}]
			port := Port{
				Protocol: protocol(p.Proto), HostIP: hostIP(p), HostPort: p.HostPort, IP: p.IP, Port: p.Port,
				Container: e.Container, ContainerID: e.ContainerID, Endpoint: e.ID,
				Network: e.Network, NetworkName: names[e.Network],
				TakenBy: by, Proxied: proxied(p, by, state.Carried), Live: state.Live, ReachableFrom: cmp.Or(state.From, "unknown"), Why: state.Why,
			}
			seen := traffic && port.Proxied != ProxiedAll // by connection tracking, as this port's
			if seen {
				port.Connections = &state.Connections
			}
			if seen && s.Counted {
				port.Bytes, port.Packets = &state.Bytes, &state.Packets
			}
			reply.Ports = append(reply.Ports, port)
		}
	}
	slices.SortFunc(reply.Ports, func(a, b Port) int {
		return cmp.Or(
			cmp.Compare(a.HostPort, b.HostPort), cmp.Compare(a.Protocol, b.Protocol),
			a.HostIP.Compare(b.HostIP), cmp.Compare(a.Endpoint, b.Endpoint))
	})
	return reply
}

// proxied says which of p's packets the daemon carries itself, besides all of
// those that it is to carry: none if somebody else has the port.
func proxied(p store.PortBinding, takenBy string, carried bool) string {
	tcpOrUDP := p.Proto == 6 || p.Proto == 17
	switch {
	case !tcpOrUDP || takenBy != "" || !p.HostIP.Is6() && !carried:
		return ""
	case carried || p.IP.Is4():
		return ProxiedAll
	}
	return ProxiedLocal
}

func networkNames(r Records) map[string]string {
	names := map[string]string{}
	for _, n := range r.Networks() {
		names[n.ID] = n.Name
	}
	return names
}

// hostIP is p's address on the host: where it is every one, that of its family.
func hostIP(p store.PortBinding) netip.Addr {
	switch {
	case p.HostIP.IsValid():
		return p.HostIP
	case p.OnItsOwn():
		return p.IP
	case p.IP.Is6():
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

func protocol(number uint8) string {
	switch number {
	case 6:
		return "tcp"
	case 17:
		return "udp"
	case 132:
		return "sctp"
	}
	return strconv.Itoa(int(number))
}

// named orders by name; what has none comes last.
func named(a, b string) int {
	switch {
	case a == b:
		return 0
	case a == "":
		return 1
	case b == "":
		return -1
	}
	return cmp.Compare(a, b)
}

func orEmpty(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}
