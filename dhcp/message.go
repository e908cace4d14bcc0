package dhcp

import (
	"encoding/binary"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/rfc1035label"

	"fairway/store"
)

// frame returns a session's message, to be sent by a socket.
func (s *session) frame(k kind, by *Socket) ([]byte, error) {
	if s.lease.Subnet.Addr().Is6() {
		return s.frame6(k, by)
	}
	return s.frame4(k)
}

// parse reads a frame; ok is false if it is no server's message.
func parse(frame []byte) (r reply, ok bool) {
	d, ok := decode(frame)
	switch {
	case ok && d.dstPort == clientPort && d.source.Is4():
		return parse4(d)
	case ok && d.dstPort == clientPort6 && d.source.Is6():
		return parse6(d)
	}
	return r, false
}

// frame4 returns a message of IPv4. What goes to one server goes to its address,
// by the station that its last answer came from; all else to everybody, and
// servers are asked to answer everybody: the container has no address yet, or no
// ears.
func (s *session) frame4(k kind) ([]byte, error) {
	everybody := net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	d := datagram{
		from: s.mac, to: everybody, srcPort: clientPort, dstPort: serverPort,
		source: netip.IPv4Unspecified(), dest: netip.AddrFrom4([4]byte{255, 255, 255, 255}),
	}
	if k == renew || k == rebind || k == release {
		d.source = s.lease.IP
	}
	if (k == renew || k == release) && s.lease.Server.Is4() {
		d.dest = s.lease.Server
		if s.via != nil {
			d.to = s.via
		}
	}
	m, err := s.message4(k)
	if err != nil {
		return nil, err
	}
	d.payload = m.ToBytes()
	return d.encode(), nil
}

// message4 returns a message as RFC 2131 section 4.4.1 table 5 has it.
func (s *session) message4(k kind) (*dhcpv4.DHCPv4, error) {
	types := map[kind]dhcpv4.MessageType{
		discover: dhcpv4.MessageTypeDiscover, release: dhcpv4.MessageTypeRelease, decline: dhcpv4.MessageTypeDecline,
	}
	kindOf, special := types[k]
	if !special {
		kindOf = dhcpv4.MessageTypeRequest
	}
	var xid dhcpv4.TransactionID
	binary.BigEndian.PutUint32(xid[:], s.xid)
	m, err := dhcpv4.New(
		dhcpv4.WithTransactionID(xid), dhcpv4.WithHwAddr(s.mac), dhcpv4.WithMessageType(kindOf),
		dhcpv4.WithGeneric(dhcpv4.OptionClientIdentifier, s.lease.ClientID))
	if err != nil {
		return nil, err
	}
	m.NumSeconds = uint16(min(time.Since(s.begun)/time.Second, 0xffff))
	ip, server := s.lease.IP, s.lease.Server
	if k == request {
		ip, server = s.offer.ip, s.offer.server
	}
	switch k {
	case renew, rebind, release:
		m.ClientIPAddr = ip.AsSlice()
	default:
		m.SetBroadcast()
		if ip.IsValid() {
			m.UpdateOption(dhcpv4.OptRequestedIPAddress(ip.AsSlice()))
		}
	}
	if k == request || k == release || k == decline {
		m.UpdateOption(dhcpv4.OptServerIdentifier(server.AsSlice()))
	}
	if k == release || k == decline {
		return m, nil
	}
	m.UpdateOption(dhcpv4.OptMaxMessageSize(1500))
	m.UpdateOption(dhcpv4.OptParameterRequestList(
		dhcpv4.OptionSubnetMask, dhcpv4.OptionClasslessStaticRoute, dhcpv4.OptionRouter, dhcpv4.OptionDomainNameServer,
		dhcpv4.OptionHostName, dhcpv4.OptionDomainName, dhcpv4.OptionInterfaceMTU, dhcpv4.OptionNTPServers,
		dhcpv4.OptionIPAddressLeaseTime, dhcpv4.OptionRenewTimeValue, dhcpv4.OptionRebindingTimeValue, dhcpv4.OptionFQDN))
	if s.lease.Hostname != "" {
		m.UpdateOption(dhcpv4.OptHostName(s.lease.Hostname))
	}
	return m, nil
}

