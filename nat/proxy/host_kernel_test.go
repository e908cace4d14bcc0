//go:build kernel

package proxy

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"fairway/nat"
)

// TestNotByOthers: a neighbour who says that he is the host isn't heard; who he
// is, the host and the neighbour himself, is told by the link they come in by.
func TestNotByOthers(t *testing.T) {
	there, to := containerUDP(t) // outside the namespace
	asked := make(chan netip.Addr, 10)
	p := newProxy(t, Options{Allow: func(link string, client, _ netip.Addr) (bool, bool) {
		asked <- client.WithZone(link)
		return true, false
	}})
	runtime.LockOSThread() // never unlocked: the thread ends with the test
	if _, err := netns.New(); err != nil {
		t.Fatalf("network namespace: %v (the kernel tests need root)", err)
	}
	host, neighbour := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
	mac, wire := cable(t, host)
	fd, port := boundUDP(t)
	stop, err := p.Serve(fd, unix.IPPROTO_UDP, to)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()

	inject(t, wire, mac, datagram(host, host, port, "spoof"))
	inject(t, wire, mac, datagram(neighbour, host, port, "other"))
	receives(t, there, "other")
	if got, want := <-asked, neighbour.WithZone("v0"); got != want {
		t.Errorf("a neighbour is %s, want %s", got, want)
	}
	own, _ := boundUDP(t)
	if err = unix.Sendto(own, []byte("own"), 0, &unix.SockaddrInet6{Addr: host.As16(), Port: int(port)}); err != nil {
		t.Fatal(err)
	}
	receives(t, there, "own")
	if got, want := <-asked, host.WithZone("lo"); got != want {
		t.Errorf("the host is %s, want %s", got, want)
	}
}

// cable makes a link v0 with an address, and returns its MAC address and the
// index of its other end.
func cable(t *testing.T, a netip.Addr) (mac net.HardwareAddr, wire int) {
	t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "v0"
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "v1"}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"lo", "v0", "v1"} {
		l, err := netlink.LinkByName(name)
		if err == nil {
			err = netlink.LinkSetUp(l)
		}
		if err != nil {
			t.Fatal(err)
		}
		switch name {
		case "v0":
			mac = l.Attrs().HardwareAddr
			err = netlink.AddrAdd(l, &netlink.Addr{IPNet: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(64, 128)}, Flags: unix.IFA_F_NODAD})
		case "v1":
			wire = l.Attrs().Index
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for range 2000 { // what is sent before the kernel has seen the carrier is lost
		l, err := netlink.LinkByName("v1")
		if err != nil {
			t.Fatal(err)
		}
		if l.Attrs().OperState == netlink.OperUp {
			return mac, wire
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("v1 has no carrier")
	return mac, wire
}

func boundUDP(t *testing.T) (fd int, port uint16) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		t.Cleanup(func() { unix.Close(fd) })
		err = unix.Bind(fd, &unix.SockaddrInet6{})
	}
	if err != nil {
		t.Fatal(err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	a, _ := addressOf(sa)
	return fd, a.Port()
}

// inject puts an IPv6 packet on the wire.
func inject(t *testing.T, wire int, mac net.HardwareAddr, packet []byte) {
	t.Helper()
	const ipv6 = unix.ETH_P_IPV6<<8&0xff00 | unix.ETH_P_IPV6>>8 // in the network's order
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	to := &unix.SockaddrLinklayer{Protocol: ipv6, Ifindex: wire, Halen: 6}
	copy(to.Addr[:], mac)
	if err = unix.Sendto(fd, packet, 0, to); err != nil {
		t.Fatal(err)
	}
}

// datagram returns an IPv6 packet: RFC 8200 sections 3 and 8.1, RFC 768.
func datagram(from, to netip.Addr, port uint16, text string) []byte {
	be := binary.BigEndian
	udp := be.AppendUint16(nil, 40000)
	udp = be.AppendUint16(udp, port)
	udp = be.AppendUint16(udp, uint16(8+len(text)))
	udp = append(append(udp, 0, 0), text...)
	ips := slices.Concat(from.AsSlice(), to.AsSlice())
	sum := uint32(len(udp) + unix.IPPROTO_UDP)
	for _, b := range [][]byte{ips, udp} {
		for i, x := range b {
			sum += uint32(x) << (8 * (1 - i%2))
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	be.PutUint16(udp[6:], ^uint16(sum))
	header := []byte{6 << 4, 0, 0, 0, 0, byte(len(udp)), unix.IPPROTO_UDP, 64}
	return slices.Concat(header, ips, udp)
}

// TestNotIPv4: a socket of both families carries nothing of IPv4, also where the
// firewall's rules are gone.
func TestNotIPv4(t *testing.T) {
	p := newProxy(t, Options{Allow: func(_ string, client, _ netip.Addr) (bool, bool) {
		t.Errorf("asked about %s", client)
		return false, false
	}})
	runtime.LockOSThread() // never unlocked: the thread ends with the test
	if _, err := netns.New(); err != nil {
		t.Fatalf("network namespace: %v (the kernel tests need root)", err)
	}
	cable(t, netip.MustParseAddr("2001:db8::1"))
	ports := nat.NewPorts(nil, p)
	defer ports.Close()
	to := netip.MustParseAddrPort("127.0.0.1:1")
	for _, proto := range []uint8{unix.IPPROTO_TCP, unix.IPPROTO_UDP} {
		_, err := ports.Reserve(t.Context(), nat.ProtoName(proto), []nat.Request{{
			Proto: proto, HostIPs: []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}, First: 8080,
			Targets: []netip.AddrPort{{}, to},
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	c, err := net.Dial("tcp4", "127.0.0.1:8080")
	if err == nil {
		isReset(t, patient(t, c))
	} else if !errors.Is(err, unix.ECONNRESET) {
		t.Error(err)
	}
	own, _ := boundUDP(t)
	v4 := &unix.SockaddrInet6{Addr: netip.MustParseAddr("::ffff:127.0.0.1").As16(), Port: 8080}
	if err = unix.Sendto(own, []byte("x"), 0, v4); err != nil {
		t.Fatal(err)
	}
	ports.Close() // waits for what is under way
	if n := p.sessions.n.Load(); n != 0 {
		t.Errorf("%d sessions", n)
	}
}
