package metrics

import (
	"context"
	"net/netip"
	"time"

	"fairway/store"
)

// A Source is what the daemon runs.
type Source interface {
	Networks() []store.Network
	Endpoints() []store.Endpoint
	// Denied is how many frames were dropped of endpoints that send only what is
	// theirs, by their links on the host.
	Denied(ctx context.Context) map[string]uint64
	// Traffic is what the links of endpoints have carried, by their names on the
	// host.
	Traffic(ctx context.Context) (map[string]Traffic, error)
	Pools() []Pool
	// Leases are those that DHCP servers have given to endpoints.
	Leases() []Lease
	// Findings are what the doctor found last, and when; the zero time: it hasn't
	// looked yet. It looks in the background because somebody asks.
	Findings() ([]Finding, time.Time)
	Kernel() Kernel
	Segments(ctx context.Context) Segments
	// WaitingPorts is how many ports are to be published once they are free.
	WaitingPorts() int
	// StoreSize is the size of the file of records in bytes.
	StoreSize() (int64, error)
}

// Traffic is what went over one link, as its container sees it.
type Traffic struct {
	ReceivedBytes, SentBytes     uint64
	ReceivedPackets, SentPackets uint64
	Dropped                      uint64 // packets, by the link
	Denied                       uint64 // frames that weren't the container's own
}

func (t Traffic) plus(o Traffic) Traffic {
	return Traffic{
		t.ReceivedBytes + o.ReceivedBytes, t.SentBytes + o.SentBytes,
		t.ReceivedPackets + o.ReceivedPackets, t.SentPackets + o.SentPackets, t.Dropped + o.Dropped, t.Denied + o.Denied,
	}
}

// less reports whether t can't come after o: the link was made anew.
func (t Traffic) less(o Traffic) bool {
	return t.ReceivedPackets < o.ReceivedPackets || t.SentPackets < o.SentPackets
}

// A Pool is a subnet of fairway's IPAM, with numbers of addresses.
type Pool struct {
	Space       string
	Subnet      netip.Prefix
	Used        int
	Quarantined int     // released a moment ago, and not given out again yet
	Size        float64 // how many can be given out
}

// Kernel is what the looks at the kernel found.
type Kernel struct {
	Sound                        time.Time // when it was as recorded last; zero: never
	Failing                      bool      // it can't be made as recorded
	RepairedLinks, RepairedRules int
}

// Segments are the overlay networks of this host.
type Segments struct {
	Each     []Segment
	Repaired int    // entries of other hosts' endpoints that weren't as recorded
	Denied   uint64 // VXLAN packets dropped since they weren't from a host of the segment
}

// A Segment is one that this host has a network of.
type Segment struct {
	Name      string
	Endpoints int // on other hosts
	Hosts     int // that these are on
	Drift     int // entries that the last look found different from the records
}

// A Lease is an address from a DHCP server.
type Lease struct {
	Endpoint, Network string // IDs
	IPv6              bool
	State             string // one of leaseStates
	Renewed, Losses   uint64 // how many times
}

// leaseStates returns the states that a lease may be in, as fairway leases has
// them.
func leaseStates() []string {
	return []string{"requesting", "bound", "verifying", "renewing", "rebinding", "lost"}
}

// A Finding is something wrong that the doctor found.
type Finding struct{ Code, Severity string }
