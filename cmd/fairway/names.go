package main

import (
	"maps"
	"net/netip"
	"slices"
	"sync/atomic"

	"fairway/cluster"
	"fairway/doctor"
	"fairway/resolver"
	"fairway/store"
)

// resolvConf is the host's.
const resolvConf = "/etc/resolv.conf"

// namedSegment is an overlay network as its containers' questions come from it.
func namedSegment(n store.Network) resolver.Segment {
	s := resolver.Segment{Name: n.Overlay.Segment, Bridge: n.Link, Internal: n.Internal}
	for _, sub := range n.Subnets {
		s.Subnets = append(s.Subnets, sub.Prefix)
		if sub.Gateway.IsValid() {
			s.Gateways = append(s.Gateways, sub.Gateway)
		}
	}
	return s
}

// namesOf returns what an endpoint's container is found by. Before its engine has
// been asked for the aliases, that is its name, or nothing.
func namesOf(e store.Endpoint) []string {
	if len(e.Names) == 0 && e.Container != "" {
		return cluster.Names([]string{e.Container})
	}
	return cluster.Names(e.Names)
}

// namedRemote is an endpoint of another host with its names. The ID has a slash, as
// that of this host's has not.
func namedRemote(r cluster.Remote) resolver.Record {
	out := resolver.Record{ID: r.Host + "/" + r.ID, Names: r.Names}
	for _, ip := range []netip.Addr{r.IPv4, r.IPv6} {
		if ip.IsValid() {
			out.IPs = append(out.IPs, ip)
		}
	}
	return out
}

// dockerVersion is the version that the engine told last. Its methods may be called
// concurrently.
type dockerVersion struct{ last atomic.Value }

func (v *dockerVersion) set(s string) { v.last.Store(s) }

func (v *dockerVersion) version() string {
	s, _ := v.last.Load().(string)
	return s
}

// Remarks says what an operator should know of networks, by ID.
func (o operated) Remarks() map[string]string {
	out := maps.Clone(o.Driver.Remarks())
	trouble := o.overlays.names.Trouble()
	fromHost := doctor.AsksFromHost(o.overlays.docker.version())
	for _, n := range o.Networks() {
		if n.Overlay.Segment == "" || n.Options["dns"] == "off" || out[n.ID] != "" {
			continue
		}
		switch gateways := namedSegment(n).Gateways; {
		case trouble != "":
			out[n.ID] = trouble
		case fromHost && len(gateways) > 0:
			out[n.ID] = "names on other hosts need --dns " + slices.MinFunc(gateways, netip.Addr.Compare).String() + ": see FW090"
		}
	}
	return out
}
