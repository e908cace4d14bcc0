package beside

import (
	"cmp"
	"net/netip"

	"golang.org/x/sys/unix"

	"fairway/nat"
	"fairway/store"
)

// Bindings returns where a port of e is to be published: on its own addresses
// (store.PortBinding.OnItsOwn), unless an address of the host is named, and with
// host_access on the host's. What is named as an address of the host without
// host_access is published nowhere. An internal network publishes nothing.
func Bindings(n store.Network, e store.Endpoint, want store.PortBinding) (out []store.PortBinding) {
	if n.Internal {
		return nil
	}
	for _, p := range []netip.Prefix{e.IPv4, e.IPv6} {
		if !p.IsValid() {
			continue
		}
		any := netip.IPv4Unspecified()
		if p.Addr().Is6() {
			any = netip.IPv6Unspecified()
		}
		if b := want; !want.HostIP.IsValid() || want.HostIP == any || want.HostIP == p.Addr() {
			b.IP, b.HostIP, b.HostPort, b.HostPortEnd = p.Addr(), netip.Addr{}, cmp.Or(want.HostPort, want.Port), 0
			out = append(out, b)
		}
		b := want
		b.IP, b.HostIP = p.Addr(), any
		switch {
		case !HostAddress(n, p.Addr()).IsValid() || want.HostIP == p.Addr():
			continue
		case want.HostIP.IsValid() && want.HostIP.Is6() != p.Addr().Is6():
			continue
		case want.HostIP.IsValid():
			b.HostIP = want.HostIP
		}
		out = append(out, b)
	}
	if (!want.HostIP.IsValid() || want.HostIP.Is6()) && proxied(n, e, want.Proto) {
		b := want
		b.IP, b.HostIP = e.IPv4.Addr(), netip.IPv6Unspecified()
		if want.HostIP.IsValid() {
			b.HostIP = want.HostIP
		}
		out = append(out, b)
	}
	return out
}

// proxied reports whether what comes to the host by IPv6 is carried to e's IPv4
// address, as Docker's userland proxy does: the kernel can't translate it.
func proxied(n store.Network, e store.Endpoint, proto uint8) bool {
	return e.IPv4.IsValid() && !e.IPv6.IsValid() && HostAddress(n, e.IPv4.Addr()).IsValid() &&
		(proto == unix.IPPROTO_TCP || proto == unix.IPPROTO_UDP)
}

// Inside returns what is to be translated in the sandbox of e: what comes to its
// own addresses under other numbers than its ports have.
func Inside(e store.Endpoint) (out []nat.Port) {
	for _, p := range e.Published {
		if p.OnItsOwn() && p.HostPort != p.Port {
			out = append(out, nat.Port{Proto: p.Proto, HostIP: p.IP, HostPort: p.HostPort, Target: p.IP, TargetPort: p.Port})
		}
	}
	return out
}
