//go:build kernel

package firewall

import (
	"io"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"fairway/nat"
)

// BenchmarkHostFirewall compares a port that the daemon carries under the
// client's address (publish=host-firewall) with a plain one, which the kernel
// translates: bytes of one connection, and connections made, used once and ended,
// from a neighbour on the LAN to containers of two bridges.
func BenchmarkHostFirewall(b *testing.B) {
	w := newWorld(b, viaNftables)
	fw := w.firewall(b)
	a, other := networks()
	a1, b1 := endpoints()
	a.Clients = nat.Clients{HostFirewall: true}
	a1.Ports, a1.Carried = nil, []netip.Addr{a1.IPv4}
	b1.Ports = []nat.Port{port(6, "", 8099, "172.30.2.2:99")}
	fw.apply(b, nat.State{Networks: []nat.Network{a, other}, Endpoints: []nat.Endpoint{a1, b1}})
	w.carrier(b).publish(b, "a1", "tcp=0.0.0.0:8098=172.30.1.2:99")
	for _, n := range []*namespace{w.a1, w.b1} {
		n.swallow(b, ":99")
	}
	const plain, carried = "192.0.2.1:8099", "192.0.2.1:8098"
	b.Run("bulk", func(b *testing.B) {
		conns := map[string]net.Conn{plain: w.lan.dial(b, plain), carried: w.lan.dial(b, carried)}
		data := make([]byte, 1<<17)
		inTurns(b, "MB/s", plain, carried, func(to string) float64 {
			began := time.Now()
			for range bulk / len(data) {
				if _, err := conns[to].Write(data); err != nil {
					b.Fatal(err)
				}
			}
			answer(b, conns[to])
			return bulk / 1e6 / time.Since(began).Seconds()
		})
		for _, c := range conns {
			c.Close()
		}
	})
	b.Run("connections", func(b *testing.B) {
		inTurns(b, "connections/s", plain, carried, func(to string) float64 {
			const some = 20
			began := time.Now()
			for range some {
				conn := w.lan.dial(b, to)
				if _, err := conn.Write([]byte("x")); err != nil {
					b.Fatal(err)
				}
				answer(b, conn)
				conn.Close()
			}
			return some / time.Since(began).Seconds()
		})
	})
}

// bulk is after how many bytes of a connection its other end answers.
const bulk = 32 << 20

// inTurns reports the medians of what measure says of both, and their ratio.
func inTurns(b *testing.B, unit, plain, carried string, measure func(to string) float64) {
	got := map[string][]float64{}
	for b.Loop() {
		for _, to := range []string{plain, carried} {
			got[to] = append(got[to], measure(to))
		}
	}
	median := func(of string) float64 {
		slices.Sort(got[of])
		return got[of][len(got[of])/2]
	}
	b.ReportMetric(0, "ns/op") // says nothing
	b.ReportMetric(median(plain), unit+"-plain")
	b.ReportMetric(median(carried), unit+"-carried")
	b.ReportMetric(median(carried)/median(plain), "ratio")
}

func answer(b *testing.B, c net.Conn) {
	b.Helper()
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		b.Fatal(err)
	}
}

func (n *namespace) dial(b *testing.B, to string) (c net.Conn) {
	b.Helper()
	var err error
	n.do(func() { c, err = net.Dial("tcp", to) })
	if err != nil {
		b.Fatal(err)
	}
	return c
}

// swallow takes all that comes to a port, and answers by a byte what comes alone,
// and each bulk.
func (n *namespace) swallow(b *testing.B, address string) {
	b.Helper()
	var l net.Listener
	var err error
	n.do(func() { l, err = net.Listen("tcp", address) })
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				buffer, got := make([]byte, 1<<18), 0
				for {
					k, err := c.Read(buffer)
					if err != nil {
						return
					}
					if got += k; got == 1 || got == bulk {
						got = 0
						_, _ = c.Write(buffer[:1])
					}
				}
			}()
		}
	}()
}
