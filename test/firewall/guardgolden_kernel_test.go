//go:build kernel

package firewall

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fairway/nat"
)

// TestGoldenGuard: what nft(8) lists of the guard's table, as testdata/guard.nft:
// an endpoint, one with a virtual address and its VRRP MAC address, and one with
// networks behind it.
func TestGoldenGuard(t *testing.T) {
	s := newSegment(t)
	ports := s.guarded()
	ports[0].MACs = append(ports[0].MACs, net.HardwareAddr{0, 0, 0x5e, 0, 1, 5})
	ports[0].Addresses = append(ports[0].Addresses, addr(virtualIP))
	ports[1].Prefixes = []netip.Prefix{prefix("10.8.0.0/24"), prefix("fd00:8::/48")}
	s.apply(t, ports...)
	got := stable(s.host.run(t, "nft", "-s", "list", "table", "bridge", "fairway"))
	path := filepath.Join("testdata", "guard.nft")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Error(d)
	}
}

// TestGuardRefuses: a port that the rules would not look at.
func TestGuardRefuses(t *testing.T) {
	s := newSegment(t)
	s.host.do(func() {
		if err := s.guard.Apply(t.Context(), nat.Guarded{Port: "eth0"}); err == nil {
			t.Error("a port of another name was taken: no rule would look at it")
		}
	})
}
