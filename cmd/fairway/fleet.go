package main

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"fairway/admin"
	"fairway/cluster"
	"fairway/fleet"
	"fairway/overlay"
	"fairway/store"
)

// ClusterNetworks says in the operators' words how the cluster's networks are.
func (s shownCluster) ClusterNetworks() admin.ClusterNetworks {
	hosts, trouble := s.Hosts()
	out := admin.ClusterNetworks{Cluster: s.name, Self: s.Self().Name, Networks: []admin.ClusterNetwork{}, Trouble: trouble}
	all, _ := s.Networks()
	for _, n := range all {
		shown := admin.ClusterNetwork{
			Name: n.Name, Segment: n.Segment, Subnets: []netip.Prefix{}, Internal: n.Internal, IPv6: n.IPv6, Removing: n.Removed,
			Options: map[string]string{}, Labels: map[string]string{}, Hosts: append([]string{}, n.Hosts...), On: onHosts(n, hosts),
		}
		maps.Copy(shown.Options, n.Options)
		maps.Copy(shown.Labels, n.Labels)
		for _, p := range n.Pools {
			shown.Subnets = append(shown.Subnets, p.Subnet)
		}
		out.Networks = append(out.Networks, shown)
	}
	return out
}

// onHosts returns how a network is on each host that has it, or is to have it.
func onHosts(n cluster.NetworkState, hosts []cluster.HostState) []admin.NetworkOn {
	alive, wanted := map[string]bool{}, map[string]bool{}
	for _, h := range hosts {
		alive[h.Name] = h.Alive
		wanted[h.Name] = n.Seen != 0 && !n.Damaged && n.For(h.Name)
	}
	for _, h := range n.Hosts {
		wanted[h] = !n.Removed
	}
	for h := range n.On {
		wanted[h] = true
	}
	out := []admin.NetworkOn{}
	for _, h := range slices.Sorted(maps.Keys(wanted)) {
		if !wanted[h] {
			continue
		}
		on := admin.NetworkOn{Host: h, State: admin.NetworkPending, Alive: alive[h]}
		r, said := n.On[h]
		does := "makes it"
		switch {
		case fleet.Target(h, n) == "":
			does = "removes it"
		case r.Revision != "":
			does = "changes it"
		}
		switch {
		case said && (r.Revision == fleet.Target(h, n) || n.Damaged):
			on.State, on.Why = r.State, r.Why
		case !alive[h]:
			on.State, on.Why = admin.NetworkAway, "nothing is heard of its daemon: it "+does+" when it is back"
		default:
			on.Why = does
		}
		out = append(out, on)
	}
	return out
}

// WantNetwork checks what an operator asks for as this host's driver would, and
// has the cluster make it.
func (s shownCluster) WantNetwork(ctx context.Context, ask admin.WantedNetwork) error {
	n, err := wantedOf(ask)
	if err != nil {
		return err
	}
	s.keepPools(&n)
	if err := n.Check(); err != nil {
		return err
	}
	if err := s.checkSubnets(n); err != nil {
		return err
	}
	r := store.Network{ID: n.Name, Mode: "overlay", Link: "fwb0", Internal: n.Internal, IPv4: true, IPv6: n.IPv6, Options: map[string]string{"mode": "overlay", "segment": n.Segment}}
	maps.Copy(r.Options, n.Options)
	if _, err := overlay.New(s.span.host, r); err != nil {
		return err
	}
	return s.Cluster.WantNetwork(ctx, n)
}

// wantedOf reads what an operator asks for.
func wantedOf(ask admin.WantedNetwork) (cluster.Network, error) {
	n := cluster.Network{
		Name: ask.Name, Segment: ask.Segment, Internal: ask.Internal, IPv6: ask.IPv6,
		Options: ask.Options, Labels: ask.Labels, Hosts: slices.Compact(slices.Sorted(slices.Values(ask.Hosts))),
	}
	for _, p := range ask.Subnets {
		n.IPv6 = n.IPv6 || p.Addr().Is6()
		n.Pools = append(n.Pools, cluster.Pool{Subnet: p})
	}
	for _, g := range ask.Gateways {
		i := slices.IndexFunc(n.Pools, func(p cluster.Pool) bool { return p.Subnet.Contains(g) })
		switch {
		case i < 0:
			return n, fmt.Errorf("gateway %s: want an address of a subnet that is named, too", g)
		case n.Pools[i].Gateway.IsValid():
			return n, fmt.Errorf("gateway %s: subnet %s has gateway %s already", g, n.Pools[i].Subnet, n.Pools[i].Gateway)
		}
		n.Pools[i].Gateway = g
	}
	return n, nil
}

// keepPools adds the subnets that a network of the name has and that aren't named
// this time: else hosts would make it anew.
func (s shownCluster) keepPools(n *cluster.Network) {
	all, _ := s.Networks()
	i := slices.IndexFunc(all, func(o cluster.NetworkState) bool { return o.Name == n.Name && o.Segment == n.Segment })
	if i < 0 {
		return
	}
	for _, old := range all[i].Pools {
		v6 := old.Subnet.Addr().Is6()
		named := slices.ContainsFunc(n.Pools, func(p cluster.Pool) bool { return p.Subnet.Addr().Is6() == v6 })
		if !named && (!v6 || n.IPv6) {
			n.Pools = append(n.Pools, old)
		}
	}
}

// checkSubnets refuses subnets that aren't the segment's, and a segment without
// any. A network that hosts have may change: they give the old ones up first.
func (s shownCluster) checkSubnets(n cluster.Network) error {
	segment, _ := s.Segment(n.Segment)
	all, _ := s.Networks()
	changes := slices.ContainsFunc(all, func(o cluster.NetworkState) bool { return o.Segment == n.Segment })
	for _, v6 := range []bool{false, true} {
		if v6 && !n.IPv6 {
			continue
		}
		has, there := segment.Subnet(v6)
		i := slices.IndexFunc(n.Pools, func(p cluster.Pool) bool { return p.Subnet.Addr().Is6() == v6 })
		family := "IPv4"
		if v6 {
			family = "IPv6"
		}
		switch {
		case i < 0 && !there:
			return fmt.Errorf("segment %s: want --subnet: no host of the cluster has named an %s subnet yet", n.Segment, family)
		case i >= 0 && there && !changes && n.Pools[i].Subnet != has.Prefix:
			return fmt.Errorf("subnet %s: segment %s has %s: name that one, or leave --subnet out", n.Pools[i].Subnet, n.Segment, has.Prefix)
		}
	}
	return nil
}

// UnwantNetwork has all hosts remove a network.
func (s shownCluster) UnwantNetwork(ctx context.Context, name string) error {
	return s.Cluster.UnwantNetwork(ctx, name)
}
