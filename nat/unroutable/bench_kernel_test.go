//go:build kernel

package unroutable

import (
	"fmt"
	"net/netip"
	"testing"

	"fairway/nat"
)

// BenchmarkNetwork is one more network, made and removed; an endpoint costs
// nothing here.
func BenchmarkNetwork(b *testing.B) {
	for _, present := range []int{0, 100} {
		b.Run(fmt.Sprintf("present=%d", present), func(b *testing.B) {
			host(b)
			network := func(i int) nat.Network {
				return nat.Network{ID: fmt.Sprint(i), Link: fmt.Sprint("fwb", i), Families: []nat.Family{
					{Subnet: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i), 0, 0}), 16), Mode: nat.ModeNAT},
				}}
			}
			table := newTable(b, Options{Options: nat.Options{Instance: "bench"}})
			for i := range present {
				if err := table.Apply(b.Context(), []nat.Network{network(i)}); err != nil {
					b.Fatal(err)
				}
			}
			one := []nat.Network{network(present)}
			for b.Loop() {
				if err := table.Apply(b.Context(), one); err != nil {
					b.Fatal(err)
				}
				if err := table.Remove(b.Context(), one); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