// parse4 reads a server's message of IPv4.
func parse4(d datagram) (r reply, ok bool) {
	m, err := dhcpv4.FromBytes(d.payload)
	if err != nil || m.OpCode != dhcpv4.OpcodeBootReply || len(m.ClientHWAddr) != 6 {
		return r, false
	}
	switch m.MessageType() {
	case dhcpv4.MessageTypeOffer:
		r.answer = offered
	case dhcpv4.MessageTypeAck:
		r.answer = granted
	case dhcpv4.MessageTypeNak:
		r.answer = refused
	default:
		return r, false
	}
	r.xid, r.mac, r.from = binary.BigEndian.Uint32(m.TransactionID[:]), m.ClientHWAddr, append(net.HardwareAddr(nil), d.from...)
	if r.server = address(m.ServerIdentifier()); !r.server.IsValid() {
		r.server = d.source
	}
	r.text = plain(m.Message())
	if r.answer == refused {
		return r, true
	}
	r.ip, r.bits = address(m.YourIPAddr), 32
	if mask := m.SubnetMask(); mask != nil {
		if ones, size := mask.Size(); size == 32 {
			r.bits = ones
		}
	}
	r.valid = m.IPAddressLeaseTime(0)
	r.renew, r.rebind = m.IPAddressRenewalTime(0), m.IPAddressRebindingTime(0)
	if r.valid <= 0 { // RFC 2131 section 4.3.1 demands it; without, nothing is promised
		return r, false
	}
	r.times()
	r.said = options4(m)
	return r, true
}

// options4 reads what else a server says for the configuration of a host. What
// makes no sense is left out.
func options4(m *dhcpv4.DHCPv4) (l store.Lease) {
	l.Routers, l.DNS, l.NTP = all(m.Router()), all(m.DNS()), all(m.NTPServers())
	for _, route := range m.ClasslessStaticRoute() {
		ones, _ := route.Dest.Mask.Size()
		to := netip.PrefixFrom(address(route.Dest.IP), ones)
		if !to.IsValid() || to != to.Masked() || to.Addr().IsMulticast() || to.Addr().IsLoopback() || len(l.Routes) == most {
			continue
		}
		hop := address(route.Router)
		if hop.IsUnspecified() {
			hop = netip.Addr{} // on link: RFC 3442
		}
		l.Routes = append(l.Routes, store.Route{Destination: to, NextHop: hop})
	}
	if mtu, err := dhcpv4.GetUint16(dhcpv4.OptionInterfaceMTU, m.Options); err == nil && mtu >= 68 {
		l.MTU = int(mtu)
	}
	l.Domain = plain(m.DomainName())
	l.FQDN = fqdn(m.GetOneOption(dhcpv4.OptionFQDN))
	return l
}

// most is how many addresses or routes are kept of an option.
const most = 64

// fqdn reads option 81, RFC 4702 section 2: flags, two old result codes, and
// the name.
func fqdn(b []byte) string {
	const wireFormat = 1 << 2
	if len(b) < 3 {
		return ""
	}
	if b[0]&wireFormat == 0 {
		return plain(string(b[3:]))
	}
	names, err := rfc1035label.FromBytes(b[3:])
	if err != nil || len(names.Labels) == 0 {
		return ""
	}
	return plain(names.Labels[0])
}

// address returns ip in our form; invalid if it is none.
func address(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}

// all returns those addresses that can be a host's.
func all(ips []net.IP) (out []netip.Addr) {
	for _, ip := range ips {
		if a := address(ip); a.IsValid() && !a.IsUnspecified() && !a.IsMulticast() && len(out) < most {
			out = append(out, a)
		}
	}
	return out
}
