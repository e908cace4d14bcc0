package dhcp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv6"

	"fairway/store"
)

// talker is a session with a bound lease of a family.
func talker(subnet, ip, server string) *session {
	s := newSession(store.Lease{
		Subnet: netip.MustParsePrefix(subnet), IP: netip.MustParseAddr(ip), Parent: "eth0", MAC: "02:00:00:00:00:01",
		ClientID: append([]byte{0}, "fairway:web"...), Hostname: "web", Server: netip.MustParseAddr(server),
		ServerID: []byte{0, 3, 0, 1, 2, 0, 0, 0, 0, 9},
	})
	if s.lease.IP.Is6() {
		s.lease.ClientID = []byte{0, 3, 0, 1, 2, 0, 0, 0, 0, 1}
	}
	s.xid, s.begun = 0x123456, time.Now()
	s.via = net.HardwareAddr{2, 0, 0, 0, 0, 9}
	s.offer = reply{ip: netip.MustParseAddr(ip), server: s.lease.Server, serverID: s.lease.ServerID}
	return s
}

// Each message says what RFC 2131 table 5 wants, to whom section 4.4 wants it.
func TestMessages4(t *testing.T) {
	for k, want := range map[kind]string{
		discover: "0.0.0.0 → 255.255.255.255 ff:ff:ff:ff:ff:ff DISCOVER ciaddr 0.0.0.0 broadcast true requested 192.0.2.50 server <nil>",
		request:  "0.0.0.0 → 255.255.255.255 ff:ff:ff:ff:ff:ff REQUEST ciaddr 0.0.0.0 broadcast true requested 192.0.2.50 server 192.0.2.1",
		verify:   "0.0.0.0 → 255.255.255.255 ff:ff:ff:ff:ff:ff REQUEST ciaddr 0.0.0.0 broadcast true requested 192.0.2.50 server <nil>",
		renew:    "192.0.2.50 → 192.0.2.1 02:00:00:00:00:09 REQUEST ciaddr 192.0.2.50 broadcast false requested <nil> server <nil>",
		rebind:   "192.0.2.50 → 255.255.255.255 ff:ff:ff:ff:ff:ff REQUEST ciaddr 192.0.2.50 broadcast false requested <nil> server <nil>",
		release:  "192.0.2.50 → 192.0.2.1 02:00:00:00:00:09 RELEASE ciaddr 192.0.2.50 broadcast false requested <nil> server 192.0.2.1",
		decline:  "0.0.0.0 → 255.255.255.255 ff:ff:ff:ff:ff:ff DECLINE ciaddr 0.0.0.0 broadcast true requested 192.0.2.50 server 192.0.2.1",
	} {
		s := talker("192.0.2.0/24", "192.0.2.50", "192.0.2.1")
		frame, err := s.frame(k, &Socket{})
		if err != nil {
			t.Fatal(err)
		}
		d, ok := decode(frame)
		if !ok || d.srcPort != clientPort || d.dstPort != serverPort || d.from.String() != s.lease.MAC {
			t.Fatalf("message %d: frame %x", k, frame)
		}
		if checksum(0, frame[14:34]) != 0 || (datagram{source: d.source, dest: d.dest}).checksum(frame[34:]) != 0xffff {
			t.Errorf("message %d: wrong checksum", k)
		}
		m, err := dhcpv4.FromBytes(d.payload)
		if err != nil {
			t.Fatal(err)
		}
		got := fmt.Sprintf("%s → %s %s %s ciaddr %s broadcast %t requested %s server %s", d.source, d.dest, d.to, m.MessageType(),
			m.ClientIPAddr, m.IsBroadcast(), m.RequestedIPAddress(), m.ServerIdentifier())
		if got != want {
			t.Errorf("message %d:\n got %s\nwant %s", k, got, want)
		}
		if id := m.GetOneOption(dhcpv4.OptionClientIdentifier); !bytes.Equal(id, s.lease.ClientID) {
			t.Errorf("message %d: identifier %q", k, id)
		}
	}
}

