package nat

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// A Guarded is a bridge port with what its endpoint may send from.
type Guarded struct {
	Port      string // the link on the host: GuardedPort and more
	ID        string // of the endpoint
	MACs      []net.HardwareAddr
	Addresses []netip.Addr
	Prefixes  []netip.Prefix
}

// Check refuses what the guard can't hold, in one line.
func (g Guarded) Check() error {
	if err := CheckLink(g.Port); err != nil {
		return err
	}
	if !strings.HasPrefix(g.Port, GuardedPort) {
		return fmt.Errorf("nat: port %s: want a name that begins with %s", g.Port, GuardedPort)
	}
	for _, m := range g.MACs {
		if len(m) != 6 {
			return fmt.Errorf("nat: port %s: MAC address %s: want 6 bytes", g.Port, m)
		}
	}
	return nil
}

// Senders are what endpoints may send from beside their own addresses, in the
// order of their text.
type Senders struct {
	MACs      []net.HardwareAddr
	Addresses []netip.Addr
	Prefixes  []netip.Prefix // masked, none in another, and none a single address
}

// Guard returns what the port of an endpoint may send from: its own MAC and IP
// addresses, of which those that aren't valid are left out, and s.
func (s Senders) Guard(port, id string, mac net.HardwareAddr, own ...netip.Addr) Guarded {
	own = slices.DeleteFunc(own, func(ip netip.Addr) bool { return !ip.IsValid() })
	return Guarded{
		Port: port, ID: id, MACs: append([]net.HardwareAddr{mac}, s.MACs...),
		Addresses: append(own, s.Addresses...), Prefixes: s.Prefixes,
	}
}

// SendersAllowed says what ParseSenders takes.
const SendersAllowed = "a list of addresses, prefixes and MAC addresses, separated by ,"

// ParseSenders reads a list such as "172.30.0.9,10.8.0.0/24,00:00:5e:00:01:05".
func ParseSenders(text string) (Senders, error) {
	var s Senders
	for word := range strings.SplitSeq(text, ",") {
		word = strings.TrimSpace(word)
		if p, err := netip.ParsePrefix(word); err == nil && p == p.Masked() && !p.IsSingleIP() {
			s.Prefixes = append(s.Prefixes, p)
			continue
		} else if err == nil && p.IsSingleIP() {
			word = p.Addr().String()
		}
		if a, err := netip.ParseAddr(word); err == nil {
			if a = a.Unmap(); a.Zone() != "" || a.IsUnspecified() || a.IsMulticast() {
				return Senders{}, errors.New("nobody sends from " + word)
			}
			s.Addresses = append(s.Addresses, a)
			continue
		}
		m, err := net.ParseMAC(word)
		if err != nil || len(m) != 6 || m[0]&1 != 0 {
			return Senders{}, fmt.Errorf("%q is neither an address nor a prefix nor a unicast MAC address", word)
		}
		s.MACs = append(s.MACs, m)
	}
	slices.SortFunc(s.MACs, func(a, b net.HardwareAddr) int { return strings.Compare(a.String(), b.String()) })
	s.MACs = slices.CompactFunc(s.MACs, func(a, b net.HardwareAddr) bool { return a.String() == b.String() })
	slices.SortFunc(s.Addresses, netip.Addr.Compare)
	s.Addresses = slices.Compact(s.Addresses)
	slices.SortFunc(s.Prefixes, netip.Prefix.Compare)
	var apart []netip.Prefix
	for _, p := range s.Prefixes { // a wider one comes before those in it
		if n := len(apart); n == 0 || !apart[n-1].Overlaps(p) {
			apart = append(apart, p)
		}
	}
	s.Prefixes = apart
	return s, nil
}

// Text returns what ParseSenders reads; "" for none.
func (s Senders) Text() string {
	var words []string
	for _, m := range s.MACs {
		words = append(words, m.String())
	}
	for _, a := range s.Addresses {
		words = append(words, a.String())
	}
	for _, p := range s.Prefixes {
		words = append(words, p.String())
	}
	return strings.Join(words, ",")
}

// LinkLocal returns the link-local address that an interface makes itself of
// its MAC address (modified EUI-64: RFC 4291 appendix A).
func LinkLocal(m net.HardwareAddr) netip.Addr {
	return netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 8: m[0] ^ 2, 9: m[1], 10: m[2], 11: 0xff, 12: 0xfe, 13: m[3], 14: m[4], 15: m[5]})
}
