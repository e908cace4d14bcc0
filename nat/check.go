package nat

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"

	"golang.org/x/sys/unix"
)

// linkName is what a link may be called in a rule. The kernel allows more, but
// iptables(8) reads a trailing + as any end, and a leading ! or - as its own.
var linkName = regexp.MustCompile(`^[A-Za-z0-9_.][A-Za-z0-9_.:@-]{0,14}$`) //nolint:gochecknoglobals // a constant

// CheckLink reports whether a rule can name a link.
func CheckLink(name string) error {
	if !linkName.MatchString(name) {
		return fmt.Errorf("nat: link %q: want at most 15 of A-Z a-z 0-9 _ . : @ -", name)
	}
	return nil
}

// Check reports what a backend can't make rules of.
func (s State) Check() error {
	for _, n := range s.Networks {
		if err := n.check(); err != nil {
			return fmt.Errorf("nat: network %s: %w", n.ID, err)
		}
	}
	for _, e := range s.Endpoints {
		if err := e.check(); err != nil {
			return fmt.Errorf("nat: endpoint %s: %w", e.ID, err)
		}
	}
	return nil
}

func (n Network) check() error {
	for _, l := range append([]string{n.Link}, n.Trusted...) {
		if err := CheckLink(l); err != nil {
			return err
		}
	}
	if err := n.Clients.check(); err != nil {
		return err
	}
	if n.Bridged && len(n.Families) > 0 {
		return errors.New("bridged, and with a family")
	}
	for _, f := range n.Families {
		switch {
		case !f.Subnet.IsValid():
			return errors.New("a family without a subnet")
		case f.SNAT.IsValid() && f.SNAT.Is6() != f.Is6():
			return fmt.Errorf("source address %s: not of the family of %s", f.SNAT, f.Subnet)
		}
		switch f.Mode {
		case ModeNAT, Unprotected, Routed, IsolatedGateway:
		default:
			return fmt.Errorf("gateway mode %q: unknown", f.Mode)
		}
	}
	return nil
}

func (e Endpoint) check() error {
	if len(e.Ports)+len(e.Carried) == 0 {
		return nil // nothing of it is in a rule
	}
	if err := CheckLink(e.Link); err != nil {
		return err
	}
	if e.Clients != nil {
		if err := e.Clients.check(); err != nil {
			return err
		}
	}
	for _, a := range e.Carried {
		if !a.IsValid() {
			return errors.New("an invalid carried address")
		}
	}
	for _, p := range e.Ports {
		switch {
		case ProtoName(p.Proto) == "":
			return fmt.Errorf("published port %d: protocol %d: want tcp, udp or sctp", p.TargetPort, p.Proto)
		case !p.Target.IsValid() || p.TargetPort == 0:
			return fmt.Errorf("published port %s: no target", p)
		case p.HostIP.IsValid() && p.HostIP.Is6() != p.Target.Is6():
			return fmt.Errorf("published port %s: host address of another family", p)
		}
	}
	return nil
}

// String returns the port as Docker writes it: 0.0.0.0:8080->172.20.0.2:80/tcp.
func (p Port) String() string {
	target := netip.AddrPortFrom(p.Target, p.TargetPort).String() + "/" + ProtoName(p.Proto)
	if p.HostPort == 0 {
		return target
	}
	return netip.AddrPortFrom(p.Host(), p.HostPort).String() + "->" + target
}

// Host returns the address that the port is published on; the unspecified one
// of Target's family stands for all of the host's.
func (p Port) Host() netip.Addr {
	switch {
	case p.HostIP.IsValid():
		return p.HostIP
	case p.Target.Is6():
		return netip.IPv6Unspecified()
	default:
		return netip.IPv4Unspecified()
	}
}

// ProtoName returns the name of a protocol that ports can be published for, ""
// for any other.
func ProtoName(proto uint8) string {
	switch proto {
	case unix.IPPROTO_TCP:
		return "tcp"
	case unix.IPPROTO_UDP:
		return "udp"
	case unix.IPPROTO_SCTP:
		return "sctp"
	}
	return ""
}
