package store

import "net/netip"

// A Change puts or deletes one record. A commit makes all of its changes
// durable or none.
type Change struct {
	kind   kind
	key    string
	record any // nil deletes
}

// Replaces reports whether c is of the same record as o.
func (c Change) Replaces(o Change) bool { return c.kind == o.kind && c.key == o.key }

type kind string

// The kinds of records, each a bucket of its own. These are names on disk.
const (
	kindNetwork   kind = "networks"
	kindEndpoint  kind = "endpoints"
	kindPool      kind = "pools"
	kindAddress   kind = "addresses"
	kindLivePorts kind = "live-ports"
	kindLease     kind = "leases"
	kindCluster   kind = "cluster"
)

// PutNetwork records n under its ID.
func PutNetwork(n Network) Change { return Change{kindNetwork, n.ID, n} }

// DeleteNetwork forgets a network; it succeeds if there is none.
func DeleteNetwork(id string) Change { return Change{kindNetwork, id, nil} }

// PutEndpoint records e under its ID.
func PutEndpoint(e Endpoint) Change { return Change{kindEndpoint, e.ID, e} }

// DeleteEndpoint forgets an endpoint; it succeeds if there is none.
func DeleteEndpoint(id string) Change { return Change{kindEndpoint, id, nil} }

// PutPool records p under its ID.
func PutPool(p Pool) Change { return Change{kindPool, p.ID, p} }

// DeletePool forgets a pool; it succeeds if there is none.
func DeletePool(id string) Change { return Change{kindPool, id, nil} }

// PutAddress records a under its space, subnet and address.
func PutAddress(a Address) Change {
	return Change{kindAddress, addressKey(a.Space, a.Subnet, a.IP), a}
}

// DeleteAddress forgets an address; it succeeds if there is none.
func DeleteAddress(space string, subnet netip.Prefix, ip netip.Addr) Change {
	return Change{kindAddress, addressKey(space, subnet, ip), nil}
}

func addressKey(space string, subnet netip.Prefix, ip netip.Addr) string {
	return space + " " + subnet.String() + " " + ip.String()
}
