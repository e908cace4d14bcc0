//go:build kernel

package firewall

import (
	"context"
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

// benchNftables calls f in a namespace of its own with a firewall of nftables that
// holds a network.
func benchNftables(b *testing.B, f func(fw firewall, a nat.Network)) {
	host := newNamespace(b, "host")
	a, _ := networks()
	host.do(func() {
		fw, err := viaNftables.make(b.Context(), "bench", nil)
		if err == nil {
			err = fw.Apply(b.Context(), nat.State{Networks: []nat.Network{a}})
		}
		if err != nil {
			b.Error(err)
			return
		}
		defer fw.Close()
		f(fw, a)
	})
}

// manyPorts returns an endpoint that publishes n ports, from first on.
func manyPorts(id string, network nat.Network, first, n, shift int) nat.State {
	e := nat.Endpoint{ID: id, Link: "fwa", Network: network.ID}
	target := netip.MustParseAddr("172.30.1.2")
	for p := first; p < first+n; p++ {
		e.Ports = append(e.Ports, nat.Port{Proto: 6, HostPort: uint16(p), Target: target, TargetPort: uint16(p + shift)})
	}
	return nat.State{Endpoints: []nat.Endpoint{e}}
}

// BenchmarkNftablesMany: one endpoint with many ports, applied and removed:
// single ports, which take an element each, and a range.
func BenchmarkNftablesMany(b *testing.B) {
	for _, c := range []struct {
		name     string
		n, shift int
	}{{"1", 1, 1}, {"100", 100, 1}, {"1000", 1000, 1}, {"10000", 10000, 1}, {"range=10000", 10000, 0}} {
		for _, remove := range []bool{false, true} {
			name := "apply/"
			if remove {
				name = "remove/"
			}
			b.Run(name+c.name, func(b *testing.B) {
				benchNftables(b, func(fw firewall, a nat.Network) {
					s := manyPorts("e1e1e1e1e1e1", a, 20000, c.n, c.shift)
					for b.Loop() {
						for _, step := range []struct {
							timed bool
							do    func(context.Context, nat.State) error
						}{{!remove, fw.Apply}, {remove, fw.Remove}} {
							if !step.timed {
								b.StopTimer()
							}
							if err := step.do(b.Context(), s); err != nil {
								b.Error(err)
							}
							b.StartTimer()
						}
					}
				})
			})
		}
	}
}

// BenchmarkNftablesOneMore: one endpoint's port added and removed beside
// others: as long with 10,000 as with none.
func BenchmarkNftablesOneMore(b *testing.B) {
	for _, present := range []int{0, 1000, 10000} {
		b.Run(fmt.Sprintf("present=%d", present), func(b *testing.B) {
			benchNftables(b, func(fw firewall, a nat.Network) {
				if err := fw.Apply(b.Context(), manyPorts("e1e1e1e1e1e1", a, 20000, present, 1)); err != nil {
					b.Error(err)
				}
				one := manyPorts("e2e2e2e2e2e2", a, 80, 1, 0)
				for b.Loop() {
					if err := fw.Apply(b.Context(), one); err != nil {
						b.Error(err)
					}
					if err := fw.Remove(b.Context(), one); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

// BenchmarkNftablesReconcile: nothing to repair.
func BenchmarkNftablesReconcile(b *testing.B) {
	for _, present := range []int{0, 10000} {
		b.Run(fmt.Sprintf("present=%d", present), func(b *testing.B) {
			benchNftables(b, func(fw firewall, a nat.Network) {
				s := manyPorts("e1e1e1e1e1e1", a, 20000, present, 1)
				s.Networks = []nat.Network{a}
				for b.Loop() {
					if _, err := fw.Reconcile(b.Context(), s); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}
