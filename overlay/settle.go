package overlay

import (
	"cmp"
	"fmt"
	"net/netip"
	"strconv"

	"fairway/link"
	"fairway/store"
)

// An Agreed is what all hosts of a segment have in common, and this host's own
// part of it: what the cluster says.
type Agreed struct {
	VNI       uint32
	Port      uint16 // UDP; 0: DefaultPort
	Multicast bool
	// Underlay is the lowest MTU of the ways between the hosts, in bytes.
	Underlay int
	// Own are the addresses of the host's own endpoint, at most one a family.
	Own []netip.Addr
}

// Settle decides what the record of a new network leaves open, and refuses
// options that say otherwise than the segment is. n.Link is a free name for the
// bridge.
func Settle(host Host, seg Agreed, n *store.Network) error {
	v, err := New(host, *n)
	if err != nil {
		return err
	}
	seg.Port = cmp.Or(seg.Port, DefaultPort)
	fits := seg.Underlay - Overhead(host.Local)
	switch o := v.set; {
	case seg.VNI == 0 || seg.VNI > MaxVNI:
		return fmt.Errorf("segment %s: VNI %d: want a number from 1 to %d", o.Segment, seg.VNI, MaxVNI)
	case o.VNI != 0 && o.VNI != seg.VNI:
		return fmt.Errorf("option vni=\"%d\": segment %s has VNI %d", o.VNI, o.Segment, seg.VNI)
	case o.Port != 0 && o.Port != seg.Port:
		return fmt.Errorf("option port=\"%d\": segment %s uses UDP port %d", o.Port, o.Segment, seg.Port)
	case o.Multicast != "" && o.Multicast != strconv.FormatBool(seg.Multicast):
		return fmt.Errorf("option multicast=%q: segment %s has %t", o.Multicast, o.Segment, seg.Multicast)
	case o.MTU > fits:
		return fmt.Errorf("option mtu=\"%d\": the underlay carries %d bytes; want at most %d", o.MTU, seg.Underlay, fits)
	case n.IPv6 && fits < minIPv6MTU:
		return fmt.Errorf("segment %s: the underlay carries %d bytes, want at least %d for IPv6 (RFC 8200)", o.Segment, seg.Underlay, minIPv6MTU+Overhead(host.Local))
	}
	n.Overlay = store.Overlay{
		Segment: v.set.Segment, VNI: seg.VNI, Port: seg.Port, Link: LinkOf(n.Link), MAC: link.RandomMAC().String(),
		Multicast: seg.Multicast,
	}
	n.MAC, n.MTU, n.HostAddresses = GatewayMAC(seg.VNI).String(), cmp.Or(v.set.MTU, fits), seg.Own
	_, err = New(host, *n)
	return err
}

const minIPv6MTU = 1280 // bytes: RFC 8200 section 5