// Each message has what RFC 8415 appendix B wants.
func TestMessages6(t *testing.T) {
	by := &Socket{mac: net.HardwareAddr{2, 0, 0, 0, 0, 7}, local6: netip.MustParseAddr("fe80::7")}
	for k, want := range map[kind]string{
		discover: "SOLICIT server false", request: "REQUEST server true", verify: "REBIND server false", renew: "RENEW server true",
		rebind: "REBIND server false", release: "RELEASE server true", decline: "DECLINE server true",
	} {
		s := talker("2001:db8::/64", "2001:db8::50", "fe80::1")
		frame, err := s.frame(k, by)
		if err != nil {
			t.Fatal(err)
		}
		d, ok := decode(frame)
		if !ok || d.source != by.local6 || d.dest != netip.MustParseAddr("ff02::1:2") || d.dstPort != serverPort6 {
			t.Fatalf("message %d: frame %x", k, frame)
		}
		m, err := dhcpv6.MessageFromBytes(d.payload)
		if err != nil {
			t.Fatal(err)
		}
		a := m.Options.OneIANA().Options.OneAddress()
		if got := fmt.Sprintf("%s server %t", m.MessageType, m.Options.ServerID() != nil); got != want || address(a.IPv6Addr) != s.lease.IP {
			t.Errorf("message %d: %s of %s, want %s", k, got, a.IPv6Addr, want)
		}
	}
	s := talker("2001:db8::/64", "2001:db8::50", "fe80::1")
	if _, err := s.frame(discover, &Socket{mac: by.mac}); err == nil {
		t.Error("DHCPv6 from a link without a link-local address")
	}
}

// fromServer returns the frame of a server's message of IPv4.
func fromServer(t testing.TB, kind dhcpv4.MessageType, more ...dhcpv4.Modifier) []byte {
	t.Helper()
	m, err := dhcpv4.New(append([]dhcpv4.Modifier{
		dhcpv4.WithTransactionID([4]byte{0, 0x12, 0x34, 0x56}), dhcpv4.WithHwAddr(net.HardwareAddr{2, 0, 0, 0, 0, 1}), dhcpv4.WithMessageType(kind),
		dhcpv4.WithYourIP(net.IP{192, 0, 2, 50}), dhcpv4.WithNetmask(net.CIDRMask(24, 32)),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.IP{192, 0, 2, 1})),
	}, more...)...)
	if err != nil {
		t.Fatal(err)
	}
	m.OpCode = dhcpv4.OpcodeBootReply
	return datagram{
		from: net.HardwareAddr{2, 0, 0, 0, 0, 9}, to: net.HardwareAddr{2, 0, 0, 0, 0, 1}, srcPort: serverPort, dstPort: clientPort,
		source: netip.MustParseAddr("192.0.2.1"), dest: netip.MustParseAddr("192.0.2.50"), payload: m.ToBytes(),
	}.encode()
}

func TestParse4(t *testing.T) {
	hour := dhcpv4.WithLeaseTime(3600)
	r, ok := parse(fromServer(t, dhcpv4.MessageTypeAck, hour))
	if !ok || r.answer != granted || r.xid != 0x123456 || r.ip != netip.MustParseAddr("192.0.2.50") || r.bits != 24 ||
		r.valid != time.Hour || r.renew != 30*time.Minute || r.rebind != 52*time.Minute+30*time.Second {
		t.Errorf("an ACK: %v, %+v", ok, r)
	}
	if r, ok := parse(fromServer(t, dhcpv4.MessageTypeAck, dhcpv4.WithLeaseTime(1<<32-1))); !ok || r.valid != forever {
		t.Errorf("for ever: %v, %s", ok, r.valid)
	}
	if r, ok := parse(fromServer(t, dhcpv4.MessageTypeNak, dhcpv4.WithOption(dhcpv4.OptMessage("no\x1b[31m\nway")))); !ok || r.answer != refused || r.text != "no[31mway" {
		t.Errorf("a NAK: %v, %+v", ok, r)
	}
	for name, frame := range map[string][]byte{
		"no lease time":        fromServer(t, dhcpv4.MessageTypeOffer),
		"a client's":           fromServer(t, dhcpv4.MessageTypeDiscover, hour),
		"no kind":              fromServer(t, 0, hour),
		"cut off":              fromServer(t, dhcpv4.MessageTypeAck, hour)[:100],
		"nothing":              nil,
		"wrong length of UDP":  append(fromServer(t, dhcpv4.MessageTypeAck, hour)[:38], 0xff, 0xff),
		"a fragment":           fragment(fromServer(t, dhcpv4.MessageTypeAck, hour)),
		"to somebody's server": toPort(fromServer(t, dhcpv4.MessageTypeAck, hour), serverPort),
	} {
		if r, ok := parse(frame); ok {
			t.Errorf("%s: taken as %+v", name, r)
		}
	}
}

func fragment(f []byte) []byte {
	f[20] |= 0x20 // more follow
	return f
}

func toPort(f []byte, port uint16) []byte {
	binary.BigEndian.PutUint16(f[36:], port)
	return f
}

