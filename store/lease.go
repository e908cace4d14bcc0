package store

import (
	"net/netip"
	"time"

	bolt "go.etcd.io/bbolt"
)

// A Lease is the durable record of an address that a DHCP server has given for
// an endpoint: of the Address with the same space, subnet and IP.
type Lease struct {
	Space  string
	Subnet netip.Prefix // the pool's: 0.0.0.0/0 where the user named no subnet
	IP     netip.Addr

	Engine   string // of the endpoint: see package engine; "" unknown
	Parent   string // link of the host on whose LAN the server is
	MAC      string // the endpoint's, colon form
	ClientID []byte // RFC 2132 option 61; for DHCPv6 the DUID
	Name     string // the container's name; "" not known
	Hostname string // as sent to the server; "" none

	Server   netip.Addr
	ServerID []byte // DHCPv6: the server's DUID
	Bits     int    // length of the LAN's prefix as the server tells it; 0 where it doesn't

	Created  time.Time // when the address was first had
	Obtained time.Time // when it was last confirmed by a server
	Renew    time.Time // T1
	Rebind   time.Time // T2
	Expires  time.Time // zero: never
	Lost     time.Time // since when no server stands by it; zero: one does

	// What the server said besides, options 3, 6, 42, 121, 26, 15 and 81.
	Routers []netip.Addr
	DNS     []netip.Addr
	NTP     []netip.Addr
	Routes  []Route
	MTU     int // bytes; 0: not said
	Domain  string
	FQDN    string
}

// A Route is a static route.
type Route struct {
	Destination netip.Prefix
	NextHop     netip.Addr // invalid: on link
}

// Learned is what the LAN of an endpoint said how it is to be configured.
type Learned struct {
	Gateways []netip.Addr // at most one a family
	Routes   []Route
	MTU      int // bytes; 0: not said
}

// IsZero reports whether nothing was said.
func (l Learned) IsZero() bool { return len(l.Gateways)+len(l.Routes)+l.MTU == 0 }

// Gateway returns the default gateway of a family; invalid if there is none.
func (l Learned) Gateway(v6 bool) netip.Addr {
	for _, g := range l.Gateways {
		if g.Is6() == v6 {
			return g
		}
	}
	return netip.Addr{}
}

// PutLease records l under its space, subnet and address.
func PutLease(l Lease) Change {
	return Change{kindLease, addressKey(l.Space, l.Subnet, l.IP), l}
}

// DeleteLease forgets a lease; it succeeds if there is none.
func DeleteLease(space string, subnet netip.Prefix, ip netip.Addr) Change {
	return Change{kindLease, addressKey(space, subnet, ip), nil}
}

// addLeases makes v3 of v2: a kind of record more, and what endpoints learned.
func addLeases(tx *bolt.Tx) error {
	_, err := tx.CreateBucketIfNotExists([]byte(kindLease))
	return err
}
