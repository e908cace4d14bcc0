package nftables

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/google/nftables/expr"

	"fairway/nat"
)

// An element is one of a set: the end of an interval is an element, too.
type element struct {
	set, key string // the key as the kernel has it
	end      bool
}

// A value is what an element maps to, and a comment.
type value struct {
	data    string // as the kernel has it, for a map
	verdict string // for a map of verdicts, as nft writes it: "goto to-nat"
	comment string
}

// A fill is the content of all sets, or of a part.
type fill struct {
	elements  map[element]value
	contested bool // two wanted the same
}

func newFill() *fill { return &fill{elements: map[element]value{}} }

// newFillOf returns a fill with room for the ports of endpoints.
func newFillOf(endpoints map[string]*nat.Endpoint) *fill {
	n := 0
	for _, e := range endpoints {
		if e != nil {
			n += len(e.Ports)
		}
	}
	return &fill{elements: make(map[element]value, n)}
}

// empty reports whether f is of no network and no published port: the bridges
// of others need no table.
func (f *fill) empty() bool {
	for e := range f.elements {
		if e.set != setContainers && e.set != setAlike {
			return false
		}
	}
	return true
}

func (f *fill) add(set string, key []byte, v value) { f.put(element{set: set, key: string(key)}, v) }

func (f *fill) put(e element, v value) {
	if was, there := f.elements[e]; there {
		f.contested = f.contested || was != v
		return
	}
	f.elements[e] = v
}

// prefix adds the addresses of p to a set of intervals.
func (f *fill) prefix(set string, p netip.Prefix, v value) {
	p = p.Masked()
	last := p.Addr().AsSlice()
	for i := p.Bits(); i < len(last)*8; i++ {
		last[i/8] |= 0x80 >> (i % 8)
	}
	f.add(set, p.Addr().AsSlice(), v)
	end, _ := netip.AddrFromSlice(last)
	if end = end.Next(); end.IsValid() { // else it goes to the end of all
		f.put(element{set, string(end.AsSlice()), true}, value{})
	}
}

func linkKey(name string) []byte {
	key := make([]byte, 16)
	copy(key, name)
	return key
}

// linksKey is nfproto . ifname, or with two names nfproto . ifname . ifname.
func linksKey(v6 bool, names ...string) []byte {
	key := []byte{proto(v6), 0, 0, 0}
	for _, n := range names {
		key = append(key, linkKey(n)...)
	}
	return key
}

func portKey(p uint16) []byte { return binary.BigEndian.AppendUint16(nil, p) }

func addrPort(a netip.Addr, p uint16) []byte { return append(append(a.AsSlice(), portKey(p)...), 0, 0) }

func protoPort(proto uint8, p uint16) []byte {
	return append([]byte{proto, 0, 0, 0}, append(portKey(p), 0, 0)...)
}

func bound(a netip.Addr, proto uint8, p uint16) []byte {
	return append(a.AsSlice(), protoPort(proto, p)...)
}

// leastRange is how many ports in a row are one element, if they keep their
// numbers: below that, hashing them is quicker than searching.
const leastRange = 16

// endpoint adds what an endpoint needs; nothing for nil.
func (f *fill) endpoint(e *nat.Endpoint) {
	if e == nil {
		return
	}
	f.endpointClients(e)
	note := e.ID[:min(len(e.ID), 12)]
	for _, a := range e.Carried {
		f.add(setCarried+suffix(a.Is6()), a.AsSlice(), value{comment: note})
	}
	var rest []nat.Port
	for _, p := range e.Ports {
		s := suffix(p.Target.Is6())
		if p.HostPort == 0 || e.Direct {
			f.add(setDirect+s, bound(p.Target, p.Proto, p.TargetPort), value{comment: note})
		}
		switch {
		case p.HostPort == 0: // a routed family
		case !p.Host().IsUnspecified():
			f.add(mapBound+s, bound(p.Host(), p.Proto, p.HostPort), value{data: string(addrPort(p.Target, p.TargetPort)), comment: note})
			if p.Host().IsLoopback() && p.Host().Is4() {
				// Somebody else may have set route_localnet on an uplink.
				f.add(setLoopback, bound(p.Host(), p.Proto, p.HostPort), value{comment: note})
			}
		default:
			rest = append(rest, p)
		}
	}
	for _, run := range runs(rest) {
		first, last := run[0], run[len(run)-1]
		if len(run) >= leastRange {
			set := rangesOf(first.Target.Is6(), first.Proto)
			f.add(set, portKey(first.HostPort), value{data: string(first.Target.AsSlice()), comment: note})
			if last.HostPort != 65535 {
				f.put(element{set, string(portKey(last.HostPort + 1)), true}, value{})
			}
			continue
		}
		for _, p := range run {
			f.add(mapPorts+suffix(p.Target.Is6()), protoPort(p.Proto, p.HostPort),
				value{data: string(addrPort(p.Target, p.TargetPort)), comment: note})
		}
	}
}

