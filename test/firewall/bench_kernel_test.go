//go:build kernel

package firewall

import (
	"fmt"
	"net/netip"
	"testing"

	"fairway/nat"
)

// BenchmarkIptablesPublish: one endpoint's port added and removed, beside others.
func BenchmarkIptablesPublish(b *testing.B) {
	for _, flavour := range flavours {
		for _, present := range []int{0, 100, 1000} {
			b.Run(fmt.Sprintf("%s/present=%d", flavour, present), func(b *testing.B) {
				useFlavour(b, flavour)
				host := newNamespace(b, "host")
				a, _ := networks()
				endpoint := func(i int) nat.Endpoint {
					target := netip.AddrFrom4([4]byte{172, 30, byte(i >> 8), byte(i)})
					return nat.Endpoint{ID: fmt.Sprintf("%016d", i), Link: "fwa", Network: a.ID, Ports: []nat.Port{
						{Proto: 6, HostPort: uint16(10000 + i), Target: target, TargetPort: 80},
					}}
				}
				s := nat.State{Networks: []nat.Network{a}}
				for i := range present {
					s.Endpoints = append(s.Endpoints, endpoint(i))
				}
				one := nat.State{Endpoints: []nat.Endpoint{endpoint(present)}}
				host.do(func() {
					fw, err := viaIptables.make(b.Context(), "bench", nil)
					if err != nil {
						b.Error(err)
						return
					}
					if err := fw.Apply(b.Context(), s); err != nil {
						b.Error(err)
						return
					}
					for b.Loop() {
						if err := fw.Apply(b.Context(), one); err != nil {
							b.Error(err)
							return
						}
						if err := fw.Remove(b.Context(), one); err != nil {
							b.Error(err)
							return
						}
					}
				})
			})
		}
	}
}

// BenchmarkIptablesReconcile: nothing to repair.
func BenchmarkIptablesReconcile(b *testing.B) {
	for _, flavour := range flavours {
		b.Run(flavour, func(b *testing.B) {
			useFlavour(b, flavour)
			host := newNamespace(b, "host")
			a, c := networks()
			e, f := endpoints()
			s := nat.State{Networks: []nat.Network{a, c}, Endpoints: []nat.Endpoint{e, f}}
			host.do(func() {
				fw, err := viaIptables.make(b.Context(), "bench", nil)
				for b.Loop() {
					if err == nil {
						_, err = fw.Reconcile(b.Context(), s)
					}
				}
				if err != nil {
					b.Error(err)
				}
			})
		})
	}
}
