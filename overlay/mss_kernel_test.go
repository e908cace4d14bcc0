//go:build kernel

package overlay

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"
)

// large is more than any first window of TCP's.
const large = 300_000

// serveLarge sends that much to whoever connects to port 7 of the thread's
// namespace, and takes as much.
func serveLarge(t testing.TB) {
	t.Helper()
	l, err := net.Listen("tcp", ":7")
	must(t, err)
	t.Cleanup(func() { l.Close() })
	each(l, func(c net.Conn) {
		c.SetDeadline(time.Now().Add(awaited))
		if _, err := c.Write(make([]byte, large)); err != nil {
			return
		}
		if n, err := io.CopyN(io.Discard, c, large); err == nil && n == large {
			c.Write([]byte("!"))
		}
	})
}

// both takes what serveLarge sends, and sends as much.
func both(to netip.Addr, patience time.Duration) error {
	c, err := net.DialTimeout("tcp", netip.AddrPortFrom(to, 7).String(), patience)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	if _, err := io.CopyN(io.Discard, c, large); err != nil {
		return errors.Join(errors.New("while it comes"), err)
	}
	if _, err := c.Write(make([]byte, large)); err != nil {
		return errors.Join(errors.New("while it goes"), err)
	}
	_, err = c.Read(make([]byte, 1))
	return err
}

// A host's way out takes less than its containers' interfaces, and nobody is told:
// large transfers go all the same, in both directions.
func TestSmallUplink(t *testing.T) {
	l := newLab(t, 1, false, nil, false)
	h := l.hosts[0]
	c, outside := h.attach(1), l.plug(98)
	within(t, outside, func() {
		run(t, "ip", "link", "set", "eth0", "gso_max_segs", "1") // or what is too large passes a veth pair
		serveLarge(t)
	})
	h.do(func() {
		run(t, "ip", "link", "set", "eth0", "mtu", "1300")
		run(t, "nft", `add table inet silent; add chain inet silent out { type filter hook output priority 0; };
			add rule inet silent out icmp type destination-unreachable drop; add rule inet silent out icmpv6 type packet-too-big drop`)
	})
	world := []netip.Addr{netip.MustParseAddr("192.0.2.99"), netip.MustParseAddr("2001:db8::99")}
	c.do(func() {
		for _, ip := range world {
			if err := both(ip, awaited); err != nil {
				t.Errorf("a large transfer from and to %s: %v", ip, err)
			}
		}
	})
	h.do(func() { run(t, "nft", "delete", "table", "inet", tableName) })
	c.do(func() {
		for _, ip := range world {
			if both(ip, time.Second) == nil {
				t.Errorf("without the table it goes, too, with %s: the test shows nothing", ip)
			}
		}
	})
}
