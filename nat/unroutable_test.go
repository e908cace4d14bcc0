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

func TestMarksOf(t *testing.T) {
	for mask, want := range map[uint32]Marks{
		DefaultMask: {Reach: 0x10000000, Carry: 0x20000000},
		0x80000001:  {Reach: 1, Carry: 0x80000000},
		0xf00:       {Reach: 0x700, Carry: 0x800},
		0x100:       {},
		0:           {},
	} {
		got, err := MarksOf(mask)
		if got != want || (err != nil) != (want == Marks{}) || err == nil && got.All() != mask {
			t.Errorf("MarksOf(%#x) = %+v, %v, want %+v", mask, got, err, want)
		}
	}
}
