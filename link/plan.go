package link

import (
	"cmp"
	"maps"
	"net"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// A Repair is something that Reconcile had to do.
type Repair struct {
	Object string // e.g. "veth fwv0 to fwb0"
	What   string // what was found
}

// A state is what the kernel of one namespace holds.
type state struct {
	links      []linkState
	addresses  map[addressAt]int
	neighbours map[neighbourAt]string  // permanent ones, with their MAC addresses
	fdb        map[int]map[string]bool // static entries by port
	sysctls    map[string]string       // of those that are wanted
	leaving    map[string]bool         // links that are being removed already
	alive      map[string]bool         // sandboxes that live
	inside     map[string]linkState    // macvlans in their sandboxes, by the name that is wanted
	routes     map[routeAt]bool        // of ours, if any are wanted
}

// A step takes the kernel nearer to what is wanted: it removes an object or
// makes it (sure).
type step struct {
	remove bool
	object Object
	what   string // was found
}

// An orphan is a link of ours that nobody wants.
type orphan struct{ namespace, name, alias string }

// Key implements Object.
func (o orphan) Key() Key       { return Key{o.namespace, "link", o.name} }
func (o orphan) String() string { return "link " + o.name }

// plan lists the steps from have to want, both of one namespace, in a fixed
// order. Removals come first: a name must be free before it is given again. It
// touches nothing.
func plan(namespace string, want Set, have state, m marks) []step {
	p := planner{
		namespace: namespace, want: want, state: have, marks: m,
		byName: map[string]linkState{}, static: map[behind]bool{}, taken: map[string]bool{}, coming: map[string]bool{}, waits: map[string]bool{},
	}
	for _, l := range have.links {
		p.byName[l.name] = l
	}
	for _, o := range want {
		if v, ok := o.(Veth); ok && p.fdb[p.byName[v.Name].index][v.PeerMAC.String()] {
			p.static[behind{v.Master, v.PeerMAC.String()}] = true
		}
		if b, ok := o.(Bridge); ok {
			l, there := p.byName[b.Name]
			p.taken[b.Name] = there && !b.Adopted && !p.ourBridge(l)
		}
	}
	p.orphanLinks()
	p.orphansOnBridges()
	p.orphanRoutes()
	for _, o := range want {
		p.missing(o)
	}
	return p.steps
}

type planner struct {
	state
	marks
	namespace string
	want      Set
	byName    map[string]linkState
	static    map[behind]bool // in the forwarding database, by a port that wants it
	taken     map[string]bool // bridges in whose place somebody else has a link
	coming    map[string]bool // links that are made before those on them
	waits     map[string]bool // shims that wait for their parent
	steps     []step
}

// A behind is a MAC address behind a bridge. Two endpoints that were given the
// same one share the bridge's one entry, whoever has it.
type behind struct{ bridge, mac string }

func (p *planner) remove(o Object, what string) {
	p.steps = append(p.steps, step{true, o, what})
}

func (p *planner) make(o Object, what string) {
	if what != "" {
		p.steps = append(p.steps, step{false, o, what})
	}
}

// orphanLinks removes the links of ours that nobody wants. Of a pair, the
// removal of one end does it.
func (p *planner) orphanLinks() {
	wanted := map[string]bool{}
	ends := map[int]bool{} // the other ends of wanted links, and of those that leave
	for _, l := range p.links {
		if p.leaving[l.name] && !l.elsewhere {
			ends[l.peer] = true
		}
	}
	for _, o := range p.want {
		switch o := o.(type) {
		case Bridge:
			wanted[o.Name] = true
		case VLAN:
			wanted[o.Name] = true
		case Isle:
			wanted[o.Name] = true
		case VXLAN:
			wanted[o.Name] = true
		case Shim:
			wanted[o.Name] = true
		case Macvlan:
			wanted[o.Name] = true
		case Veth:
			wanted[o.Name], wanted[o.Peer] = true, true
			if l := p.byName[o.Name]; !l.elsewhere {
				ends[l.peer] = true
			}
		}
	}
	gone := map[int]bool{}
	for _, l := range p.links {
		if !p.ours(l) || wanted[l.name] || ends[l.index] || p.leaving[l.name] {
			continue
		}
		if !l.elsewhere && gone[l.peer] {
			continue
		}
		gone[l.index] = true
		p.remove(orphan{p.namespace, l.name, l.alias}, "belonged to nothing")
	}
}

// orphansOnBridges removes neighbours that nobody wants from bridges of ours:
// endpoints leave them behind in a crash. One that is outside of the bridge's
// subnets, and an address that nobody wants, is somebody else's (an operator's,
// keepalived's): our addresses come and go with their bridge.
func (p *planner) orphansOnBridges() {
	names, neighbours, subnets := map[int]string{}, map[neighbourAt]bool{}, map[string][]netip.Prefix{}
	for _, o := range p.want {
		switch o := o.(type) {
		case Bridge:
			if l, ok := p.byName[o.Name]; ok && !o.Adopted && !o.Remote && p.ours(l) {
				names[l.index] = l.name
			}
		case Address:
			subnets[o.Link] = append(subnets[o.Link], o.Prefix)
		case Neighbour:
			neighbours[neighbourAt{p.byName[o.Link].index, o.IP}] = true
		}
	}
	byIP := func(a, b neighbourAt) int { return cmp.Or(a.link-b.link, a.ip.Compare(b.ip)) }
	for _, n := range slices.SortedFunc(maps.Keys(p.neighbours), byIP) {
		if name, ok := names[n.link]; ok && !neighbours[n] && !foreign(n.ip, subnets[name]) {
			mac, _ := net.ParseMAC(p.neighbours[n])
			p.remove(Neighbour{p.namespace, name, n.ip, mac}, "belonged to nothing")
		}
	}
}

// foreign reports whether no endpoint can have had ip on a bridge. One that has
// no address in a family says nothing of that family's subnet.
func foreign(ip netip.Addr, subnets []netip.Prefix) bool {
	known := false
	for _, s := range subnets {
		if s.Contains(ip) {
			return false
		}
		known = known || s.Addr().Is4() == ip.Is4()
	}
	return known
}

// missing makes what is wanted and not as it should be. On a link of somebody
// else's that is where a bridge of ours should be, nothing is made.
func (p *planner) missing(o Object) {
	const gone = "was missing"
	if p.taken[on(o)] {
		return
	}
	switch o := o.(type) {
	case Bridge:
		l, ok := p.byName[o.Name]
		switch {
		case !ok:
			p.make(o, gone)
		case o.Adopted:
		case p.taken[o.Name]:
			p.make(o, "was somebody else's")
		default:
			p.make(o, bridgeDiff(o, l, p.marks))
		}
	case Veth:
		p.veth(o)
	case Macvlan:
		p.macvlan(o)
	case VLAN:
		p.vlan(o)
	case Isle:
		p.isle(o)
	case VXLAN:
		p.vxlan(o)
	case Shim:
		p.shim(o)
	case HostRoute:
		p.hostRoute(o)
	case Address:
		if l, ok := p.byName[o.Link]; !ok {
			p.make(o, gone+" with its link")
		} else if flags, ok := p.addresses[addressAt{l.index, o.Prefix}]; !ok || flags&unix.IFA_F_DADFAILED != 0 {
			p.make(o, gone)
		}
	case Neighbour:
		l, ok := p.byName[o.Link]
		mac, there := p.neighbours[neighbourAt{l.index, o.IP}]
		switch {
		case !ok:
			p.make(o, gone+" with its link")
		case !there:
			p.make(o, gone)
		case mac != o.MAC.String():
			p.make(o, "MAC address was "+mac)
		}
	case Sysctl:
		if now, ok := p.sysctls[o.Path]; !ok {
			p.make(o, gone)
		} else if now != o.Value {
			p.make(o, "was "+now)
		}
	}
}

func (p *planner) veth(v Veth) {
	host, ok := p.byName[v.Name]
	switch {
	case p.leaving[v.Name]:
	case v.Adopted && p.byName[v.Master].kind != "bridge":
		// It is waited for.
	case !ok && v.Sandbox != "" && !p.alive[v.Sandbox]:
		// Its sandbox has gone, and the pair with it: what becomes of the
		// endpoint is not for the kernel to say.
	case !ok:
		p.make(v, "was missing")
	case !p.ours(host) || host.kind != "veth":
		p.make(v, "was somebody else's")
	case !p.isFor(host, v.Alias):
		p.make(v, "was another endpoint's")
	case halfMade(v, host):
		p.make(v, "was half made")
	default:
		var d differences
		if what := vethDiff(v, host, p.byName[v.Master].index, p.static[behind{v.Master, v.PeerMAC.String()}], p.marks); what != "" {
			d = append(d, what)
		}
		if peer, ok := p.byName[v.Peer]; ok && !host.elsewhere && peer.index == host.peer {
			if what := peerDiff(v, peer, p.marks); what != "" {
				d = append(d, what)
			}
		}
		p.make(v, d.String())
	}
}
