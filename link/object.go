package link

import (
	"fmt"
	"net"
	"net/netip"
	"path"
)

// An Object is something that the kernel must hold. Objects are plain values:
// two with the same Key are the same thing in the kernel, and one of them is
// made.
type Object interface {
	Key() Key
	fmt.Stringer // for errors: "bridge fwb7", "veth fwv0 to fwb7"
}

// A Set is what must exist, in the order in which it can be made.
type Set []Object

// A Key identifies an object over all networks.
type Key struct {
	Namespace string // a path, or "" for the daemon's own
	Kind      string // "bridge", "veth", "macvlan", "vlan", "vxlan", "isle", "shim", "address", "route", "neighbour", "sysctl"
	Name      string // unique in the namespace and kind
}

// A Bridge is a Linux bridge with spanning tree off and no forward delay.
// It never accepts router advertisements. See ip-link(8) and
// Documentation/networking/bridge.rst.
type Bridge struct {
	Namespace string
	Name      string
	Alias     string           // its mark: see Mark
	MAC       net.HardwareAddr // nil: the kernel's choice; set, so that ports coming and going don't change it
	MTU       int              // bytes
	IPv6      bool             // false: disable_ipv6 before it is up
	// Remote: it has neighbours on other hosts, see Remotes: Reconcile removes none.
	Remote bool
	// Multicast: frames of a group go only to those who want them.
	Multicast bool
	// Adopted: the bridge is somebody else's. It must be there
	// (unix.ENODEV otherwise), is set up if it is down when it is applied, not
	// configured otherwise, and never removed.
	Adopted bool
}

// A Veth is a pair of links: Name is a port of Master on the host, Peer waits
// beside it until Docker moves it into the sandbox. The host's end speaks no
// IPv6 of its own. See veth(4) and bridge(8).
type Veth struct {
	Namespace string
	Name      string
	Peer      string
	PeerMAC   net.HardwareAddr // the container's address
	MTU       int              // bytes; 0 on an adopted bridge: that of the bridge when the pair comes to it
	PeerMTU   int              // of the container's end; 0: as MTU
	Master    string           // unix.ENODEV if there is none, unix.EXFULL if it has its 1,023 ports
	// Adopted: Master is somebody else's bridge. Otherwise it must be ours
	// (unix.EEXIST): one that somebody else has put in its place gets no port.
	// An adopted one that is missing is waited for by Reconcile.
	Adopted  bool
	Alias    string // mark of both ends
	Isolated bool   // no frames between isolated ports of the bridge
	Learning bool   // false: no learning on the port, PeerMAC is a static FDB entry
	Hairpin  bool   // frames may leave by the port that they came in by
	VLANs    PortVLANs

	// Sandbox is the path of the network namespace that Peer was handed to; ""
	// before Join. When the pair has vanished while its sandbox lives on,
	// Reconcile makes it again with the peer inside, configured as Inside says.
	Sandbox string
	Inside  Inside
}

// A Macvlan is a link with a MAC address of its own on Parent or, with IPvlan,
// one that has the MAC address of Parent and is told apart by its IP addresses,
// see Documentation/networking/ipvlan.rst. Name waits in the
// namespace of Parent until Docker moves it into the sandbox. It can't be seen
// from outside there, and it dies with Parent. See ip-link(8).
type Macvlan struct {
	Namespace string
	Name      string
	Parent    string // unix.ENODEV if there is none
	Mode      MacvlanMode
	IPvlan    IPvlan // set: an ipvlan in place of a macvlan; Mode and MAC don't count then
	MAC       net.HardwareAddr
	MTU       int // bytes; 0: that of Parent
	Alias     string

	// Sandbox is the path of the network namespace that it was handed to; ""
	// before Join and after Leave. If it isn't in there while its sandbox lives
	// on, Reconcile makes it again, configured as Inside says.
	Sandbox string
	Inside  Inside
	// Left: it was in a sandbox and isn't any more. Docker moves it back, or it
	// died with its sandbox: Reconcile makes none.
	Left bool
}

// MacvlanMode is who hears whom of the links on one parent.
type MacvlanMode string

// The modes, see ip-link(8).
const (
	MacvlanBridge   MacvlanMode = "bridge"   // they reach each other
	MacvlanPrivate  MacvlanMode = "private"  // they never do
	MacvlanVEPA     MacvlanMode = "vepa"     // by a switch that sends frames back where they came from (IEEE 802.1Qbg)
	MacvlanPassthru MacvlanMode = "passthru" // there is just one, and it has the parent's MAC address
)

// An IPvlan says how the ipvlans of one parent behave: the kernel has one mode
// and flag for all of them. The zero value is none.
type IPvlan struct {
	Mode IPvlanMode
	Flag IPvlanFlag
}

// IPvlanMode is what an ipvlan's parent does with packets.
type IPvlanMode string

