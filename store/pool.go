package store

import (
	"net/netip"
	"time"
)

// A Pool is the durable record of one handle that the IPAM driver gave out
// with RequestPool. Several handles may share one subnet: addresses belong to
// the (Space, Subnet) pair, not to the handle.
type Pool struct {
	ID        string // the PoolID: opaque to Docker, never reused
	Engine    string
	Space     string            // address space
	Subnet    netip.Prefix      // masked
	Range     netip.Prefix      // --ip-range, inside Subnet; invalid: all of Subnet
	Options   map[string]string // --ipam-opt as given
	Created   time.Time
	Confirmed bool // an address was requested or a network was made with it, so Docker knows the ID
}

// An Address is the durable record of one address of a pool that is in use, or
// that was and is not to be handed out again yet.
type Address struct {
	Space    string
	Subnet   netip.Prefix
	IP       netip.Addr
	Engine   string
	Pool     string // ID of the handle that it was requested by
	Kind     AddressKind
	Name     string // the container's name where the engine tells it (29 and later); "" otherwise
	MAC      string // the MAC that Docker named with the request; "" none
	Created  time.Time
	Released time.Time // zero while in use
	// Confirmed: an endpoint or a network was made with the address, so Docker
	// knows it.
	Confirmed bool
}

// AddressKind says what an address is for.
type AddressKind string

// The kinds of addresses. Docker doesn't tell an auxiliary address from a
// container's static one.
const (
	KindEndpoint AddressKind = "endpoint"
	KindGateway  AddressKind = "gateway"
	KindHost     AddressKind = "host" // the host's own on a LAN; Docker knows nothing of it
)
