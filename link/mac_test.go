package link

import (
	"net"
	"testing"
)

func mac(s string) net.HardwareAddr {
	m, err := net.ParseMAC(s)
	if err != nil {
		panic(err)
	}
	return m
}

func TestRandomMAC(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		m := RandomMAC()
		if len(m) != 6 || m[0]&1 != 0 || m[0]&2 == 0 || seen[m.String()] {
			t.Fatalf("%s: want a new, unicast, locally administered address", m)
		}
		seen[m.String()] = true
	}
}
