package admin

import (
	"net/netip"
	"testing"

	"fairway/store"
)

func TestProxied(t *testing.T) {
	for _, c := range []struct {
		proto       uint8
		host, ip    string
		takenBy, is string
	}{
		{6, "0.0.0.0", "172.20.0.2", "", ""},
		{6, "::", "172.20.0.2", "", ProxiedAll},
		{17, "2001:db8::1", "172.20.0.2", "", ProxiedAll},
		{6, "::", "172.20.0.2", "unknown", ""},
		{6, "::", "fd00::2", "", ProxiedLocal},
		{132, "::", "fd00::2", "", ""},
		{6, "", "fd00::2", "", ""}, // routed
	} {
		p := store.PortBinding{Proto: c.proto, IP: netip.MustParseAddr(c.ip)}
		if c.host != "" {
			p.HostIP = netip.MustParseAddr(c.host)
		}
		if got := proxied(p, c.takenBy, false); got != c.is {
			t.Errorf("%+v: %q", c, got)
		}
	}
}
