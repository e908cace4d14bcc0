package store

import "fmt"

// Records is all that a store holds, by key: networks, endpoints and pools by
// their ID. Addresses, live ports and leases are in no particular order.
type Records struct {
	Networks  map[string]Network
	Endpoints map[string]Endpoint
	Pools     map[string]Pool
	Addresses map[string]Address
	LivePorts map[string]LivePorts
	Leases    map[string]Lease
	Cluster   map[string]ClusterEntry
}

// NewRecords returns an empty set of records, ready for Apply.
func NewRecords() Records {
	return Records{
		Networks:  map[string]Network{},
		Endpoints: map[string]Endpoint{},
		Pools:     map[string]Pool{},
		Addresses: map[string]Address{},
		LivePorts: map[string]LivePorts{},
		Leases:    map[string]Lease{},
		Cluster:   map[string]ClusterEntry{},
	}
}

// Apply does to r what committing the changes does to a store.
func (r Records) Apply(changes ...Change) {
	for _, c := range changes {
		switch c.kind {
		case kindNetwork:
			apply(r.Networks, c)
		case kindEndpoint:
			apply(r.Endpoints, c)
		case kindPool:
			apply(r.Pools, c)
		case kindAddress:
			apply(r.Addresses, c)
		case kindLivePorts:
			apply(r.LivePorts, c)
		case kindLease:
			apply(r.Leases, c)
		case kindCluster:
			apply(r.Cluster, c)
		default:
			panic(fmt.Sprintf("store: change of unknown kind %q", c.kind))
		}
	}
}

func apply[T any](records map[string]T, c Change) {
	if c.record == nil {
		delete(records, c.key)
		return
	}
	records[c.key] = c.record.(T)
}
