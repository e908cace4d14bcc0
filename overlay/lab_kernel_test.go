//go:build kernel

package overlay

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netns"

	"fairway/bridge"
	"fairway/link"
	"fairway/nat"
	"fairway/nat/nftables"
	"fairway/store"
)

// A lab is some hosts on an underlay, each a network namespace of its own. The
// test's goroutine stays on one thread, which enters them in turn.
type lab struct {
	testing.TB
	underlay netns.NsHandle // a bridge with a port for each host
	hosts    []*host
	v6       bool // the hosts reach each other by IPv6
	mtu      int  // of the underlay
}

// A host is one that runs fairway: what its daemon would hold.
type host struct {
	*lab
	ns       netns.NsHandle
	addr     netip.Addr // on the underlay
	conn     *link.Conn
	plane    *Plane
	filter   *Filter
	firewall *nftables.Firewall
	network  Network
	record   store.Network
	revision *int64
}

// A container is an endpoint in a namespace of its own.
type container struct {
	*host
	ns netns.NsHandle
	e  store.Endpoint
}

const (
	testVNI  = FirstVNI + 7
	instance = "0123abcd"
)

// namespace makes a network namespace and leaves the thread where it was.
func namespace(t testing.TB) netns.NsHandle {
	t.Helper()
	home, err := netns.Get()
	must(t, err)
	defer home.Close()
	h, err := netns.New()
	if err != nil {
		t.Fatalf("network namespace: %v (the kernel tests need root)", err)
	}
	t.Cleanup(func() { h.Close() })
	run(t, "ip", "link", "set", "lo", "up")
	must(t, netns.Set(home))
	return h
}

func pathOf(ns netns.NsHandle) string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), int(ns)) }

// within runs f on the test's thread in a namespace.
func within(t testing.TB, ns netns.NsHandle, f func()) {
	t.Helper()
	home, err := netns.Get()
	must(t, err)
	defer home.Close()
	must(t, netns.Set(ns))
	defer func() {
		if err := netns.Set(home); err != nil {
			panic(err)
		}
	}()
	f()
}

func (h *host) do(f func())      { h.Helper(); within(h, h.ns, f) }
func (c *container) do(f func()) { c.Helper(); within(c, c.ns, f) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func run(t testing.TB, command ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, command[0], command[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(command, " "), err, out)
	}
	return string(out)
}

// newLab makes an underlay with so many hosts, which have a network of the
// segment each.
func newLab(t testing.TB, hosts int, v6 bool, options map[string]string, internal bool) *lab {
	t.Helper()
	l := newUnderlay(t, hosts, v6)
	for i, h := range l.hosts {
		h.join(i, options, internal)
	}
	l.publish()
	return l
}

// newUnderlay makes hosts that reach each other, and nothing on them.
func newUnderlay(t testing.TB, hosts int, v6 bool) *lab {
	t.Helper()
	runtime.LockOSThread() // never unlocked: the thread ends with the test's goroutine
	l := &lab{TB: t, v6: v6, mtu: 1500, underlay: namespace(t)}
	within(t, l.underlay, func() {
		run(t, "ip", "link", "add", "lan", "up", "type", "bridge", "forward_delay", "0", "mcast_snooping", "0")
	})
	revision := int64(100)
	for i := range hosts {
		h := &host{lab: l, ns: l.plug(i), addr: netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)}), revision: &revision}
		if v6 {
			h.addr = netip.MustParseAddr(fmt.Sprintf("2001:db8::%d", i+1))
		}
		l.hosts = append(l.hosts, h)
	}
	return l
}

