package resolver

import (
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

// ttl is how long an answer may be kept, in seconds.
const ttl = 5

// largest is how much of an answer fits into one packet on any path, in bytes
// (RFC 9715 section 3 has 1400; 1232 is what servers use since 2020).
const largest = 1232

// parse reads a question out of a packet. It refuses what isn't an ordinary one:
// that is for others to judge.
func parse(packet []byte) (q *dns.Msg, err error) {
	defer func() { // the library's own promise, too
		if r := recover(); r != nil {
			q, err = nil, fmt.Errorf("resolver: read question: %v", r)
		}
	}()
	q = new(dns.Msg)
	if err := q.Unpack(packet); err != nil {
		return nil, fmt.Errorf("resolver: read question: %w", err)
	}
	extra := len(q.Extra)
	if q.IsEdns0() != nil {
		extra--
	}
	if q.Response || q.Opcode != dns.OpcodeQuery || len(q.Question) != 1 || len(q.Answer)+len(q.Ns)+extra > 0 {
		return nil, fmt.Errorf("resolver: no question")
	}
	return q, nil
}

// room is how long an answer may be that goes in one datagram, in bytes.
func room(q *dns.Msg) int {
	if o := q.IsEdns0(); o != nil {
		return min(max(int(o.UDPSize()), dns.MinMsgSize), largest)
	}
	return dns.MinMsgSize
}

// answer returns what the zone says to a question; false if it is not the zone's
// to answer. Addresses beyond room bytes are left out: each answer begins with
// another one.
func (z *zone) answer(q *dns.Msg, room int) (*dns.Msg, bool) {
	asked := q.Question[0]
	name := strings.TrimSuffix(strings.ToLower(asked.Name), ".")
	if asked.Qclass != dns.ClassINET || strings.Contains(name, `\`) || name == "" {
		return nil, false
	}
	if strings.HasSuffix(name, ".arpa") {
		return z.reverse(q, name)
	}
	ips, apex, m := z.lookUp(name)
	if m == foreign {
		return nil, false
	}
	a := reply(q)
	if m == missing {
		a.Rcode = dns.RcodeNameError
	}
	h := dns.RR_Header{Name: asked.Name, Class: dns.ClassINET, Ttl: ttl}
	if asked.Qtype == dns.TypeA || asked.Qtype == dns.TypeANY {
		for _, ip := range z.rotate(ips, false) {
			h.Rrtype = dns.TypeA
			a.Answer = append(a.Answer, &dns.A{Hdr: h, A: net.IP(ip.AsSlice())})
		}
	}
	if asked.Qtype == dns.TypeAAAA || asked.Qtype == dns.TypeANY {
		for _, ip := range z.rotate(ips, true) {
			h.Rrtype = dns.TypeAAAA
			a.Answer = append(a.Answer, &dns.AAAA{Hdr: h, AAAA: net.IP(ip.AsSlice())})
		}
	}
	if len(a.Answer) == 0 {
		if apex == "" {
			apex = name
		}
		a.Ns = []dns.RR{soa(apex)}
	}
	fit(a, room)
	return a, true
}

// reverse answers for an address that somebody has. Others may be somebody else's
// to answer for.
func (z *zone) reverse(q *dns.Msg, name string) (*dns.Msg, bool) {
	ip, ok := addressIn(name)
	if !ok {
		return nil, false
	}
	holder := z.nameOf(ip)
	if holder == "" {
		return nil, false
	}
	a := reply(q)
	if t := q.Question[0].Qtype; t == dns.TypePTR || t == dns.TypeANY {
		h := dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypePTR, Class: dns.ClassINET, Ttl: ttl}
		a.Answer = []dns.RR{&dns.PTR{Hdr: h, Ptr: dns.Fqdn(holder)}}
	} else {
		a.Ns = []dns.RR{soa(name)}
	}
	return a, true
}

// addressIn returns the address that a name below in-addr.arpa (RFC 1035 section
// 3.5) or ip6.arpa (RFC 3596 section 2.5) is of.
func addressIn(name string) (ip netip.Addr, ok bool) {
	if head, is4 := strings.CutSuffix(name, ".in-addr.arpa"); is4 {
		p := strings.Split(head, ".")
		if len(p) != 4 {
			return ip, false
		}
		ip, err := netip.ParseAddr(p[3] + "." + p[2] + "." + p[1] + "." + p[0])
		return ip, err == nil && ip.Is4()
	}
	head, is6 := strings.CutSuffix(name, ".ip6.arpa")
	if p := strings.Split(head, "."); !is6 || len(p) != 32 || len(head) != 63 {
		return ip, false
	}
	var text strings.Builder
	for i := 62; i >= 0; i -= 2 {
		text.WriteByte(head[i])
		if i > 0 && (62-i)%8 == 6 {
			text.WriteByte(':')
		}
	}
	ip, err := netip.ParseAddr(text.String())
	return ip, err == nil && ip.Is6() && !ip.Is4In6()
}

// reply begins an answer, with an OPT record if the question has one (RFC 6891
// section 6.1.1; section 6.1.3 for versions to come).
func reply(q *dns.Msg) *dns.Msg {
	a := new(dns.Msg).SetReply(q)
	a.Authoritative, a.RecursionAvailable, a.Compress = true, true, true
	if o := q.IsEdns0(); o != nil {
		a.SetEdns0(largest, o.Do())
	}
	return a
}

// refuse is an answer that says just why there is none.
func refuse(q *dns.Msg, rcode int) *dns.Msg {
	a := reply(q)
	a.Authoritative, a.Rcode = false, rcode
	return a
}

// soa is what a negative answer must have to be kept (RFC 2308 section 3).
func soa(apex string) dns.RR {
	apex = dns.Fqdn(apex)
	return &dns.SOA{
		Hdr: dns.RR_Header{Name: apex, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: ttl},
		Ns:  apex, Mbox: apex, Serial: 1, Refresh: ttl, Retry: ttl, Expire: ttl, Minttl: ttl,
	}
}

// fit leaves out what an answer has no room for.
func fit(a *dns.Msg, room int) {
	for len(a.Answer) > 1 && a.Len() > room {
		a.Answer = a.Answer[:len(a.Answer)-1]
	}
}