// runs groups ports that follow each other under their own numbers to one
// target; any other port is alone.
func runs(ports []nat.Port) (out [][]nat.Port) {
	slices.SortFunc(ports, func(a, b nat.Port) int {
		return cmp.Or(a.Target.Compare(b.Target), cmp.Compare(a.Proto, b.Proto), cmp.Compare(a.HostPort, b.HostPort),
			cmp.Compare(a.TargetPort, b.TargetPort))
	})
	ports = slices.Compact(ports)
	for i, p := range ports {
		if i > 0 {
			was := ports[i-1]
			if was.Target == p.Target && was.Proto == p.Proto && was.HostPort == was.TargetPort && p.HostPort == p.TargetPort &&
				int(was.HostPort)+1 == int(p.HostPort) {
				out[len(out)-1] = append(out[len(out)-1], p)
				continue
			}
		}
		out = append(out, []nat.Port{p})
	}
	return out
}

// networks adds what all networks need together, and returns the chains of
// those bridges that several networks or other traffic share.
func (f *fill) networks(networks []nat.Network, a nat.Around) (own []chain) {
	for _, l := range append([]string{"docker0", "docker_gwbridge"}, a.Foreign...) {
		f.add(setContainers, linkKey(l), value{})
	}
	chains := map[string]*chain{}
	for _, b := range bridges(networks, a) {
		f.bridge(b, chains)
		for _, n := range b.nets {
			f.leaving(n)
			f.networkClients(n)
		}
	}
	for _, l := range a.Lookalikes {
		f.add(setAlike, linksKey(false, l), value{})
		f.add(setAlike, linksKey(true, l), value{})
	}
	for _, c := range chains {
		own = append(own, *c)
	}
	slices.SortFunc(own, func(a, b chain) int { return cmp.Compare(a.name, b.name) })
	return own
}

// A bridge is a link with the networks on it in one family.
type bridge struct {
	link   string
	v6     bool
	nets   []network
	shared bool // also other packets go through it than those of one network
}

// A network is what one family of a nat.Network says.
type network struct {
	nat.Network
	nat.Family
}

func bridges(networks []nat.Network, a nat.Around) (out []bridge) {
	type key struct {
		link string
		v6   bool
	}
	by := map[key][]network{}
	for _, n := range networks {
		for _, fam := range n.Families {
			k := key{n.Link, fam.Is6()}
			by[k] = append(by[k], network{n, fam})
		}
	}
	for k, nets := range by {
		slices.SortFunc(nets, func(a, b network) int { return cmp.Compare(a.ID, b.ID) })
		out = append(out, bridge{k.link, k.v6, nets, len(nets) > 1 || a.Uplinks[k.link]})
	}
	slices.SortFunc(out, func(a, b bridge) int {
		if a.link != b.link || a.v6 == b.v6 {
			return cmp.Compare(a.link, b.link)
		}
		return cmp.Compare(proto(a.v6), proto(b.v6))
	})
	return out
}

func (f *fill) bridge(b bridge, own map[string]*chain) {
	one, two := linksKey(b.v6, b.link), linksKey(b.v6, b.link, b.link)
	f.add(setBridges, one, value{})
	f.add(setHome, two, value{})
	if nat.LooksLikeDockers(b.link) {
		f.add(setAlike, one, value{})
	}
	if slices.ContainsFunc(b.nets, func(n network) bool { return n.Internal }) {
		f.add(setInternal, one, value{})
	}
	if b.nets[0].Beside {
		f.beside(b, own)
		return
	}
	if b.shared {
		f.sharedBridge(b, own)
		return
	}
	n := b.nets[0]
	note := n.ID[:min(len(n.ID), 12)]
	to := func(verdict string) value { return value{verdict: verdict, comment: note} }
	if n.ICC {
		f.add(mapWithin, two, to("accept"))
	} else {
		f.add(mapWithin, two, to("goto "+chainNoICC))
	}
	f.add(mapInto, one, to("goto "+chainReturning))
	if n.Internal {
		f.add(mapFrom, one, to("goto "+chainInternal))
		f.add(mapTo, one, to("goto "+chainInternal))
		return
	}
	f.add(mapFrom, one, to("jump "+chainOutward))
	f.add(mapTo, one, to("goto "+entry(n.Mode)))
	for _, t := range n.Trusted {
		f.add(setTrusted, linksKey(b.v6, t, b.link), to(""))
	}
}