// plug makes a namespace with a link to the underlay, and the addresses of a
// number.
func (l *lab) plug(i int) netns.NsHandle {
	l.Helper()
	ns := namespace(l)
	port := fmt.Sprintf("port%d", i)
	within(l, l.underlay, func() {
		run(l, "ip", "link", "add", port, "mtu", "9000", "type", "veth", "peer", "name", "eth0", "netns", pathOf(ns))
		run(l, "ip", "link", "set", port, "master", "lan", "up")
	})
	within(l, ns, func() {
		run(l, "ip", "link", "set", "eth0", "up", "mtu", fmt.Sprint(l.mtu))
		run(l, "ip", "address", "add", fmt.Sprintf("192.0.2.%d/24", i+1), "dev", "eth0")
		run(l, "ip", "address", "add", fmt.Sprintf("2001:db8::%d/64", i+1), "dev", "eth0", "nodad")
		run(l, "ip", "route", "add", "default", "via", "192.0.2.100")
		run(l, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
	})
	return ns
}

// join makes the host's part of the segment.
func (h *host) join(i int, options map[string]string, internal bool) {
	h.Helper()
	h.record = store.Network{
		ID: fmt.Sprintf("n%d", i), Mode: "overlay", IPv4: true, IPv6: true, Internal: internal, Link: "fwb1",
		Options: map[string]string{"mode": "overlay", "segment": "backbone"},
		Subnets: []store.Subnet{
			{Prefix: netip.MustParsePrefix("10.40.0.0/16"), Gateway: netip.MustParseAddr("10.40.0.1")},
			{Prefix: netip.MustParsePrefix("fd00:40::/64"), Gateway: netip.MustParseAddr("fd00:40::1")},
		},
	}
	for k, v := range options {
		h.record.Options[k] = v
	}
	as := Host{Instance: instance, Local: h.addr, Bridge: func(n store.Network) (Bridge, error) { return bridge.New(instance, n) }}
	own := []netip.Addr{netip.AddrFrom4([4]byte{10, 40, byte(i + 1), 1}), netip.MustParseAddr(fmt.Sprintf("fd00:40::%d:1", i+1))}
	var err error
	h.do(func() {
		h.conn, err = link.New(link.Options{Instance: instance})
		must(h, err)
		h.Cleanup(func() { h.conn.Close() })
		underlay, err := h.conn.AddressMTU(h.Context(), h.addr)
		must(h, err)
		must(h, Settle(as, Agreed{VNI: testVNI, Underlay: underlay, Own: own, Multicast: options["multicast"] == "true"}, &h.record))
		h.network, err = New(as, h.record)
		must(h, err)
		opts := nat.Options{Instance: instance}
		h.filter, err = NewFilter(opts)
		must(h, err)
		h.Cleanup(h.filter.Close)
		h.firewall, err = nftables.New(h.Context(), nftables.Options{Options: opts})
		must(h, err)
		h.Cleanup(func() { h.firewall.Close() })
		must(h, h.conn.Apply(h.Context(), h.network.Links()))
		must(h, h.firewall.Apply(h.Context(), nat.State{Networks: []nat.Network{h.network.Firewall()}}))
		h.plane = NewPlane(PlaneOptions{Kernel: h.conn, Filter: h.filter})
		must(h, h.plane.Open(h.Context(), h.network.Segment()))
		must(h, h.plane.Set(h.Context(), testVNI, nil, 0))
	})
}

// own is the record of the host's own endpoint.
func (h *host) own() Record {
	mac, _ := net.ParseMAC(h.record.Overlay.MAC)
	return Record{ID: "host-" + h.addr.String(), MAC: link.MAC(mac), IPs: h.record.HostAddresses, Host: h.addr, Revision: 1}
}

// publish tells every host of all others themselves.
func (l *lab) publish() {
	l.Helper()
	for _, h := range l.hosts {
		l.tell(h, h.own())
	}
}

// tell tells all hosts but one of a record.
func (l *lab) tell(but *host, r Record) {
	l.Helper()
	for _, o := range l.hosts {
		if o != but {
			o.do(func() { must(l, o.plane.Put(l.Context(), testVNI, r)) })
		}
	}
}

// attach makes a container with addresses of a number, and tells the others.
func (h *host) attach(n int) *container {
	h.Helper()
	return h.attachAs(n, link.RandomMAC().String())
}

func (h *host) attachAs(n int, mac string) *container {
	h.Helper()
	c := &container{host: h, ns: namespace(h)}
	*h.revision++
	c.e = store.Endpoint{
		ID: fmt.Sprintf("e%d", *h.revision), Network: h.record.ID, MAC: mac,
		HostLink: fmt.Sprintf("fwv%d", *h.revision), Inside: fmt.Sprintf("fwi%d", *h.revision),
		IPv4: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 40, 100, byte(n)}), 16), IPv6: netip.MustParsePrefix(fmt.Sprintf("fd00:40::100:%d/64", n)),
		Sandbox: pathOf(c.ns),
	}
	must(h, h.network.CheckEndpoint(c.e))
	sandbox := c.e.Sandbox
	c.e.Sandbox = ""
	h.do(func() {
		must(h, h.plane.Attach(h.Context(), testVNI, c.asLocal()))
		must(h, h.conn.Apply(h.Context(), h.network.Attachment(c.e)))
		run(h, "ip", "link", "set", c.e.Inside, "netns", sandbox, "name", "eth0")
	})
	c.e.Sandbox = sandbox
	c.do(func() { c.configure() })
	h.tell(h, c.asRecord(*h.revision))
	return c
}

// configure does in the sandbox what dockerd does there.
func (c *container) configure() {
	c.Helper()
	in := c.network.Inside(c.e)
	for _, a := range in.Addresses {
		run(c, "ip", "address", "add", a.String(), "dev", "eth0", "nodad")
	}
	run(c, "ip", "link", "set", "eth0", "up")
	for _, g := range in.Gateways {
		run(c, "ip", "route", "add", "default", "via", g.String())
	}
}

