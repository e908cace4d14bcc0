//go:build kernel

package link

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestProbe asks a LAN who has addresses: by a bridge and by a network card.
func TestProbe(t *testing.T) {
	free, free6 := netip.MustParseAddr("10.9.0.77"), netip.MustParseAddr("fd09::77")
	taken, taken6 := netip.MustParseAddr("10.9.0.50"), netip.MustParseAddr("fd09::50")
	for _, on := range []string{"br0", "port0"} {
		t.Run(on, func(t *testing.T) {
			c := withLAN(t)
			if on == "port0" {
				run(t, "ip", "link", "set", "port0", "nomaster")
			}
			machine, _ := newSandbox(t)
			run(t, "ip", "link", "set", "lan0", "netns", machine)
			inside(t, machine, func() {
				for _, do := range []string{
					"ip link set lan0 address 02:aa:00:00:00:50 up", "ip addr add 10.9.0.50/24 dev lan0", "ip addr add fd09::50/64 dev lan0 nodad",
				} {
					run(t, strings.Fields(do)...)
				}
			})
			forward(t, c)
			for _, ask := range []struct {
				ips    []netip.Addr
				holder netip.Addr
			}{
				{[]netip.Addr{taken, taken6}, taken}, {[]netip.Addr{free, taken6}, taken6}, {[]netip.Addr{free, free6}, netip.Addr{}}, {nil, netip.Addr{}},
			} {
				ip, by, err := c.Probe(t.Context(), Segment{Link: on}, mac("02:00:00:00:00:01"), ask.ips...)
				must(t, err)
				if ip != ask.holder && !(ask.holder == taken && ip == taken6) {
					t.Errorf("%v: %v has it (%s), want %v", ask.ips, ip, by, ask.holder)
				}
				if ip.IsValid() && by.String() != "02:aa:00:00:00:50" {
					t.Errorf("%v: held by %s", ip, by)
				}
			}
			// The same machine, which got the address already.
			if ip, _, err := c.Probe(t.Context(), Segment{Link: on}, mac("02:aa:00:00:00:50"), taken); err != nil || ip.IsValid() {
				t.Errorf("its own address is a conflict: %v %v", ip, err)
			}
		})
	}
}

// forward waits until frames get through: a bridge's port forwards once its
// carrier is seen.
func forward(t *testing.T, c *Conn) {
	t.Helper()
	link := "br0"
	if strings.Contains(run(t, "ip", "link", "show", "port0"), "master") == false {
		link = "port0"
	}
	for range 100 {
		ip, _, err := c.Probe(t.Context(), Segment{Link: link}, nil, netip.MustParseAddr("10.9.0.50"))
		must(t, err)
		if ip.IsValid() {
			return
		}
	}
	t.Fatal("nothing gets through")
}

// TestProbeWithoutLAN: where nobody can be asked, nobody answers.
func TestProbeWithoutLAN(t *testing.T) {
	c := withLAN(t)
	ip := netip.MustParseAddr("10.9.0.77")
	run(t, "ip", "link", "set", "br0", "down")
	if got, _, err := c.Probe(t.Context(), Segment{Link: "br0"}, nil, ip); err != nil || got.IsValid() {
		t.Errorf("a bridge that is down: %v %v", got, err)
	}
	if _, _, err := c.Probe(t.Context(), Segment{Link: "br9"}, nil, ip); !errors.Is(err, unix.ENODEV) {
		t.Errorf("a bridge that isn't there: %v, want ENODEV", err)
	}
	if _, _, err := c.Probe(t.Context(), Segment{Link: "br0", VLAN: 40}, nil, ip); !errors.Is(err, unix.EOPNOTSUPP) {
		t.Errorf("a VLAN of a bridge that doesn't know them: %v, want EOPNOTSUPP", err)
	}
	if got := names(t, c); len(got) != 3 {
		t.Errorf("left %v", got)
	}
}

// TestClaimed: what counts as having an address.
func TestClaimed(t *testing.T) {
	m, ip, ip6 := mac("02:aa:00:00:00:50"), netip.MustParseAddr("10.9.0.50"), netip.MustParseAddr("fd09::50")
	other, other6 := netip.MustParseAddr("10.9.0.51"), netip.MustParseAddr("fd09::51")
	frame := func(kind string, payload []byte) []byte {
		return append(append(make([]byte, 6), m...), append([]byte(kind), payload...)...)
	}
	solicit := neighbourSolicitation(m, ip6)
	solicitFrom := append([]byte(nil), solicit...)
	copy(solicitFrom[14+8:], other6.AsSlice())
	for what, c := range map[string]struct {
		frame []byte
		want  netip.Addr
	}{
		"reply":                    {frame("\x08\x06", arpReply(ip, m, other, m)), ip},
		"announcement":             {arpAnnouncement(m, ip), ip},
		"another's probe":          {arpProbe(m, ip), ip},
		"a request for it":         {frame("\x08\x06", arpReply(other, m, ip, m)), netip.Addr{}},
		"advertisement":            {neighbourAdvertisement(m, ip6), ip6},
		"another's detection":      {solicit, ip6},
		"a solicitation of it":     {solicitFrom, netip.Addr{}},
		"advertisement of another": {neighbourAdvertisement(m, other6), netip.Addr{}},
		"cut short":                {arpAnnouncement(m, ip)[:30], netip.Addr{}},
		"nothing":                  {nil, netip.Addr{}},
	} {
		got, by := claimed(c.frame, []netip.Addr{ip, ip6})
		if got != c.want || got.IsValid() && by.String() != m.String() {
			t.Errorf("%s: %v by %s, want %v", what, got, by, c.want)
		}
	}
}
