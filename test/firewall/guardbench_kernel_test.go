//go:build kernel

package firewall

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"

	"fairway/nat"
	"fairway/nat/guard"
)

// BenchmarkGuard is what an attach and its end cost beside the links, with few
// and with many ports present.
func BenchmarkGuard(b *testing.B) {
	for _, present := range []int{1, 100, 1000, 10000} {
		b.Run(fmt.Sprintf("present=%d", present), func(b *testing.B) {
			newNamespace(b, "host").do(func() {
				if err := benchGuard(b, present); err != nil {
					b.Error(err)
				}
			})
		})
	}
}

func benchGuard(b *testing.B, present int) error {
	g, err := guard.New(nat.Options{Instance: "bench"})
	if err != nil {
		return err
	}
	defer g.Close()
	var all []nat.Guarded
	for i := range present {
		all = append(all, guardedPort(i))
	}
	if _, err := g.Reconcile(b.Context(), all); err != nil {
		return err
	}
	one := guardedPort(present)
	for b.Loop() {
		if err == nil {
			err = g.Apply(b.Context(), one)
		}
		if err == nil {
			err = errors.Join(g.Remove(b.Context(), one), g.Sweep(b.Context()))
		}
	}
	return err
}

func guardedPort(i int) nat.Guarded {
	m := binary.BigEndian.AppendUint32([]byte{2, 0}, uint32(i))
	v4, _ := netip.AddrFromSlice(binary.BigEndian.AppendUint32(nil, 10<<24+uint32(i)))
	v6, _ := netip.AddrFromSlice(append(netip.MustParseAddr("fd00::").AsSlice()[:12], m[2:]...))
	return nat.Guarded{Port: fmt.Sprintf("fwv%08x", i), ID: fmt.Sprint(i), MACs: []net.HardwareAddr{m}, Addresses: []netip.Addr{v4, v6}}
}