// The modes: Documentation/networking/ipvlan.rst, section 4.
const (
	IPvlanL2  IPvlanMode = "l2"  // a switch
	IPvlanL3  IPvlanMode = "l3"  // a router, by the routes of the host
	IPvlanL3S IPvlanMode = "l3s" // likewise, and what comes and goes passes the host's netfilter
)

// IPvlanFlag is who reaches whom of the ipvlans on one parent.
type IPvlanFlag string

// The flags: Documentation/networking/ipvlan.rst, section 5.
const (
	IPvlanBridge  IPvlanFlag = "bridge"  // they reach each other
	IPvlanPrivate IPvlanFlag = "private" // they never do
	IPvlanVEPA    IPvlanFlag = "vepa"    // by a switch that sends frames back where they came from
)

// A VLAN is a link for one VLAN of Parent: its frames have a tag there (IEEE
// 802.1Q), and on a VLAN of a VLAN two ("QinQ"). It is up if Parent is, has its
// MTU, and speaks no IPv6 of its own. A link of this name that is the host's own
// is left as it is if it is that VLAN, and unix.EEXIST otherwise.
type VLAN struct {
	Namespace string
	Name      string
	Parent    string // unix.ENODEV if there is none
	ID        int    // 1 to 4094
	Alias     string
}

// An Isle is an Ethernet link that leads nowhere: what leaves by it is dropped.
// It is the parent of links that are to reach each other only. It is a dummy, or
// an ifb where the kernel has no dummy.
type Isle struct {
	Namespace string
	Name      string
	Alias     string
	MTU       int // bytes
}

// Inside is how the end of a Veth, or a Macvlan, in the sandbox is configured
// when fairway itself has to make it there.
type Inside struct {
	Prefix    string // of the interface's name, e.g. "eth"; the lowest free index is added
	Addresses []netip.Prefix
	Gateways  []netip.Addr // default routes, at most one a family
	Routes    []Route
	Autoconf  Autoconf // of IPv6
}

// A Route is a static route of a container.
type Route struct {
	Destination netip.Prefix
	NextHop     netip.Addr // invalid: on link
}

// An Address is an IP address on a link of the host, without duplicate address
// detection.
type Address struct {
	Namespace string
	Link      string
	Prefix    netip.Prefix // address and length of its subnet
	// Deprecated: the host sends from it only if told to (RFC 4862 section 5.5.4);
	// the kernel heeds that in IPv6.
	Deprecated bool
}

// A Neighbour is a permanent entry of the neighbour table: what the address
// answers to is not up to who speaks first.
type Neighbour struct {
	Namespace string
	Link      string
	IP        netip.Addr
	MAC       net.HardwareAddr
}

// A Sysctl is a value below /proc/sys of a namespace.
type Sysctl struct {
	Namespace string
	Path      string // below /proc/sys, e.g. "net/ipv4/conf/fwb7/route_localnet"
	Value     string
	Reset     string // written when the object is removed; "" leaves it
}

// Key implements Object.
func (b Bridge) Key() Key { return Key{b.Namespace, "bridge", b.Name} }

// Key implements Object.
func (v Veth) Key() Key { return Key{v.Namespace, "veth", v.Name} }

// Key implements Object.
func (m Macvlan) Key() Key { return Key{m.Namespace, "macvlan", m.Name} }

// Key implements Object.
func (v VLAN) Key() Key { return Key{v.Namespace, "vlan", v.Name} }

// Key implements Object.
func (i Isle) Key() Key { return Key{i.Namespace, "isle", i.Name} }

// Key implements Object.
func (a Address) Key() Key { return Key{a.Namespace, "address", a.Link + " " + a.Prefix.String()} }

// Key implements Object.
func (n Neighbour) Key() Key { return Key{n.Namespace, "neighbour", n.Link + " " + n.IP.String()} }

// Key implements Object.
func (s Sysctl) Key() Key { return Key{s.Namespace, "sysctl", s.Path} }

// on returns the name of the bridge that an object is a part of; "" for a bridge
// itself.
func on(o Object) string {
	switch o := o.(type) {
	case Veth:
		return o.Master
	case VXLAN:
		return o.Master
	case Address:
		return o.Link
	case Neighbour:
		return o.Link
	case Sysctl:
		return path.Base(path.Dir(o.Path))
	}
	return ""
}

func (b Bridge) String() string    { return "bridge " + b.Name }
func (v Veth) String() string      { return "veth " + v.Name + " to " + v.Master }
func (m Macvlan) String() string   { return m.kind() + " " + m.Name + " on " + m.Parent }
func (v VLAN) String() string      { return "vlan " + v.Name + " on " + v.Parent }
func (i Isle) String() string      { return "link " + i.Name }
func (a Address) String() string   { return "address " + a.Prefix.String() + " on " + a.Link }
func (n Neighbour) String() string { return "neighbour " + n.IP.String() + " on " + n.Link }
func (s Sysctl) String() string    { return "sysctl " + s.Path + "=" + s.Value }
