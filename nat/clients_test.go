package nat

import (
	"net/netip"
	"strings"
	"testing"
)

func TestParseClients(t *testing.T) {
	for in, want := range map[string]string{
		"all":           "all",
		"loopback":      "loopback",
		"host-firewall": "host-firewall",
		"10.0.0.7":      "10.0.0.7/32",
		"192.0.2.9/24, 10.0.0.0/8,10.1.0.0/16,10.0.0.0/8": "10.0.0.0/8,192.0.2.0/24",
		"iface:wg0 iface:eth0.40,iface:wg0":               "iface:eth0.40,iface:wg0",
		"2001:db8::1,0.0.0.0/0":                           "0.0.0.0/0,2001:db8::1/128",
	} {
		c, err := ParseClients(in)
		if err != nil || c.String() != want {
			t.Errorf("ParseClients(%q) = %s, %v, want %s", in, c, err, want)
		}
		if again, err := ParseClients(c.String()); err != nil || again.String() != want || again.Key() != c.Key() {
			t.Errorf("ParseClients(%q) = %s, %v, want the same again", c, again, err)
		}
	}
	for _, in := range []string{"", ",", "eth0", "iface:", "iface:a b", "10.0.0.0/33", "::ffff:10.0.0.1", "fe80::1%eth0", "all,10.0.0.0/8", "host-firewall,10.0.0.0/8", "10.0.0.0/8 host-firewall", "iface:eth+"} {
		if c, err := ParseClients(in); err == nil {
			t.Errorf("ParseClients(%q) = %s, want an error", in, c)
		}
	}
}

// FuzzParseClients: what is taken can be written and read again.
func FuzzParseClients(f *testing.F) {
	for _, s := range []string{"all", "loopback", "host-firewall", "10.0.0.0/8,iface:eth0", "2001:db8::/32 192.0.2.1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseClients(s)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("%q: more than a line: %q", s, err)
			}
			return
		}
		if again, err := ParseClients(c.String()); err != nil || again.Key() != c.Key() {
			t.Errorf("%q: written as %s and read as %s, %v", s, c, again, err)
		}
		if err := c.check(); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	})
}

func TestAdmit(t *testing.T) {
	for _, c := range []struct {
		clients, from, link string
		want                bool
	}{
		{"all", "192.0.2.9", "", true},
		{"loopback", "::1", "lo", true},
		{"loopback", "192.0.2.9", "eth0", false},
		{"loopback", "::1", "", false},               // who says so?
		{"host-firewall", "192.0.2.9", "eth0", true}, // INPUT has let it in
		{"192.0.2.0/24,iface:wg0", "192.0.2.9", "eth0", true},
		{"192.0.2.0/24,iface:wg0", "192.0.3.9", "eth0", false},
		{"192.0.2.0/24,iface:wg0", "2001:db8::9", "wg0", true},
	} {
		clients, err := ParseClients(c.clients)
		if err != nil {
			t.Fatal(err)
		}
		if got := clients.Admit(netip.MustParseAddr(c.from), c.link); got != c.want {
			t.Errorf("%s: %s by %q: %t, want %t", c.clients, c.from, c.link, got, c.want)
		}
	}
}
