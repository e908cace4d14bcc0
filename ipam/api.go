package ipam

import "net/netip"

// The address spaces that fairway offers Docker.
const (
	SpaceLocal  = "fairway-local"
	SpaceGlobal = "fairway-global"
	// SpaceIPvlan is that of a driver of its own, for which Docker gives endpoints
	// no MAC address: what an ipvlan needs, and what DHCP can't do with.
	SpaceIPvlan = "fairway-ipvlan"
)

// spaceNames are all address spaces, in the order in which they are looked
// through.
func spaceNames() []string { return []string{SpaceLocal, SpaceGlobal, SpaceIPvlan} }

// A PoolSpec is what Docker says of a pool that it requests.
type PoolSpec struct {
	Engine string // the engine that asks: see package engine; "" unknown
	Space  string
	// Pool is --subnet as given: a prefix; "" for the allocator to choose; or an
	// unspecified address with a length (0.0.0.0/24, ::/120) for any pool of
	// that size.
	Pool    string
	SubPool string            // --ip-range as given; "" none
	Options map[string]string // --ipam-opt as given
	V6      bool
}

// A PoolReply is a pool that was handed out.
type PoolReply struct {
	ID     string // opaque to Docker; never reused
	Prefix netip.Prefix
}

// An AddressSpec is what Docker says of an address that it requests.
type AddressSpec struct {
	Engine  string
	Pool    string     // PoolReply.ID
	Address netip.Addr // invalid: the allocator chooses
	Gateway bool       // it is to be the pool's gateway
	Name    string     // the container's name, where the engine tells it (29 and later)
	MAC     string     // colon form; "" where Docker names none
}