func (c *container) asLocal() Local {
	mac, _ := net.ParseMAC(c.e.MAC)
	return Local{ID: c.e.ID, MAC: link.MAC(mac), IPs: []netip.Addr{c.e.IPv4.Addr(), c.e.IPv6.Addr()}}
}

func (c *container) asRecord(revision int64) Record {
	l := c.asLocal()
	return Record{ID: l.ID, MAC: l.MAC, IPs: l.IPs, Host: c.host.addr, Revision: revision}
}

// detach removes the container's link, and tells the others.
func (c *container) detach() {
	c.Helper()
	c.host.do(func() {
		must(c, c.conn.Remove(c.Context(), c.network.Attachment(c.e)))
		must(c, c.conn.Quiesce(c.Context()))
		must(c, c.plane.Detach(c.Context(), testVNI, c.e.ID))
	})
	*c.revision++
	for _, o := range c.hosts {
		if o != c.host {
			o.do(func() { must(c, o.plane.Remove(c.Context(), testVNI, c.e.ID, *c.revision)) })
		}
	}
}

func (c *container) ips() []netip.Addr { return []netip.Addr{c.e.IPv4.Addr(), c.e.IPv6.Addr()} }

// each has do talk to each who connects, until l is closed.
func each(l net.Listener, do func(net.Conn)) {
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				do(c)
			}()
		}
	}()
}

// heard returns what comes to a socket, until it is closed with the test.
func heard(t testing.TB, u net.PacketConn) chan string {
	t.Cleanup(func() { u.Close() })
	out := make(chan string, 10_000)
	go func() {
		b := make([]byte, 2000)
		for {
			n, _, err := u.ReadFrom(b)
			if err != nil {
				return
			}
			out <- string(b[:n])
		}
	}()
	return out
}

// serve answers every TCP connection and UDP packet on port 7 of the namespace
// that the thread is in with what came and the address that it came from.
func serve(t testing.TB) {
	t.Helper()
	l, err := net.Listen("tcp", ":7")
	must(t, err)
	u, err := net.ListenPacket("udp", ":7")
	must(t, err)
	t.Cleanup(func() { l.Close(); u.Close() })
	each(l, func(c net.Conn) { fmt.Fprint(c, c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()) })
	go func() {
		b := make([]byte, 65536)
		for {
			n, from, err := u.ReadFrom(b)
			if err != nil {
				return
			}
			u.WriteTo(b[:n], from)
		}
	}()
}

const patience = 5 * time.Second

// tcp returns the address under which a server sees whoever the thread's
// namespace is.
func tcp(to netip.Addr, port uint16) (string, error) { return tcpIn(to, port, patience) }

func tcpIn(to netip.Addr, port uint16, patience time.Duration) (string, error) {
	c, err := (&net.Dialer{Timeout: patience}).Dial("tcp", netip.AddrPortFrom(to, port).String())
	if err != nil {
		return "", err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	b, err := io.ReadAll(c)
	return string(b), err
}

// udp sends a datagram of a size and takes it back.
func udp(to netip.Addr, size int) error {
	c, err := net.Dial("udp", netip.AddrPortFrom(to, 7).String())
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	sent := make([]byte, size)
	for i := range sent {
		sent[i] = byte(i * 7)
	}
	if _, err := c.Write(sent); err != nil {
		return err
	}
	b := make([]byte, 65536)
	n, err := c.Read(b)
	if err == nil && string(b[:n]) != string(sent) {
		err = errors.New("another datagram came back")
	}
	return err
}

// ping sends an ICMP echo request with so many bytes of data, not to be
// fragmented, and waits for the answer (RFC 792, RFC 4443 section 4). It asks
// again: a link that was attached just now takes the kernel a moment.
func ping(to netip.Addr, size int) error {
	network, kind, answer := "ip4:icmp", byte(8), byte(0)
	if to.Is6() {
		network, kind, answer = "ip6:ipv6-icmp", 128, 129
	}
	c, err := net.ListenPacket(network, "")
	if err != nil {
		return err
	}
	defer c.Close()
	msg := make([]byte, 8+size)
	msg[0], msg[5], msg[7] = kind, 9, 1
	if to.Is4() {
		var sum uint32
		for i := 0; i < len(msg)&^1; i += 2 {
			sum += uint32(binary.BigEndian.Uint16(msg[i:]))
		}
		binary.BigEndian.PutUint16(msg[2:], ^uint16(sum+sum>>16))
	}
	b := make([]byte, 65536)
	for end := time.Now().Add(patience); ; {
		if _, err := c.WriteTo(msg, &net.IPAddr{IP: to.AsSlice()}); err != nil {
			return err
		}
		c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil && time.Now().After(end) {
				return err
			}
			if err != nil {
				break
			}
			if n == len(msg) && b[0] == answer && from.String() == to.String() {
				return nil
			}
		}
	}
}