// beside is for the host's own link on a LAN: see nat.Network.
func (f *fill) beside(b bridge, own map[string]*chain) {
	one, two := linksKey(b.v6, b.link), linksKey(b.v6, b.link, b.link)
	to := func(verdict string) value {
		return value{verdict: verdict, comment: b.nets[0].ID[:min(len(b.nets[0].ID), 12)]}
	}
	if b.nets[0].Internal {
		f.add(mapWithin, two, to("goto "+chainInternal))
		f.add(mapFrom, one, to("goto "+chainInternal))
		f.add(mapTo, one, to("goto "+chainInternal))
		return
	}
	name := mapInto + "-" + b.link
	own[name] = &chain{name: name, rules: []rule{mk("containers answer by the LAN", masquerade())}}
	f.add(mapWithin, two, to("goto "+chainNoICC))
	f.add(mapFrom, one, to("goto "+chainNoICC))
	f.add(mapTo, one, to("goto "+chainToNAT))
	f.add(mapInto, one, to("goto "+name))
}

// entry returns the chain for new connections into a network.
func entry(m nat.GatewayMode) string {
	switch m {
	case nat.Unprotected:
		return chainToOpen
	case nat.Routed:
		return chainToRouted
	}
	return chainToNAT
}

// sharedBridge names the subnets in chains of the bridge's own.
func (f *fill) sharedBridge(b bridge, own map[string]*chain) {
	on := func(name, comment string, parts ...match) {
		name += "-" + b.link
		if own[name] == nil {
			own[name] = &chain{name: name}
		}
		own[name].rules = append(own[name].rules, mk(comment, append([]match{family(b.v6)}, parts...)...))
	}
	one, two := linksKey(b.v6, b.link), linksKey(b.v6, b.link, b.link)
	within := "accept"
	for _, n := range b.nets {
		note := n.ID[:min(len(n.ID), 12)]
		src, dst := inside(n.Subnet, true, false), inside(n.Subnet, false, false)
		if !n.ICC {
			within = "goto " + mapWithin + "-" + b.link
			on(mapWithin, note, dst, goTo(chainNoICC))
		}
		if !b.v6 {
			on(mapInto, note, dst, inside(netip.MustParsePrefix("127.0.0.0/8"), true, false), masquerade())
		}
		on(mapInto, note, dst, src, masquerade())
		on(mapInto, note, dst, accept())
		if n.Internal {
			on(mapFrom, note, src, goTo(chainInternal))
			on(mapTo, note, dst, goTo(chainInternal))
			continue
		}
		on(mapFrom, note, src, goTo(chainOutward))
		for _, t := range n.Trusted {
			on(mapTo, note, dst, linkIs(expr.MetaKeyIIFNAME, t), goTo(chainTrusted))
		}
		on(mapTo, note, dst, goTo(entry(n.Mode)))
	}
	f.add(mapWithin, two, value{verdict: within})
	f.add(mapFrom, one, value{verdict: "jump " + mapFrom + "-" + b.link})
	f.add(mapTo, one, value{verdict: "goto " + mapTo + "-" + b.link})
	f.add(mapInto, one, value{verdict: "jump " + mapInto + "-" + b.link})
}

// leaving says what becomes of the source address of what leaves a network.
func (f *fill) leaving(n network) {
	if !n.Masquerade || n.Internal {
		return
	}
	s, note := suffix(n.Is6()), n.ID[:min(len(n.ID), 12)]
	if !n.SNAT.IsValid() {
		f.prefix(mapLeaving+s, n.Subnet, value{verdict: "goto " + chainMasquerade, comment: note})
		return
	}
	f.prefix(mapLeaving+s, n.Subnet, value{verdict: "goto " + chainSNAT, comment: note})
	f.prefix(mapSNAT+s, n.Subnet, value{data: string(n.SNAT.AsSlice()), comment: note})
}

// shared adds what is of no endpoint alone, and returns the chains for it.
func (f *fill) shared(s nat.State, a nat.Around, marks nat.Marks) []chain {
	for _, p := range s.Unroutable(a) {
		f.prefix(setClosed+suffix(p.Addr().Is6()), p, value{})
	}
	for _, p := range s.Pinged(a) {
		f.prefix(setPinged+suffix(p.Addr().Is6()), p, value{})
	}
	return slices.Concat(f.networks(s.Networks, a), f.clients(s), needs(s).chains(marks))
}

// render returns all that the table must hold.
func render(s nat.State, a nat.Around, marks nat.Marks) (*fill, []chain) {
	f := newFill()
	own := f.shared(s, a, marks)
	slices.SortFunc(s.Endpoints, func(a, b nat.Endpoint) int { return cmp.Compare(a.ID, b.ID) })
	for i := range s.Endpoints {
		f.endpoint(&s.Endpoints[i])
	}
	return f, own
}
