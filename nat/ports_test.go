package nat

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

var loopback = netip.MustParseAddr("127.0.0.1")

// free returns a port that nobody has at the moment.
func free(t *testing.T) uint16 {
	t.Helper()
	p, err := freePort(unix.IPPROTO_TCP, loopback)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// freeRange returns the first of n adjacent ports that nobody has.
func freeRange(t *testing.T, n uint16) uint16 {
	t.Helper()
	for range 100 {
		p := free(t)
		if p > 60000 {
			continue
		}
		taken := false
		for i := range n {
			fd, err := bind(newKey(unix.IPPROTO_TCP, loopback, p+i), false)
			if taken = err != nil; taken {
				break
			}
			unix.Close(fd)
		}
		if !taken {
			return p
		}
	}
	t.Fatal("no free range of ports")
	return 0
}

func newTestPorts(t *testing.T) *Ports {
	t.Helper()
	p := NewPorts(nil, nil)
	t.Cleanup(func() { p.Close() })
	return p
}

func tcp(ip string, first, last uint16) Request {
	return Request{Proto: unix.IPPROTO_TCP, HostIPs: []netip.Addr{netip.MustParseAddr(ip)}, First: first, Last: last}
}

func reserve(t *testing.T, p *Ports, owner string, want ...Request) []uint16 {
	t.Helper()
	got, err := p.Reserve(t.Context(), owner, want)
	if err != nil {
		t.Fatalf("Reserve for %s: %v", owner, err)
	}
	if len(got) != len(want) {
		t.Fatalf("Reserve for %s: %d ports for %d requests", owner, len(got), len(want))
	}
	return got
}

func refused(t *testing.T, p *Ports, owner, want string, requests ...Request) {
	t.Helper()
	_, err := p.Reserve(t.Context(), owner, requests)
	if err == nil || err.Error() != want {
		t.Errorf("Reserve for %s: %v, want %q", owner, err, want)
	}
}

// listens reports whether a process could listen on a port.
func listens(port uint16) bool {
	l, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return false
	}
	l.Close()
	return true
}

func TestReserveConflicts(t *testing.T) {
	p := newTestPorts(t)
	port := free(t)
	reserve(t, p, "one", tcp("127.0.0.1", port, port))
	if listens(port) { // Go's listeners set SO_REUSEADDR
		t.Error("a process listens on a reserved port")
	}
	line := fmt.Sprintf("Bind for 127.0.0.1:%d failed: port is already allocated", port)
	refused(t, p, "two", line, tcp("127.0.0.1", port, port))
	refused(t, p, "two", fmt.Sprintf("Bind for 0.0.0.0:%d failed: port is already allocated", port), tcp("0.0.0.0", port, 0))
	_, err := p.Reserve(t.Context(), "two", []Request{tcp("127.0.0.1", port, port)})
	if !errors.Is(err, ErrAllocated) {
		t.Errorf("%v is not ErrAllocated", err)
	}
	udp := Request{Proto: unix.IPPROTO_UDP, HostIPs: []netip.Addr{loopback}, First: port}
	reserve(t, p, "two", udp) // another protocol
	refused(t, p, "three", line, udp)

	p.Release("one")
	if !listens(port) {
		t.Error("a released port is still taken")
	}
	p.Release("one")
}

func TestReserveConflictWithProcess(t *testing.T) {
	p := newTestPorts(t)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	taken := uint16(l.Addr().(*net.TCPAddr).Port)
	refused(t, p, "one", fmt.Sprintf("Bind for 0.0.0.0:%d failed: port is already allocated", taken), tcp("0.0.0.0", taken, taken))
	taken = uint16(c.LocalAddr().(*net.UDPAddr).Port)
	refused(t, p, "one", fmt.Sprintf("Bind for 0.0.0.0:%d failed: port is already allocated", taken),
		Request{Proto: unix.IPPROTO_UDP, HostIPs: []netip.Addr{netip.IPv4Unspecified()}, First: taken})
	refused(t, p, "one", "Bind for 192.0.2.9:4711 failed: cannot assign requested address", tcp("192.0.2.9", 4711, 0))
	if held := p.Held(); len(held) != 0 {
		t.Errorf("refused requests hold %v", held)
	}
}

// TestReserveOverTimeWait: a connection in TIME_WAIT doesn't keep its port.
func TestReserveOverTimeWait(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := uint16(l.Addr().(*net.TCPAddr).Port)
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err == nil {
			c.Close() // closed first on this side: TIME_WAIT is here
		}
	}()
	c, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	<-done
	_, _ = c.Read(make([]byte, 1))
	c.Close()
	l.Close()
	reserve(t, newTestPorts(t), "one", tcp("127.0.0.1", port, port))
}

