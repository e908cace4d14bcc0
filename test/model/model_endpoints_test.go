package model

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"fairway/store"
)

// in returns the fate of the endpoint that r names, if it may be in the network
// that r names.
func (m *model) in(r request) *fate[epFact] {
	f := m.endpoints[r.endpoint]
	if slices.ContainsFunc(f.facts(), func(e *epFact) bool { return e.network == r.network }) {
		return f
	}
	return nil
}

func (m *model) createEndpoint(r request, o outcome) (why string, err error) {
	f := fateOf(m.endpoints, r.endpoint)
	fact := &epFact{engine: m.engine(r.engine), network: r.network, mac: r.mac, v4: r.v4, v6: r.v6}
	switch {
	case m.networks[r.network].absent():
		why = "no network"
		if o.ok() && len(m.networks[r.network].facts()) == 0 && !m.loose {
			return why, fmt.Errorf("accepted without a network")
		}
	case m.crowded(r.network):
		why = "the bridge is full"
	}
	var again *epFact
	for _, e := range f.facts() {
		if e.network == r.network && e.v4 == r.v4 && e.v6 == r.v6 && (r.mac == "" || e.mac == r.mac) {
			again = e
		} else {
			why = "is there with other settings"
		}
	}
	for id, other := range m.endpoints {
		if id == r.endpoint {
			continue
		}
		e := other.sharing(fact)
		if e == nil {
			continue
		}
		if e.sandbox != "" {
			why = "address of " + id
		}
		switch {
		case !o.ok():
			other.add(nil)
			if e.sandbox == "" || !m.alive(e.sandbox) {
				m.soften(e.v4, e.v6)
			}
		case other.sure() != nil && e.sandbox != "" && m.alive(e.sandbox) && !m.loose:
			return why, fmt.Errorf("accepted with an address of %s", id)
		default:
			other.become(nil)
		}
	}
	if o.reply.Interface != nil && o.ok() {
		if r.mac != "" && o.reply.Interface.MacAddress != "" || o.reply.Interface.Address+o.reply.Interface.AddressIPv6 != "" {
			return why, fmt.Errorf("reply repeats what was given: %+v", *o.reply.Interface)
		}
		if again != nil && again.mac != "*" && f.sure() != nil && again.mac != o.reply.Interface.MacAddress {
			return why, fmt.Errorf("another MAC address than before: %s", o.reply.Interface.MacAddress)
		}
		fact.mac = o.reply.Interface.MacAddress
	}
	if fact.mac == "" {
		fact.mac = "*" // nobody knows
		if again != nil {
			fact.mac = again.mac
		}
	}
	if again != nil && f.sure() != nil && o.ok() {
		return why, nil // it stays as it is, joined or not
	}
	m.confirmed(r)
	settle(m, f, o, fact, false)
	return why, nil
}

// confirmed notes that fairway has seen addresses in use that Docker may have
// given back before.
func (m *model) confirmed(r request) {
	m.eachLease(func(l lease) { m.leases[l] = max(m.leases[l], soft) }, r.v4, r.v6)
}

// soften notes that whoever has these addresses may have lost them.
func (m *model) soften(ips ...netip.Prefix) {
	m.eachLease(func(l lease) { m.leases[l] = min(m.leases[l], soft) }, ips...)
}

// eachLease calls do for each pool that addresses may be in.
func (m *model) eachLease(do func(lease), ips ...netip.Prefix) {
	for _, f := range m.pools {
		for _, p := range f.facts() {
			for _, a := range ips {
				l := lease{p.space, netip.MustParsePrefix(p.subnet), a.Addr()}
				if a.IsValid() && l.subnet.Contains(l.ip) {
					do(l)
				}
			}
		}
	}
}

// sharing returns what f may be that has an address of e.
func (f *fate[T]) sharing(e *epFact) *epFact {
	for _, t := range f.facts() {
		o, ok := any(t).(*epFact)
		if ok && o.network == e.network && (o.v4.IsValid() && o.v4 == e.v4 || o.v6.IsValid() && o.v6 == e.v6) {
			return o
		}
	}
	return nil
}

