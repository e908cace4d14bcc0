package driver

import (
	"net/netip"
	"strings"
	"testing"

	"fairway/store"
)

func TestPortsText(t *testing.T) {
	addr := netip.MustParseAddr
	one := store.PortBinding{Proto: 6, HostIP: addr("0.0.0.0"), HostPort: 80, IP: addr("10.1.0.2"), Port: 8080}
	six := store.PortBinding{Proto: 17, HostIP: addr("::"), HostPort: 53, IP: addr("fd00::2"), Port: 53}
	own := store.PortBinding{Proto: 6, HostPort: 81, IP: addr("192.0.2.7"), Port: 80}
	routed := store.PortBinding{Proto: 6, IP: addr("10.1.0.2"), Port: 8080}
	all := []store.PortBinding{one, six, own, routed}
	if got, want := portsText(all, nil), "0.0.0.0:80/tcp [::]:53/udp 192.0.2.7:81/tcp"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := portsText(all, setOf(all[:2])); got != "192.0.2.7:81/tcp" {
		t.Errorf("what is new: %q", got)
	}
	many := make([]store.PortBinding, 1000)
	for i := range many {
		many[i] = one
		many[i].HostPort += uint16(i)
	}
	if got := portsText(many, nil); strings.Count(got, " ") != portsAtMost || !strings.HasSuffix(got, "…") {
		t.Errorf("many: %q", got)
	}
}
