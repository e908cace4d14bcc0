package overlay

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"

	"fairway/link"
)

// A Segment is where a network's entries go, on this host.
type Segment struct {
	Namespace string
	VNI       uint32
	Port      uint16 // UDP
	VXLAN     string // names of the links
	Bridge    string
	Local     netip.Addr // the host's address on the underlay
	Subnets   []netip.Prefix
	// Reserved are addresses that no endpoint of another host can have: the
	// gateways', and those of this host's own endpoint.
	Reserved []netip.Addr
	// Multicast: what is for many goes to all hosts that have records.
	Multicast bool
}

func (s Segment) same(o Segment) bool {
	return s.Namespace == o.Namespace && s.VNI == o.VNI && s.Port == o.Port && s.VXLAN == o.VXLAN && s.Bridge == o.Bridge &&
		s.Local == o.Local && s.Multicast == o.Multicast && slices.Equal(s.Subnets, o.Subnets) && slices.Equal(s.Reserved, o.Reserved)
}

func (s Segment) String() string { return fmt.Sprintf("VNI %d", s.VNI) }

// contains reports whether an address is in the segment.
func (s Segment) contains(ip netip.Addr) bool {
	return slices.ContainsFunc(s.Subnets, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// A Record is an endpoint on another host; also that which the host itself is.
type Record struct {
	ID   string
	MAC  link.MAC
	IPs  []netip.Addr // at most one a family
	Host netip.Addr   // its host's address on the underlay
	// Revision orders what the cluster's store was told, over all endpoints: of
	// two that claim an address, the one that was written last has it.
	Revision int64
}

// A Local is an endpoint on this host. Its own entries are made with its link.
type Local struct {
	ID  string
	MAC link.MAC
	IPs []netip.Addr
}

// check refuses a record that can't be one of the segment's, in one line. What
// other hosts say is nothing to be relied on.
func (s Segment) check(r Record) error {
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("overlay: %s: endpoint %q: %s", s, r.ID, fmt.Sprintf(format, args...))
	}
	switch {
	case r.ID == "" || len(r.ID) > 128:
		return refuse("want an ID of at most 128 bytes")
	case r.MAC[0]&1 != 0 || r.MAC == link.MAC{}:
		return refuse("MAC address %s: want a unicast one", r.MAC)
	case bytes.Equal(r.MAC[:], GatewayMAC(s.VNI)):
		return refuse("MAC address %s: is the gateway's", r.MAC)
	case !r.Host.IsValid() || r.Host.Is6() != s.Local.Is6() || r.Host.IsMulticast() || r.Host.IsUnspecified() || r.Host.Zone() != "":
		return refuse("host %s: want a unicast address of the family of this host's, %s", r.Host, s.Local)
	case r.Host == s.Local:
		return refuse("host %s: is this host", r.Host)
	case len(r.IPs) > 2:
		return refuse("%d addresses: want at most one a family", len(r.IPs))
	}
	for _, ip := range r.IPs {
		if !s.contains(ip) || slices.Contains(s.Reserved, ip) {
			return refuse("address %s: want one of the segment's subnets that is neither the gateway's nor this host's", ip)
		}
	}
	return nil
}