// What makes no sense in an option is left out.
func TestOptions4(t *testing.T) {
	routes := dhcpv4.OptClasslessStaticRoute(
		&dhcpv4.Route{Dest: &net.IPNet{IP: net.IP{10, 0, 0, 0}, Mask: net.CIDRMask(8, 32)}, Router: net.IP{192, 0, 2, 9}},
		&dhcpv4.Route{Dest: &net.IPNet{IP: net.IP{10, 9, 0, 0}, Mask: net.CIDRMask(16, 32)}, Router: net.IPv4zero.To4()},
		&dhcpv4.Route{Dest: &net.IPNet{IP: net.IP{127, 0, 0, 0}, Mask: net.CIDRMask(8, 32)}, Router: net.IP{192, 0, 2, 9}},
	)
	r, ok := parse(fromServer(t, dhcpv4.MessageTypeAck, dhcpv4.WithLeaseTime(60), dhcpv4.WithOption(routes),
		dhcpv4.WithOption(dhcpv4.OptRouter(net.IP{0, 0, 0, 0}, net.IP{224, 0, 0, 1}, net.IP{192, 0, 2, 1})),
		dhcpv4.WithGeneric(dhcpv4.OptionInterfaceMTU, []byte{0, 9}),
		dhcpv4.WithGeneric(dhcpv4.OptionFQDN, []byte("\x04\xff\xff\x03web\x03lan\x00"))))
	if got := fmt.Sprintln(ok, r.said.Routers, r.said.Routes, r.said.MTU, r.said.FQDN); got != "true [192.0.2.1] [{10.0.0.0/8 192.0.2.9} {10.9.0.0/16 invalid IP}] 0 web.lan\n" {
		t.Errorf("got %s", got)
	}
	if got := fqdn([]byte("\x00\x00\x00web.lan")); got != "web.lan" {
		t.Errorf("the old form: %q", got)
	}
}

func TestHostname(t *testing.T) {
	for name, want := range map[string]string{
		"web": "web", "shop_web.1": "shop-web-1", "-x-": "x", "___": "", "": "", strings.Repeat("a", 70): strings.Repeat("a", 63),
	} {
		if got := hostname(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}

// A client is known by its name, without one by its MAC address.
func TestIdentity(t *testing.T) {
	c := New(Options{Instance: "i"}, store.NewRecords())
	id := func(parent, mac, name string) string {
		l := store.Lease{Subnet: netip.MustParsePrefix("192.0.2.0/24"), Parent: parent, MAC: mac, Name: name}
		if err := c.identify(&l); err != nil {
			t.Fatal(err)
		}
		return string(l.ClientID)
	}
	a, b := "02:00:00:00:00:01", "02:00:00:00:00:02"
	if id("eth0", a, "web") != id("eth0", b, "web") {
		t.Error("a container with another MAC address is another client")
	}
	if got := id("eth0", a, ""); got != "\x01\x02\x00\x00\x00\x00\x01" {
		t.Errorf("without a name: %q", got)
	}
	for _, other := range []string{id("eth1", a, "web"), id("eth0", a, "db"), id("eth0", a, "")} {
		if other == id("eth0", a, "web") {
			t.Errorf("two clients are both %q", other)
		}
	}
	if err := c.identify(&store.Lease{MAC: "01:00:5e:00:00:01"}); err == nil {
		t.Error("a multicast MAC address is taken")
	}
}

// FuzzParse checks what is taken for a server's word.
func FuzzParse(f *testing.F) {
	f.Add(fromServer(f, dhcpv4.MessageTypeAck, dhcpv4.WithLeaseTime(60), dhcpv4.WithOption(dhcpv4.OptDomainName("lan"))))
	f.Add(fromServer(f, dhcpv4.MessageTypeNak))
	six, _ := talker("2001:db8::/64", "2001:db8::50", "fe80::1").message6(request)
	six.MessageType = dhcpv6.MessageTypeReply
	f.Add(datagram{
		from: make([]byte, 6), to: make([]byte, 6), srcPort: serverPort6, dstPort: clientPort6,
		source: netip.MustParseAddr("fe80::1"), dest: netip.MustParseAddr("fe80::2"), payload: six.ToBytes(),
	}.encode())
	f.Fuzz(func(t *testing.T, frame []byte) {
		r, ok := parse(frame)
		if !ok {
			return
		}
		for _, text := range []string{r.text, r.said.Domain, r.said.FQDN} {
			if strings.ContainsFunc(text, func(c rune) bool { return !unicode.IsPrint(c) }) || len(text) > 120 {
				t.Errorf("text %q", text)
			}
		}
		if r.answer != refused && (!r.ip.IsValid() || r.valid <= 0 || r.renew > r.rebind || r.rebind > r.valid || r.bits > r.ip.BitLen()) {
			t.Errorf("taken: %+v", r)
		}
		if len(r.said.Routes) > most || len(r.said.DNS) > most || len(r.said.Routers) > most {
			t.Errorf("too many of: %+v", r.said)
		}
	})
}
