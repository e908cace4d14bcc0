package nat

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Clients are who may reach published ports from other machines and networks:
// all, if nothing is set. The host itself always may, and so may containers on
// the same bridge, which don't need a published port.
type Clients struct {
	HostOnly bool // nobody else
	// HostFirewall: whoever the host's own INPUT rules let in. The kernel doesn't
	// translate such ports: a Proxy carries what comes to their sockets.
	HostFirewall bool
	Prefixes     []netip.Prefix // those with these addresses, as the packet comes in
	Links        []string       // those whose packets come in by these links
}

// ClientsAllowed says what ParseClients takes.
const ClientsAllowed = "all, loopback, host-firewall, or a list of CIDR prefixes, addresses and iface:NAME"

const hostFirewall = "host-firewall"

// ParseClients reads all, loopback, host-firewall, or a list of prefixes,
// addresses and iface:NAME, separated by commas or spaces. Host-firewall stands
// alone: the host's rules can say the rest.
func ParseClients(s string) (c Clients, err error) {
	switch s {
	case "all":
		return Clients{}, nil
	case "loopback":
		return Clients{HostOnly: true}, nil
	case hostFirewall:
		return Clients{HostFirewall: true}, nil
	}
	for _, word := range strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' }) {
		if name, ok := strings.CutPrefix(word, "iface:"); ok {
			if err := CheckLink(name); err != nil {
				return Clients{}, err
			}
			c.Links = append(c.Links, name)
			continue
		}
		p, err := netip.ParsePrefix(word)
		if err != nil {
			a, notAddress := netip.ParseAddr(word)
			if notAddress != nil || a.Zone() != "" {
				return Clients{}, fmt.Errorf("%q: want %s", word, ClientsAllowed)
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		if p.Addr().Is4In6() {
			return Clients{}, fmt.Errorf("%q: write it as an IPv4 prefix", word)
		}
		c.Prefixes = append(c.Prefixes, p.Masked())
	}
	if c.All() {
		return Clients{}, errors.New("an empty list: want " + ClientsAllowed)
	}
	return c.canonical(), nil
}

// canonical sorts the lists and leaves out what is said twice, or is part of
// another prefix.
func (c Clients) canonical() Clients {
	slices.SortFunc(c.Prefixes, func(a, b netip.Prefix) int {
		if order := a.Addr().Compare(b.Addr()); order != 0 {
			return order
		}
		return a.Bits() - b.Bits()
	})
	var kept []netip.Prefix
	for _, p := range c.Prefixes {
		if n := len(kept); n == 0 || !kept[n-1].Contains(p.Addr()) {
			kept = append(kept, p)
		}
	}
	c.Prefixes = kept
	slices.Sort(c.Links)
	c.Links = slices.Compact(c.Links)
	return c
}

// All reports whether everybody may.
func (c Clients) All() bool {
	return !c.HostOnly && !c.HostFirewall && len(c.Prefixes)+len(c.Links) == 0
}

// Admit reports whether packets from an address that come in by a link may pass;
// the host's own come in by lo. A link that isn't known is "".
func (c Clients) Admit(from netip.Addr, link string) bool {
	return c.All() || c.HostFirewall || link == "lo" || slices.Contains(c.Links, link) ||
		slices.ContainsFunc(c.Prefixes, func(p netip.Prefix) bool { return p.Contains(from) })
}

// String returns what ParseClients reads.
func (c Clients) String() string {
	switch {
	case c.HostOnly:
		return "loopback"
	case c.HostFirewall:
		return hostFirewall
	case c.All():
		return "all"
	}
	var words []string
	for _, p := range c.Prefixes {
		words = append(words, p.String())
	}
	for _, l := range c.Links {
		words = append(words, "iface:"+l)
	}
	return strings.Join(words, ",")
}

// Key names c in rules: eight characters, the same for the same clients.
func (c Clients) Key() string {
	sum := sha256.Sum256([]byte(c.String()))
	return hex.EncodeToString(sum[:4])
}

// Filtered reports whether the firewall looks at who sends to the ports.
func (c Clients) Filtered() bool { return !c.All() && !c.HostFirewall }

// Policies returns the clients that are filtered, each once, by their keys.
func (s State) Policies() map[string]Clients {
	out := map[string]Clients{}
	add := func(c Clients) {
		if c.Filtered() {
			out[c.Key()] = c
		}
	}
	for _, n := range s.Networks {
		add(n.Clients)
	}
	for _, e := range s.Endpoints {
		if e.Clients != nil {
			add(*e.Clients)
		}
	}
	return out
}

func (c Clients) check() error {
	for _, l := range c.Links {
		if err := CheckLink(l); err != nil {
			return err
		}
	}
	for _, p := range c.Prefixes {
		if !p.IsValid() {
			return errors.New("an invalid prefix of clients")
		}
	}
	return nil
}