func (m *model) join(r request, o outcome) (why string, err error) {
	f := m.in(r)
	if f == nil || f.absent() || m.networks[r.network].absent() {
		why = "no endpoint"
		if f == nil {
			if o.ok() && !m.loose {
				return why, fmt.Errorf("accepted without an endpoint")
			}
			return why, nil
		}
	}
	for _, e := range f.facts() {
		if e.sandbox != "" && e.sandbox != r.sandbox {
			why = "in sandbox " + e.sandbox
			if o.ok() && f.sure() != nil && m.alive(e.sandbox) && !m.loose {
				return why, fmt.Errorf("accepted while %s", why)
			}
		}
	}
	if o.ok() && (o.reply.InterfaceName == nil || o.reply.InterfaceName.SrcName == "") {
		return why, fmt.Errorf("reply names no link")
	}
	own := m.onLAN(r.network)
	m.eachForm(f, o, func(e *epFact) {
		if own && r.ports != "" && (e.sandbox != r.sandbox || e.ports == "") {
			e.ports = r.ports
		}
		e.sandbox = r.sandbox
	}, false)
	return why, nil
}

// eachForm settles a call that changes a record: what it may be now is what it
// may have been, changed.
func (m *model) eachForm(f *fate[epFact], o outcome, change func(*epFact), undoes bool) {
	var after []*epFact
	for _, e := range f.facts() {
		changed := *e
		change(&changed)
		after = append(after, &changed)
	}
	switch {
	case m.loose, o.lost, o.refused != "" && undoes:
		f.add(after...)
	case o.ok():
		if f.absent() && undoes {
			after = append(after, nil)
		}
		f.become(after...)
	}
}

// clear is Leave and Revoke: gone already is well, too.
func (m *model) clear(r request, o outcome) {
	if f := m.in(r); f != nil {
		m.weak[r.endpoint] = append(m.weak[r.endpoint], f.facts()...)
		own := m.onLAN(r.network)
		m.eachForm(f, o, func(e *epFact) {
			if r.method == "Leave" || !own { // there it is the endpoint's, whoever the gateway is
				e.ports = ""
			}
			if r.method == "Leave" {
				e.sandbox = ""
			}
		}, true)
	}
}

func (m *model) publish(r request, o outcome) (why string, err error) {
	f := m.in(r)
	if f == nil || f.absent() || m.networks[r.network].absent() {
		why = "no endpoint"
		if f == nil {
			if o.ok() && !m.loose {
				return why, fmt.Errorf("accepted without an endpoint")
			}
			return why, nil
		}
	}
	for _, e := range f.facts() {
		if !e.v4.IsValid() && !e.v6.IsValid() {
			why = "no address"
		}
	}
	for _, word := range strings.Fields(r.ports) {
		if strings.HasSuffix(word, fmt.Sprint("/", foreignPort)) {
			why = "the port is the host's"
			if o.ok() && f.sure() != nil && f.sure().ports != r.ports && m.publishes(r.network) {
				return why, fmt.Errorf("accepted a port that the host has")
			}
		}
		for id, other := range m.endpoints {
			for _, e := range other.facts() {
				if id == r.endpoint || strings.HasSuffix(word, "/0") || !slices.Contains(strings.Fields(e.ports), word) {
					continue
				}
				why = "the port is of " + id
				if e.sandbox == "" || !m.alive(e.sandbox) {
					other.add(nil) // stale: it may make way
				}
			}
		}
	}
	m.eachForm(f, o, func(e *epFact) { e.ports = r.ports }, false)
	return why, nil
}

// onLAN reports whether a network's endpoints publish on their own addresses.
func (m *model) onLAN(network string) bool {
	for _, n := range m.networks[network].facts() {
		if strings.Contains(n.form, "mode:macvlan") || strings.Contains(n.form, "mode:ipvlan") {
			return true
		}
	}
	return false
}

// publishes reports whether a network takes ports of the host for all of its
// addresses, in IPv4.
func (m *model) publishes(network string) bool {
	n := m.networks[network].sure()
	return n != nil && !strings.Contains(n.form, "routed") && !strings.Contains(n.form, "mode:macvlan") && !strings.Contains(n.form, "mode:transparent") && strings.Contains(n.form, "] false true ")
}

func epFactOf(e store.Endpoint) epFact {
	var ports []string
	for _, p := range e.Requested {
		ports = append(ports, fmt.Sprintf("%s/%d", map[uint8]string{6: "tcp", 17: "udp"}[p.Proto], p.HostPort))
	}
	return epFact{
		engine: e.Engine, network: e.Network, mac: e.MAC, sandbox: e.Sandbox,
		ports: strings.Join(ports, " "), v4: e.IPv4, v6: e.IPv6,
	}
}

func sameEndpoint(a, b epFact) bool {
	if a.mac == "*" {
		a.mac = b.mac
	}
	return a == b
}
