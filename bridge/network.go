package bridge

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"

	"fairway/link"
	"fairway/nat"
	"fairway/store"
)

// A Network is a recorded network seen as a bridge network.
type Network struct {
	store.Network
	set      Options
	instance string
}

// New returns what n says, or one line on what is wrong with it.
func New(instance string, n store.Network) (Network, error) {
	o, err := ParseOptions(n.Options)
	if err != nil {
		return Network{}, err
	}
	v := Network{Network: n, set: o, instance: instance}
	return v, v.check()
}

// Parent returns "": endpoints are ports of the bridge.
func (n Network) Parent() (name string, exclusive bool) { return "", false }

// SkipGateway reports for which families Docker need not allocate a gateway.
func (n Network) SkipGateway() (v4, v6 bool) {
	v4 = n.set.Mode4 == nat.IsolatedGateway || n.set.InhibitIPv4 && n.Internal
	return v4, n.set.Mode6 == nat.IsolatedGateway
}

// Links returns what the kernel must hold for the network itself: the bridge,
// the gateways' addresses on it, leave for 127.0.0.1 to be translated to
// containers (route_localnet, Documentation/networking/ip-sysctl.rst), and
// rp_filter's look at the way back with the packet's mark (src_valid_mark): the
// subnet is unroutable without (package nat/unroutable). On an adopted bridge
// both settings end with the network as they were before.
func (n Network) Links() link.Set {
	mac, _ := net.ParseMAC(n.MAC)
	set := link.Set{link.Bridge{
		Namespace: n.Namespace, Name: n.Link, Alias: link.Mark(n.instance, n.ID, ""),
		MAC: mac, MTU: n.MTU, IPv6: n.IPv6, Adopted: n.Adopted,
	}}
	for _, s := range n.Subnets {
		p := netip.PrefixFrom(s.Gateway, s.Prefix.Bits())
		if n.onBridge(s) && !slices.Contains(n.AdoptedAddresses, p) {
			set = append(set, link.Address{Namespace: n.Namespace, Link: n.Link, Prefix: p})
		}
	}
	if n.IPv4 && !n.Internal {
		for _, name := range []string{"src_valid_mark", "route_localnet"} {
			path := "net/ipv4/conf/" + n.Link + "/" + name
			set = append(set, link.Sysctl{
				Namespace: n.Namespace, Path: path, Value: "1", Reset: cmp.Or(n.AdoptedSysctls[path], "0"),
			})
		}
	}
	return set
}

// onBridge reports whether the gateway of s is an address of the bridge.
func (n Network) onBridge(s store.Subnet) bool {
	if !s.Gateway.IsValid() || n.mode(s) == nat.IsolatedGateway {
		return false
	}
	return s.Is6() || !n.set.InhibitIPv4
}

func (n Network) mode(s store.Subnet) nat.GatewayMode {
	if s.Is6() {
		return n.set.Mode6
	}
	return n.set.Mode4
}

// Firewall returns what the firewall must hold for the network itself.
func (n Network) Firewall() nat.Network {
	out := nat.Network{ID: n.ID, Link: n.Link, Internal: n.Internal, ICC: n.set.ICC, Trusted: n.set.Trusted, Clients: n.set.Clients}
	for _, s := range n.Subnets {
		f := nat.Family{Subnet: s.Prefix, Mode: n.mode(s), SNAT: n.set.SNAT}
		if s.Is6() {
			f.SNAT = n.set.SNAT6
		}
		if n.onBridge(s) {
			f.Gateway = s.Gateway
		}
		translated := f.Mode == nat.ModeNAT || f.Mode == nat.Unprotected
		f.Masquerade = translated && !n.Internal && n.set.Masquerade
		if !f.Masquerade {
			f.SNAT = netip.Addr{}
		}
		out.Families = append(out.Families, f)
	}
	return out
}

// gateway returns the default gateway of containers in the family of s; invalid
// if they get none.
func (n Network) gateway(s store.Subnet) netip.Addr {
	if n.Internal || n.set.NoGateway || n.set.PublishBy == byDocker {
		return netip.Addr{}
	}
	if a := s.Aux[auxGateway(s)]; a.IsValid() {
		return a
	}
	return s.Gateway
}

// auxGateway is the name of the --aux-address that Docker's bridge driver takes
// for the containers' default gateway, when it isn't the bridge.
func auxGateway(s store.Subnet) string {
	if s.Is6() {
		return "DefaultGatewayIPv6"
	}
	return "DefaultGatewayIPv4"
}

// Effective returns the settings that count, for people to read.
func (n Network) Effective() map[string]any {
	out := map[string]any{
		"fairway.link": n.Link, "fairway.mtu": fmt.Sprint(n.MTU), "fairway.antispoof": fmt.Sprint(n.set.Antispoof),
		"fairway.icc": fmt.Sprint(n.set.ICC), "fairway.publish_by": string(n.set.PublishBy),
		"fairway.publish": n.set.Clients.String(),
	}
	for _, f := range n.Firewall().Families {
		name := "fairway.gateway_mode_ipv4"
		if f.Is6() {
			name = "fairway.gateway_mode_ipv6"
		}
		maps.Copy(out, map[string]any{name: string(f.Mode)})
	}
	return out
}
