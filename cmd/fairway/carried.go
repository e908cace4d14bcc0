package main

import (
	"context"
	"net/netip"

	"fairway/admin"
	"fairway/link"
	"fairway/nat"
	"fairway/store"
)

// carried is what the links of endpoints have carried, by their IDs: of links on
// the host, and of those in sandboxes. What is gone meanwhile isn't there.
func (m measured) carried(ctx context.Context) (map[string]admin.Carried, error) {
	onHost, err := m.kernel.Counters(ctx)
	if err != nil {
		return nil, err
	}
	endpoints, denied := m.Endpoints(), m.Denied(ctx)
	var addresses []netip.Addr
	for _, e := range endpoints {
		addresses = append(addresses, e.IPv4.Addr(), e.IPv6.Addr())
	}
	connections, err := (nat.Connections{}).Count(ctx, addresses)
	if err != nil {
		return nil, err
	}
	inside := map[string]map[string]link.Counters{} // by sandbox
	out := make(map[string]admin.Carried, len(endpoints))
	for _, e := range endpoints {
		c, ok := m.counters(ctx, e, onHost, inside)
		if !ok {
			continue
		}
		c.Connections = connectionsOf(connections, e)
		if n, guarded := denied[e.HostLink]; guarded && e.HostLink != "" {
			c.Dropped[admin.DroppedSpoof] = n
		}
		out[e.ID] = c
	}
	return out, nil
}

// counters returns those of an endpoint's link. What the host's end of a pair
// sends the container receives.
func (m measured) counters(ctx context.Context, e store.Endpoint, onHost map[string]link.Counters, inside map[string]map[string]link.Counters) (out admin.Carried, ok bool) {
	if e.HostLink != "" {
		c, ok := onHost[e.HostLink]
		return carriedBy(c.TxBytes, c.RxBytes, c.TxPackets, c.RxPackets, c.RxDropped+c.TxDropped), ok
	}
	if e.Sandbox == "" {
		return out, false
	}
	if _, looked := inside[e.Sandbox]; !looked {
		inside[e.Sandbox], _ = m.kernel.CountersInside(ctx, e.Sandbox) // it may be gone
	}
	c, ok := inside[e.Sandbox][e.ID]
	return carriedBy(c.RxBytes, c.TxBytes, c.RxPackets, c.TxPackets, c.RxDropped+c.TxDropped), ok
}

func carriedBy(received, sent, receivedPackets, sentPackets, dropped uint64) admin.Carried {
	return admin.Carried{
		ReceivedBytes: received, SentBytes: sent, ReceivedPackets: receivedPackets, SentPackets: sentPackets,
		Dropped: map[string]uint64{admin.DroppedQueue: dropped},
	}
}

// connectionsOf is how many connections an endpoint has by both its addresses.
func connectionsOf(by map[netip.Addr]uint64, e store.Endpoint) (n uint64) {
	for _, p := range []netip.Prefix{e.IPv4, e.IPv6} {
		if p.IsValid() {
			n += by[p.Addr()]
		}
	}
	return n
}
