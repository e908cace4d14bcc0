//go:build kernel

package firewall

import (
	"io"
	"net"
	"net/netip"
	"testing"

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
	for _, c := range []struct{ name, to string }{{"plain", "192.0.2.1:8099"}, {"carried", "192.0.2.1:8098"}} {
		b.Run("bulk/"+c.name, func(b *testing.B) {
			conn := w.lan.dial(b, c.to)
			defer conn.Close()
			data := make([]byte, 1<<17)
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				if _, err := conn.Write(data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	for _, c := range []struct{ name, to string }{{"plain", "192.0.2.1:8099"}, {"carried", "192.0.2.1:8098"}} {
		b.Run("connections/"+c.name, func(b *testing.B) {
			for b.Loop() {
				conn := w.lan.dial(b, c.to)
				if _, err := conn.Write([]byte("x")); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
					b.Fatal(err)
				}
				conn.Close()
			}
		})
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

// swallow takes all that comes to a port, and answers what is no bulk by a byte.
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
				buffer := make([]byte, 1<<18)
				for {
					k, err := c.Read(buffer)
					if err != nil {
						return
					}
					if k == 1 {
						_, _ = c.Write(buffer[:1])
					}
				}
			}()
		}
	}()
}
