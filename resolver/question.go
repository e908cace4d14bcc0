package resolver

import (
	"net/netip"
	"slices"

	"github.com/miekg/dns"
)

// dnsPort is the servers' (RFC 1035 section 4.2).
const dnsPort = 53

// handle looks at a packet that waits for a verdict. It reports whether the packet
// was a question that is answered here, and is to go no further.
func (r *Resolver) handle(out *sender, h held) (taken bool) {
	s := r.byIndex(h.link)
	if s == nil || len(h.mac) == 0 {
		return false
	}
	d, ok := readDatagram(h.packet)
	if !ok || d.to.Port() != dnsPort {
		return false
	}
	gateway := slices.Contains(s.Gateways, d.to.Addr())
	if !gateway && s.has(d.to.Addr()) {
		return false // for a container, which has a server of its own
	}
	q, err := parse(d.data)
	if err != nil {
		return false
	}
	back := asked{out: out, link: h.link, mac: slices.Clone(h.mac), datagram: datagram{from: d.to, to: d.from}, room: room(q)}
	if a, ours := s.zone.answer(q, back.room); ours {
		return back.send(a) == nil
	}
	if !gateway {
		return false
	}
	if s.Internal {
		return back.send(refuse(q, dns.RcodeRefused)) == nil
	}
	r.later(func() {
		if err := back.send(r.forward(q, "udp")); err != nil {
			r.opts.Log.Debug(err)
		}
	})
	return true
}

// has reports whether an address is one of the segment.
func (s *served) has(ip netip.Addr) bool {
	for _, p := range s.Subnets {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

// asked is who waits for an answer, and how it gets there.
type asked struct {
	out  *sender
	link int
	mac  []byte
	datagram
	room int
}

// send sends an answer in the name of the server that was asked.
func (a asked) send(m *dns.Msg) error {
	m.Truncate(a.room)
	data, err := m.Pack()
	if err != nil {
		return err
	}
	a.data = data
	return a.out.send(a.link, a.mac, a.datagram)
}

// later runs f beside the reader, unless too many run already: then the question
// is lost, and who asked asks again.
func (r *Resolver) later(f func()) {
	select {
	case r.busy <- struct{}{}:
		r.tasks.Go(func() {
			defer func() { <-r.busy }()
			f()
		})
	default:
		r.opts.Log.Debug("resolver: too many questions wait for other servers")
	}
}
