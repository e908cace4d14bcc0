package proxy

import (
	"io"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// BenchmarkCarry compares what goes through the proxy with what goes straight to
// the container: connections made, used once and ended, and bytes of one.
func BenchmarkCarry(b *testing.B) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				buffer := make([]byte, 1<<16)
				for {
					n, err := c.Read(buffer)
					if err != nil {
						return
					}
					if n < len(buffer) { // bulk isn't answered
						_, _ = c.Write(buffer[:1])
					}
				}
			}()
		}
	}()
	p, err := New(Options{})
	if err != nil {
		b.Fatal(err)
	}
	go func() { _ = p.Run(b.Context()) }()
	var plain net.ListenConfig
	plain.SetMultipathTCP(false) // as nat's sockets are
	f, err := plain.Listen(b.Context(), "tcp6", "[::1]:0")
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	file, err := f.(*net.TCPListener).File()
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	fd := int(file.Fd())
	stop, err := p.Serve(fd, unix.IPPROTO_TCP, netip.MustParseAddrPort(l.Addr().String()))
	if err != nil {
		b.Fatal(err)
	}
	if err = unix.SetNonblock(fd, true); err != nil {
		b.Fatal(err)
	}
	defer stop()
	for name, addr := range map[string]string{"proxied": f.Addr().String(), "direct": l.Addr().String()} {
		b.Run("connections/"+name, func(b *testing.B) {
			for b.Loop() {
				c, err := net.Dial("tcp", addr)
				if err != nil {
					b.Fatal(err)
				}
				if _, err = c.Write([]byte("x")); err == nil {
					_, err = io.ReadFull(c, make([]byte, 1))
				}
				if err != nil {
					b.Fatal(err)
				}
				c.Close()
			}
		})
		b.Run("bulk/"+name, func(b *testing.B) {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			data := make([]byte, 1<<17)
			go func() { _, _ = io.Copy(io.Discard, c) }()
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				if _, err = c.Write(data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