func TestReserveAllOrNothing(t *testing.T) {
	p := newTestPorts(t)
	first := freeRange(t, 3)
	reserve(t, p, "other", tcp("127.0.0.1", first+2, 0))
	had := reserve(t, p, "one", tcp("127.0.0.1", first, 0))
	_, err := p.Reserve(t.Context(), "one", []Request{tcp("127.0.0.1", first+1, 0), tcp("127.0.0.1", first+2, 0)})
	if !errors.Is(err, ErrAllocated) {
		t.Fatalf("Reserve: %v, want ErrAllocated", err)
	}
	if !listens(first + 1) {
		t.Error("a failed Reserve keeps a port that it took")
	}
	if listens(had[0]) {
		t.Error("a failed Reserve gave back what the owner had")
	}
}

func TestReserveIdempotent(t *testing.T) {
	p := newTestPorts(t)
	first := freeRange(t, 4)
	want := []Request{
		tcp("127.0.0.1", 0, 0), tcp("127.0.0.1", first, first+3), tcp("127.0.0.1", 0, 0),
		tcp("127.0.0.1", first, first+3), tcp("127.0.0.1", first, 0),
	}
	got := reserve(t, p, "one", want...)
	if got[1] != first+1 || got[3] != first+2 || got[4] != first {
		t.Errorf("Reserve: %v: want the port without a choice to be settled first", got)
	}
	if again := reserve(t, p, "one", want...); !slices.Equal(again, got) {
		t.Errorf("the same requests got %v, then %v", got, again)
	}
	fewer := reserve(t, p, "one", want[2], want[4])
	if fewer[1] != first {
		t.Errorf("a changed list got %v, had %v", fewer, got)
	}
	if len(p.Held()) != 2 {
		t.Errorf("a shorter list holds %v", p.Held())
	}
	reserve(t, p, "one")
	if len(p.Held()) != 0 {
		t.Errorf("an empty list holds %v", p.Held())
	}
}

// TestReserveWidens: an owner's own old socket doesn't stand in its way, and is
// back when the change fails.
func TestReserveWidens(t *testing.T) {
	p := newTestPorts(t)
	first := freeRange(t, 2)
	reserve(t, p, "other", tcp("127.0.0.1", first+1, 0))
	reserve(t, p, "one", tcp("127.0.0.1", first, 0))
	_, err := p.Reserve(t.Context(), "one", []Request{tcp("0.0.0.0", first, 0), tcp("0.0.0.0", first+1, 0)})
	if !errors.Is(err, ErrAllocated) {
		t.Fatalf("Reserve: %v, want ErrAllocated", err)
	}
	if listens(first) {
		t.Error("the port that made way was not taken back")
	}
	reserve(t, p, "one", tcp("0.0.0.0", first, 0))
	reserve(t, p, "one", tcp("127.0.0.1", first, 0))
	refused(t, p, "one", fmt.Sprintf("Bind for 0.0.0.0:%d failed: port is already allocated", first),
		tcp("127.0.0.1", first, 0), tcp("0.0.0.0", first, 0))
}

func TestReserveOnSeveralAddresses(t *testing.T) {
	p := newTestPorts(t)
	both := Request{Proto: unix.IPPROTO_TCP, HostIPs: []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}}
	got := reserve(t, p, "one", both, both)
	if got[0] == got[1] || len(p.Held()) != 4 {
		t.Errorf("two ephemeral ports in two families: %v, held %v", got, p.Held())
	}
	if again := reserve(t, p, "one", both, both); !slices.Equal(again, got) {
		t.Errorf("the same requests got %v, then %v", got, again)
	}
}

func TestReserveEphemeralRange(t *testing.T) {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		t.Fatal(err)
	}
	first, last, err := parseRange(strings.Join(strings.Fields(string(text)), "-"))
	if err != nil {
		t.Fatal(err)
	}
	p := newTestPorts(t)
	for _, proto := range []uint8{unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_SCTP} {
		got := reserve(t, p, fmt.Sprint(proto), Request{Proto: proto, HostIPs: []netip.Addr{loopback}})
		if got[0] < first || got[0] > last {
			t.Errorf("protocol %d: ephemeral port %d, want %d-%d", proto, got[0], first, last)
		}
	}
}

