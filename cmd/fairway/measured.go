package main

import (
	"context"
	"net/netip"
	"time"

	"fairway/ipam"
	"fairway/link"
	"fairway/metrics"
	"fairway/store"
)

// measured is what the daemon runs as the metrics see it.
type measured struct {
	run     operated
	kernel  *link.Conn
	pools   *ipam.Allocator
	records *store.Store
	span    *overlays
	doctor  *examiner
}

func (m measured) Networks() []store.Network                    { return m.run.Networks() }
func (m measured) Endpoints() []store.Endpoint                  { return m.run.Endpoints() }
func (m measured) Denied(ctx context.Context) map[string]uint64 { return m.run.Denied(ctx) }
func (m measured) WaitingPorts() int                            { return len(m.run.WaitingPorts()) }
func (m measured) StoreSize() (int64, error)                    { return m.records.Size() }

func (m measured) Segments(ctx context.Context) metrics.Segments { return m.span.measured(ctx) }

// Traffic turns the counters of the hosts' ends round: what the host sends there
// the container receives.
func (m measured) Traffic(ctx context.Context) (map[string]metrics.Traffic, error) {
	counters, err := m.kernel.Counters(ctx)
	out := make(map[string]metrics.Traffic, len(counters))
	for name, c := range counters {
		out[name] = metrics.Traffic{
			ReceivedBytes: c.TxBytes, SentBytes: c.RxBytes, ReceivedPackets: c.TxPackets, SentPackets: c.RxPackets,
			Dropped: c.TxDropped + c.RxDropped,
		}
	}
	return out, err
}

// Leases are those of endpoints: by the address and the MAC address that both have.
func (m measured) Leases() (out []metrics.Lease) {
	type client struct {
		mac string
		ip  netip.Addr
	}
	of := map[client]store.Endpoint{}
	for _, e := range m.run.Endpoints() {
		of[client{e.MAC, e.IPv4.Addr()}] = e
		of[client{e.MAC, e.IPv6.Addr()}] = e
	}
	for _, l := range m.run.leases.Leases() {
		if e, ok := of[client{l.MAC, l.IP}]; ok {
			out = append(out, metrics.Lease{
				Endpoint: e.ID, Network: e.Network, IPv6: l.IP.Is6(), State: l.State, Renewed: l.Renewed, Losses: l.Losses,
			})
		}
	}
	return out
}

// Findings are the doctor's.
func (m measured) Findings() ([]metrics.Finding, time.Time) { return m.doctor.Findings() }

func (m measured) Pools() (out []metrics.Pool) {
	for _, u := range m.pools.Usages() {
		out = append(out, metrics.Pool{Space: u.Space, Subnet: u.Subnet, Used: u.Used, Quarantined: u.Delayed, Size: u.Size})
	}
	return out
}

func (m measured) Kernel() metrics.Kernel {
	h := m.run.Driver.Health()
	return metrics.Kernel{
		Sound: h.Sound, Failing: h.Trouble != nil, RepairedLinks: h.Links.Count, RepairedRules: h.Rules.Count + m.span.plane.RepairedRules(),
	}
}
