package nftables

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"fairway/nat"
)

// clientsChain returns the name of the chain that decides about clients.
func clientsChain(c nat.Clients) string { return chainClients + "-" + c.Key() }

// clients adds what says whose packets may reach published ports, and returns
// the chain for each list of clients.
func (f *fill) clients(s nat.State) (own []chain) {
	policies := s.Policies()
	for _, key := range slices.Sorted(maps.Keys(policies)) {
		own = append(own, f.policy(policies[key]))
	}
	return own
}

// policy returns the chain that lets packets from clients pass, and adds what
// its sets hold.
func (f *fill) policy(c nat.Clients) chain {
	out := chain{name: clientsChain(c)}
	set := func(suffix string, key nftables.SetDatatype, interval bool, load expr.Any, parts ...match) (name string) {
		name = out.name + "-" + suffix
		out.sets = append(out.sets, newSet(name, "", key, nftables.SetDatatype{}, interval))
		out.rules = append(out.rules, mk("", append(parts, match{load, in(name)}, accept())...))
		return name
	}
	for _, v6 := range []bool{false, true} {
		prefixes := slices.DeleteFunc(slices.Clone(c.Prefixes), func(p netip.Prefix) bool { return p.Addr().Is6() != v6 })
		if len(prefixes) == 0 {
			continue
		}
		addr := nftables.TypeIPAddr
		if v6 {
			addr = nftables.TypeIP6Addr
		}
		name := set(suffix(v6), addr, true, address(v6, true, reg0), family(v6))
		for _, p := range prefixes {
			f.prefix(name, p, value{})
		}
	}
	if len(c.Links) > 0 {
		name := set("links", nftables.TypeIFName, false, load(expr.MetaKeyIIFNAME, reg0))
		for _, l := range c.Links {
			f.add(name, linkKey(l), value{})
		}
	}
	out.rules = append(out.rules, mk("publish="+short(c.String()), drop()))
	return out
}

// short keeps a comment within what the kernel takes (NFT_USERDATA_MAXLEN).
func short(s string) string {
	const most = 100
	if len(s) <= most {
		return s
	}
	return s[:most] + "..."
}

// endpointClients adds who may reach the ports of an endpoint that says so
// itself.
func (f *fill) endpointClients(e *nat.Endpoint) {
	if e.Clients == nil || e.Clients.HostFirewall {
		return
	}
	v := value{verdict: "accept", comment: e.ID[:min(len(e.ID), 12)]}
	if !e.Clients.All() {
		v.verdict = "goto " + clientsChain(*e.Clients)
	}
	for _, p := range e.Ports {
		f.add(mapEndpointClients+suffix(p.Target.Is6()), p.Target.AsSlice(), v)
	}
}

// networkClients adds who may reach the ports of a network that doesn't let
// everybody.
func (f *fill) networkClients(n network) {
	if !n.Clients.Filtered() || n.Internal {
		return
	}
	v := value{verdict: "goto " + clientsChain(n.Clients), comment: n.ID[:min(len(n.ID), 12)]}
	f.prefix(mapNetworkClients+suffix(n.Is6()), n.Subnet, v)
}
