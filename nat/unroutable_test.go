package nat

import (
	"fmt"
	"net/netip"
	"testing"
)

// TestUnroutable: whose subnets only marked packets are routed to.
func TestUnroutable(t *testing.T) {
	network := func(link, subnet string, mode GatewayMode, internal bool) Network {
		return Network{ID: link, Link: link, Internal: internal, Families: []Family{{Subnet: netip.MustParsePrefix(subnet), Mode: mode}}}
	}
	for name, c := range map[string]struct {
		networks       []Network
		uplink         string
		closed, pinged string
	}{
		"nothing":              {closed: "[]", pinged: "[]"},
		"nat":                  {networks: []Network{network("a", "10.1.0.0/16", ModeNAT, false)}, closed: "[10.1.0.0/16]", pinged: "[]"},
		"routed":               {networks: []Network{network("a", "10.1.0.0/16", Routed, false)}, closed: "[10.1.0.0/16]", pinged: "[10.1.0.0/16]"},
		"routed and internal":  {networks: []Network{network("a", "10.1.0.0/16", Routed, true)}, closed: "[10.1.0.0/16]", pinged: "[]"},
		"unprotected":          {networks: []Network{network("a", "10.1.0.0/16", Unprotected, false)}, closed: "[]", pinged: "[]"},
		"unprotected internal": {networks: []Network{network("a", "10.1.0.0/16", Unprotected, true)}, closed: "[10.1.0.0/16]", pinged: "[]"},
		"isolated":             {networks: []Network{network("a", "10.1.0.0/16", IsolatedGateway, true)}, closed: "[]", pinged: "[]"},
		"host bits":            {networks: []Network{network("a", "2001:db8::1/64", ModeNAT, false)}, closed: "[2001:db8::/64]", pinged: "[]"},
		"on a LAN's bridge":    {networks: []Network{network("a", "10.1.0.0/16", Routed, false)}, uplink: "a", closed: "[]", pinged: "[]"},
		"within another": {
			networks: []Network{
				network("b", "10.1.2.0/24", ModeNAT, false), network("c", "10.2.0.0/16", ModeNAT, false),
				network("a", "10.1.0.0/16", ModeNAT, false), network("d", "10.1.0.0/16", ModeNAT, false),
			},
			closed: "[10.1.0.0/16 10.2.0.0/16]", pinged: "[]",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, a := State{Networks: c.networks}, Around{Uplinks: map[string]bool{c.uplink: true}}
			if got := fmt.Sprint(s.Unroutable(a)); got != c.closed {
				t.Errorf("Unroutable: %s, want %s", got, c.closed)
			}
			if got := fmt.Sprint(s.Pinged(a)); got != c.pinged {
				t.Errorf("Pinged: %s, want %s", got, c.pinged)
			}
		})
	}
}
