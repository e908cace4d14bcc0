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
		carried     bool
	}{
		{6, "0.0.0.0", "172.20.0.2", "", "", false},
		{6, "::", "172.20.0.2", "", ProxiedAll, false},
		{17, "2001:db8::1", "172.20.0.2", "", ProxiedAll, false},
		{6, "::", "172.20.0.2", "unknown", "", false},
		{6, "::", "fd00::2", "", ProxiedLocal, false},
		{132, "::", "fd00::2", "", "", false},
		{6, "", "fd00::2", "", "", false}, // routed
		{6, "0.0.0.0", "172.20.0.2", "", ProxiedAll, true},
		{17, "::", "fd00::2", "", ProxiedAll, true},
		{6, "0.0.0.0", "172.20.0.2", "unknown", "", true},
	} {
		p := store.PortBinding{Proto: c.proto, IP: netip.MustParseAddr(c.ip)}
		if c.host != "" {
			p.HostIP = netip.MustParseAddr(c.host)
		}
		if got := proxied(p, c.takenBy, c.carried); got != c.is {
			t.Errorf("%+v: %q", c, got)
		}
	}
}
