package bridge

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"fairway/nat"
	"fairway/store"
)

// publishes reports whether fairway publishes ports of the network.
func (n Network) publishes() bool { return !n.Internal && n.set.PublishBy == byFairway }

// Bindings returns on which addresses of the host a port of e is to be
// published: want with IP filled in, and with HostIP unless the host has no
// part in it (gateway mode routed), once for each family. A container without
// IPv6 is published by its IPv4 address there: see proxied. It is empty where the
// network publishes nothing.
func (n Network) Bindings(e store.Endpoint, want store.PortBinding) ([]store.PortBinding, error) {
	if !n.publishes() {
		return nil, nil
	}
	if want.Proto == unix.IPPROTO_SCTP {
		if o, _ := n.set.ParseEndpointOptions(e.Options); n.clients(o).HostFirewall {
			return nil, fmt.Errorf("publish port %d/sctp: not with publish=%s: want tcp or udp", want.Port, n.clients(o))
		}
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
	if (!host.IsValid() || host.Is6()) && n.proxied(e, want.Proto) {
		b := want
		b.IP, b.HostIP = e.IPv4.Addr(), host
		if !host.IsValid() {
			b.HostIP = netip.IPv6Unspecified()
		}
		out = append(out, b)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("publish port %d on %s: the container has no address of that family", want.Port, host)
	}
	return out, nil
}

// proxied reports whether what comes to the host by IPv6 is carried to e's IPv4
// address, as Docker's userland proxy does: the kernel can't translate it.
func (n Network) proxied(e store.Endpoint, proto uint8) bool {
	return e.IPv4.IsValid() && !e.IPv6.IsValid() && n.set.Mode4 != nat.Routed && n.set.Mode6 != nat.Routed &&
		(proto == unix.IPPROTO_TCP || proto == unix.IPPROTO_UDP)
}
