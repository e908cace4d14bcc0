package bridge

import (
	"fmt"
	"net/netip"

	"fairway/nat"
	"fairway/store"
)

// publishes reports whether fairway publishes ports of the network.
func (n Network) publishes() bool { return !n.Internal && n.set.PublishBy == byFairway }

// Bindings returns on which addresses of the host a port of e is to be
// published: want with IP filled in, and with HostIP unless the host has no
// part in it (gateway mode routed), once for each family. It is empty where
// the network publishes nothing.
func (n Network) Bindings(e store.Endpoint, want store.PortBinding) ([]store.PortBinding, error) {
	if !n.publishes() {
		return nil, nil
	}
	host := want.HostIP
	if !host.IsValid() {
		host = n.set.HostBinding
	}
	var out []store.PortBinding
	for _, s := range n.Subnets {
		target, unspecified := e.IPv4.Addr(), netip.IPv4Unspecified()
		if s.Is6() {
			target, unspecified = e.IPv6.Addr(), netip.IPv6Unspecified()
		}
		b := want
		b.IP = target
		switch {
		case !target.IsValid():
			continue
		case n.mode(s) == nat.Routed:
			b.HostIP, b.HostPort, b.HostPortEnd = netip.Addr{}, 0, 0
		case !host.IsValid():
			b.HostIP = unspecified
		case host.Is6() == s.Is6():
			b.HostIP = host
		default:
			continue
		}
		out = append(out, b)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("publish port %d on %s: the container has no address of that family", want.Port, host)
	}
	return out, nil
}