func TestReserveRange(t *testing.T) {
	p := newTestPorts(t)
	first := freeRange(t, 2)
	for i := range uint16(2) {
		if got := reserve(t, p, fmt.Sprint(i), tcp("127.0.0.1", first, first+1)); got[0] != first+i {
			t.Errorf("endpoint %d got %d of %d-%d", i, got[0], first, first+1)
		}
	}
	refused(t, p, "third", fmt.Sprintf("Bind for 127.0.0.1:%d-%d failed: port is already allocated", first, first+1),
		tcp("127.0.0.1", first, first+1))
}

// TestReserveSCTP: the table alone knows of sctp ports.
func TestReserveSCTP(t *testing.T) {
	p := newTestPorts(t)
	sctp := Request{Proto: unix.IPPROTO_SCTP, HostIPs: []netip.Addr{loopback}, First: 7000}
	reserve(t, p, "one", sctp)
	refused(t, p, "two", "Bind for 127.0.0.1:7000 failed: port is already allocated", sctp)
	sctp.HostIPs = []netip.Addr{netip.IPv4Unspecified()}
	refused(t, p, "two", "Bind for 0.0.0.0:7000 failed: port is already allocated", sctp)
	sctp.HostIPs = []netip.Addr{netip.IPv6Unspecified()}
	reserve(t, p, "two", sctp)
}

func TestReserveRefusals(t *testing.T) {
	p := newTestPorts(t)
	for _, c := range []struct {
		r    Request
		want string
	}{
		{Request{Proto: 1, HostIPs: []netip.Addr{loopback}, First: 80}, "ports: protocol 1: want tcp, udp or sctp"},
		{Request{Proto: 6, First: 80}, "ports: port 80: no host address"},
		{Request{Proto: 6, HostIPs: []netip.Addr{{}}, First: 80}, "ports: port 80: no host address"},
		{Request{Proto: 6, HostIPs: []netip.Addr{loopback}, First: 81, Last: 80}, "ports: range 81-80: ends before it begins"},
	} {
		refused(t, p, "one", c.want, c.r)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Reserve(ctx, "one", []Request{tcp("127.0.0.1", 0, 0)}); !errors.Is(err, context.Canceled) {
		t.Errorf("Reserve after its deadline: %v", err)
	}
}

// TestRestore: after a restart the owner has its ports again, also on an
// address that the host doesn't have yet; what a process took meanwhile is
// reported and stays the owner's.
func TestRestore(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	taken := uint16(l.Addr().(*net.TCPAddr).Port)
	port := free(t)
	p := newTestPorts(t)
	held := []Held{
		{Proto: 6, HostIP: loopback, Port: port},
		{Proto: 6, HostIP: loopback, Port: taken},
		{Proto: 6, HostIP: netip.MustParseAddr("192.0.2.9"), Port: port},
		{Proto: 6, HostIP: netip.MustParseAddr("2001:db8::9"), Port: port},
	}
	want := fmt.Sprintf("Bind for 127.0.0.1:%d failed: port is already allocated", taken)
	for range 2 {
		if err = p.Restore("one", held); err == nil || err.Error() != want {
			t.Fatalf("Restore: %v, want %q", err, want)
		}
		if len(p.Held()) != len(held) {
			t.Fatalf("held after Restore: %v", p.Held())
		}
	}
	if listens(port) {
		t.Error("a restored port is free")
	}
	l.Close()
	refused(t, p, "two", want, tcp("127.0.0.1", taken, 0)) // it is still the first one's
	if err = p.Restore("one", held); err != nil {
		t.Errorf("Restore when the port is free again: %v", err)
	}
	if got := reserve(t, p, "one", tcp("127.0.0.1", 0, 0)); got[0] != port {
		t.Errorf("an ephemeral port after Restore: %d, want the restored %d", got[0], port)
	}
}

func BenchmarkReserve(b *testing.B) {
	for _, present := range []int{0, 1000, 10000} {
		b.Run(fmt.Sprintf("present=%d", present), func(b *testing.B) {
			p := NewPorts(nil, nil)
			defer p.Close()
			for i := range present {
				r := []Request{{Proto: unix.IPPROTO_SCTP, HostIPs: []netip.Addr{loopback}, First: uint16(2000 + i)}}
				if _, err := p.Reserve(b.Context(), fmt.Sprint(i), r); err != nil {
					b.Fatal(err)
				}
			}
			r := []Request{{Proto: unix.IPPROTO_TCP, HostIPs: []netip.Addr{loopback}}}
			for b.Loop() {
				if _, err := p.Reserve(b.Context(), "one", r); err != nil {
					b.Fatal(err)
				}
				p.Release("one")
			}
		})
	}
}
