package dhcp

import (
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"fairway/store"
)

// The identity association of every client: it has no other. RFC 8415 section 12.
func association() [4]byte { return [4]byte{0, 0, 0, 1} }

// frame6 returns a message of IPv6: RFC 8415 section 16. It comes from the link
// itself, so that the kernel answers for the address that servers send to, while
// the container has none yet; servers know the client by its DUID.
func (s *session) frame6(k kind, by *Socket) ([]byte, error) {
	if !by.local6.IsValid() {
		return nil, errors.New("has no IPv6 link-local address, which DHCPv6 needs")
	}
	m, err := s.message6(k)
	if err != nil {
		return nil, err
	}
	return datagram{
		from: by.mac, to: net.HardwareAddr{0x33, 0x33, 0, 1, 0, 2}, // RFC 2464 section 7
		source: by.local6, dest: netip.MustParseAddr("ff02::1:2"), // All_DHCP_Relay_Agents_and_Servers
		srcPort: clientPort6, dstPort: serverPort6, payload: m.ToBytes(),
	}.encode(), nil
}

// message6 returns a message as RFC 8415 section 18.2 has it. A known lease is
// asked for by Rebind: the answer to Confirm doesn't tell how long it lasts.
func (s *session) message6(k kind) (*dhcpv6.Message, error) {
	types := map[kind]dhcpv6.MessageType{
		discover: dhcpv6.MessageTypeSolicit, request: dhcpv6.MessageTypeRequest, verify: dhcpv6.MessageTypeRebind,
		renew: dhcpv6.MessageTypeRenew, rebind: dhcpv6.MessageTypeRebind,
		release: dhcpv6.MessageTypeRelease, decline: dhcpv6.MessageTypeDecline,
	}
	client, err := dhcpv6.DUIDFromBytes(s.lease.ClientID)
	if err != nil {
		return nil, err
	}
	m := &dhcpv6.Message{MessageType: types[k], TransactionID: [3]byte{byte(s.xid >> 16), byte(s.xid >> 8), byte(s.xid)}}
	m.AddOption(dhcpv6.OptClientID(client))
	ip, id := s.lease.IP, s.lease.ServerID
	if k == request {
		ip, id = s.offer.ip, s.offer.serverID
	}
	if k == request || k == renew || k == release || k == decline {
		server, err := dhcpv6.DUIDFromBytes(id)
		if err != nil {
			return nil, err
		}
		m.AddOption(dhcpv6.OptServerID(server))
	}
	ia := &dhcpv6.OptIANA{IaId: association()}
	if ip.IsValid() {
		ia.Options.Add(&dhcpv6.OptIAAddress{IPv6Addr: ip.AsSlice()})
	}
	m.AddOption(ia)
	m.AddOption(dhcpv6.OptElapsedTime(min(time.Since(s.begun), 655*time.Second)))
	if k == release || k == decline {
		return m, nil
	}
	m.AddOption(dhcpv6.OptRequestedOption(dhcpv6.OptionDNSRecursiveNameServer, dhcpv6.OptionDomainSearchList,
		dhcpv6.OptionNTPServer, dhcpv6.OptionSNTPServerList, dhcpv6.OptionFQDN))
	if name := s.lease.Hostname; name != "" { // not fully qualified, so without the root's label: RFC 4704 section 4.2
		const serverUpdates = 1 // flag S
		m.AddOption(&dhcpv6.OptionGeneric{
			OptionCode: dhcpv6.OptionFQDN, OptionData: append([]byte{serverUpdates, byte(len(name))}, name...),
		})
	}
	return m, nil
}

// parse6 reads a server's message of IPv6.
func parse6(d datagram) (r reply, ok bool) {
	m, err := dhcpv6.MessageFromBytes(d.payload)
	if err != nil {
		return r, false
	}
	switch m.MessageType {
	case dhcpv6.MessageTypeAdvertise:
		r.answer = offered
	case dhcpv6.MessageTypeReply:
		r.answer = granted
	default:
		return r, false
	}
	client, server := m.Options.ClientID(), m.Options.ServerID()
	if client == nil || server == nil {
		return r, false
	}
	x := m.TransactionID
	r.xid = uint32(x[0])<<16 | uint32(x[1])<<8 | uint32(x[2])
	r.id, r.serverID, r.server = client.ToBytes(), server.ToBytes(), d.source
	if status := m.Options.Status(); status != nil && status.StatusCode != 0 {
		return r.refuse(status), true
	}
	ia := m.Options.OneIANA()
	if ia == nil || ia.IaId != association() {
		return r, false // to a message that wants no address back
	}
	if status := ia.Options.Status(); status != nil && status.StatusCode != 0 {
		return r.refuse(status), true
	}
	r.renew, r.rebind = ia.T1, ia.T2
	for _, a := range ia.Options.Addresses() {
		if status := a.Options.Status(); status != nil && status.StatusCode != 0 {
			return r.refuse(status), true
		}
		if a.ValidLifetime > 0 {
			r.ip, r.valid = address(a.IPv6Addr), a.ValidLifetime
			break
		}
	}
	if !r.ip.IsValid() {
		r.answer, r.text = refused, "it gives no address"
		return r, true
	}
	r.times()
	r.said = options6(m)
	return r, true
}

// refuse makes r a refusal.
func (r reply) refuse(status *dhcpv6.OptStatusCode) reply {
	r.answer, r.text = refused, plain(status.StatusMessage)
	if r.text == "" {
		r.text = status.StatusCode.String()
	}
	return r
}

// options6 reads what else a server says for the configuration of a host.
func options6(m *dhcpv6.Message) (l store.Lease) {
	l.DNS = all(m.Options.DNS())
	if l.NTP = all(m.Options.NTPServers()); len(l.NTP) == 0 {
		l.NTP = all(m.Options.SNTP())
	}
	if d := m.Options.DomainSearchList(); d != nil && len(d.Labels) > 0 {
		l.Domain = plain(d.Labels[0])
	}
	if f := m.Options.FQDN(); f != nil && f.DomainName != nil && len(f.DomainName.Labels) > 0 {
		l.FQDN = plain(f.DomainName.Labels[0])
	}
	return l
}
