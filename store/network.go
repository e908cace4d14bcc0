package store

import (
	"net/netip"
	"time"
)

// A Network is the durable record of one Docker network. Options hold what the
// user gave, untouched; the fields under "settled" were decided once, when the
// network was made, so that a restart rebuilds the same thing.
type Network struct {
	ID        string    // Docker's network ID
	Engine    string    // the engine that made it: see package engine; "" unknown
	Namespace string    // network namespace of the host side; "" is the daemon's own
	Created   time.Time // when CreateNetwork was first answered
	Name      string    // Docker's name for it, annotated in the background; "" not known yet
	Confirmed bool      // a later call used the network, so Docker knows it

	Mode     string            // the driver mode, e.g. "bridge"
	Options  map[string]string // -o key=value as given
	Internal bool              // docker network create --internal
	IPv4     bool              // address families that the network has
	IPv6     bool
	Subnets  []Subnet // at most one per family in bridge mode

	// Settled when the network was made.
	Link string // the network's link on the host, e.g. the bridge
	// Adopted: the link isn't for this network alone. One that was there before is
	// used, never deleted, and in the end as it was.
	Adopted bool
	// VLANs are the links that were made for Link to be there, the one nearest to
	// the hardware first: they go with the last network that has them.
	VLANs []VLAN `json:",omitempty"`
	// AdoptedAddresses were on an adopted link before and stay when the network goes.
	AdoptedAddresses []netip.Prefix
	// AdoptedSysctls are what sysctls of an adopted link were before, by path
	// below /proc/sys: those that the network changes. They are put back when it goes.
	AdoptedSysctls map[string]string
	MAC            string // MAC address of Link, colon form; "" kernel's choice
	MTU            int    // bytes
	// HostLink is the host's own link on the network's LAN (host_access), and
	// HostAddresses are its addresses, at most one a family.
	HostLink      string       `json:",omitempty"`
	HostAddresses []netip.Addr `json:",omitempty"`
	// Overlay is this host's part in the segment that the network is; its
	// HostAddresses are the host's own endpoint's. Zero for other modes.
	Overlay Overlay `json:",omitzero"`
}

// An Overlay is a host's part in a VXLAN segment (RFC 7348).
type Overlay struct {
	Segment string // its name in the cluster
	VNI     uint32 // 1 to 1<<24 - 1
	Port    uint16 // UDP
	Link    string // the VXLAN, a port of the network's Link
	MAC     string // of the host's own endpoint, colon form
	// Multicast: it crosses hosts.
	Multicast bool `json:",omitempty"`
}

// A VLAN is a link of one VLAN of another link.
type VLAN struct {
	Link   string // its name
	Parent string // the link whose frames have the tag
	ID     int    // 1 to 4094
}

// A Subnet is one pool of a network as Docker's IPAM data gives it.
type Subnet struct {
	Space   string                // address space of the IPAM driver, e.g. "fairway-local"
	Prefix  netip.Prefix          // the pool, masked
	Gateway netip.Addr            // the gateway's address; invalid if none was allocated
	Aux     map[string]netip.Addr // --aux-address, by name
}

// Is6 reports whether the subnet is an IPv6 one.
func (s Subnet) Is6() bool { return s.Prefix.Addr().Is6() }

// SubnetOf returns the subnet that an address is in, of which there may be several
// in a family; false if there is none.
func (n Network) SubnetOf(ip netip.Addr) (Subnet, bool) {
	for _, s := range n.Subnets {
		if s.Prefix.Contains(ip) {
			return s, true
		}
	}
	return Subnet{}, false
}
