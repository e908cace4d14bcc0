package driver

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"fairway/link"
	"fairway/nat"
	"fairway/store"
)

// A Mode is one way to build networks. Its functions are pure but for Settle.
type Mode struct {
	// Settle decides what the record of a new network leaves open, and refuses
	// what can't be built. n.Link is a free name for the network's link.
	Settle func(ctx context.Context, n *store.Network) error
	// View returns what the record of a network says, or one line on what is
	// wrong with it.
	View func(n store.Network) (View, error)
	// NoMAC: endpoints have the MAC address of their parent. None is chosen for
	// them, and one that is given is for CheckEndpoint to refuse.
	NoMAC bool
}

// A View is a recorded network seen by its mode: what must exist for it, and
// apart from that for each of its endpoints, so that an attach costs its
// endpoint only.
type View interface {
	Links() link.Set
	// Parent is the link of the host that the endpoints' links are made on, which
	// may come and go, and whether the network must have it for itself; "" where
	// they are on a link of the network's own, or on a bridge.
	Parent() (name string, exclusive bool)
	// Firewall is without an ID where the firewall has no part in the network.
	Firewall() nat.Network
	SkipGateway() (v4, v6 bool) // Docker need not allocate one
	Effective() map[string]any

	CheckEndpoint(store.Endpoint) error
	PortPrefix(store.Endpoint) string // of the name of its link on the host; "" for none that stays there
	Attachment(store.Endpoint) link.Set
	EndpointFirewall(store.Endpoint) nat.Endpoint
	// Guarded is what an endpoint may send from; ok is false if that is anything.
	Guarded(store.Endpoint) (g nat.Guarded, ok bool)
	Inside(store.Endpoint) link.Inside
	IfaceName(store.Endpoint) string
	KeepGatewayService() bool
	Bindings(store.Endpoint, store.PortBinding) ([]store.PortBinding, error)
}

// A Sharer is a View whose endpoints' links are on a parent that other networks
// may be on too.
type Sharer interface {
	// Kind is what all links on one parent must have in common, in words.
	Kind() string
	// Silent reports that nobody on the LAN asks who has an endpoint's address.
	Silent() bool
}

// Store makes changes durable, in the order of the calls.
type Store interface {
	Begin(changes ...store.Change) <-chan error
}

// Kernel makes links, addresses, neighbours and sysctls as they are wanted.
type Kernel interface {
	// Apply makes every object, in order. It may be repeated; if it fails, what
	// this call made is gone again.
	Apply(ctx context.Context, want link.Set) error
	// Annotate gives the links of objects their marks, and changes nothing else.
	Annotate(ctx context.Context, want link.Set) error
	// Remove takes objects away; links go in groups, a little later.
	Remove(ctx context.Context, objects link.Set) error
	// Reconcile makes everything of ours as wanted, and says what it repaired.
	Reconcile(ctx context.Context, want link.Set) ([]link.Repair, error)
	// Quiesce waits until what was removed is gone.
	Quiesce(ctx context.Context) error
	// Announce tells all on a bridge, or behind a parent, which MAC address has the addresses.
	Announce(ctx context.Context, namespace, bridge string, mac net.HardwareAddr, ips ...netip.Addr) error
	// AnnounceInside is Announce by the link in a sandbox that has the MAC address.
	AnnounceInside(ctx context.Context, sandbox string, mac net.HardwareAddr, ips ...netip.Addr) error
	// Probe asks a segment who has addresses that an interface with the MAC address
	// is to get, and returns the first other one that answers; nil for nobody.
	Probe(ctx context.Context, on link.Segment, mac net.HardwareAddr, ips ...netip.Addr) (ip netip.Addr, holder net.HardwareAddr, err error)
	// Addresses returns the host's own addresses in a namespace.
	Addresses(ctx context.Context, namespace string) (map[netip.Addr]bool, error)
	// Link describes a link; unix.ENODEV if there is none.
	Link(ctx context.Context, namespace, name string) (link.Info, error)
	// SandboxAlive reports whether path is a living network namespace.
	SandboxAlive(path string) bool
	// Forwards reports whether the host forwards packets of a family.
	Forwards(v6 bool) (bool, error)
	// EnableForwarding turns on forwarding of a family on the host, and reports
	// whether it was off.
	EnableForwarding(ctx context.Context, v6 bool) (flipped bool, err error)
}

// Firewall lets packets pass as networks and endpoints want it.
type Firewall interface {
	Apply(ctx context.Context, put nat.State) error
	Remove(ctx context.Context, gone nat.State) error
	Reconcile(ctx context.Context, want nat.State) ([]nat.Repair, error)
	// Repair is Reconcile with what the firewall was told to hold since.
	Repair(ctx context.Context) ([]nat.Repair, error)
	// Lacking returns which ports the rules don't serve, as the kernel holds
	// them now.
	Lacking(ctx context.Context, endpoints []nat.Endpoint) ([]nat.Lack, error)
	// GuardForward keeps the host from forwarding for others' sake, in a family
	// in which it didn't before fairway turned it on.
	GuardForward(ctx context.Context, v6 bool) error
}

// Guard lets bridge ports send only from what is theirs.
type Guard interface {
	Apply(ctx context.Context, put ...nat.Guarded) error
	// Remove takes ports away by their names, some time later.
	Remove(ctx context.Context, gone ...nat.Guarded) error
	Reconcile(ctx context.Context, want []nat.Guarded) ([]nat.Repair, error)
	// Repair is Reconcile with what the guard was told to hold since.
	Repair(ctx context.Context) ([]nat.Repair, error)
}

// HostPorts are the ports of the host, each taken by one owner.
type HostPorts interface {
	// Reserve takes a port for every request, or none at all. What the owner
	// had before and doesn't request now is given back.
	Reserve(ctx context.Context, owner string, want []nat.Request) ([]uint16, error)
	// Restore takes ports again that the owner had before a restart.
	Restore(owner string, held []nat.Held) error
	Release(owner string)
}

// Connections are the host's tracked connections.
type Connections interface {
	// Forget removes those that have to do with ports published just now, or
	// with endpoints that are gone, in one pass.
	Forget(ctx context.Context, all ...nat.Endpoint) error
	// Cut removes those that came by a port that e publishes no more.
	Cut(ctx context.Context, e nat.Endpoint) error
	// Traffic returns what goes by ports, and whether the host counts bytes.
	Traffic(ctx context.Context, endpoints []nat.Endpoint) (map[nat.PortOf]nat.Traffic, bool, error)
}

// Pools is what the address allocator is told.
type Pools interface {
	// Confirm says that Docker knows a pool and these addresses of it.
	Confirm(space string, subnet netip.Prefix, ips ...netip.Addr)
	// ConfirmRequested is Confirm for those that were requested, before what
	// they are for is made.
	ConfirmRequested(space string, subnet netip.Prefix, ips ...netip.Addr)
	// Released reports whether Docker has given back every pool of a subnet that
	// it was given before a time; false if that isn't known.
	Released(space string, subnet netip.Prefix, before time.Time) bool
	// ChoseGateway reports whether a gateway's address was the allocator's to
	// choose: the user named none, and the engine asked for one all the same.
	ChoseGateway(space string, subnet netip.Prefix, ip netip.Addr) bool
	// Parents returns the links on whose LANs the DHCP servers of a subnet are; none
	// where its addresses don't come from there.
	Parents(space string, subnet netip.Prefix) []string
	// Lease returns what a DHCP server said with an address.
	Lease(space string, subnet netip.Prefix, ip netip.Addr) (store.Lease, bool)
	// TakeHost gives out an address of a pool for the host itself; invalid if the
	// subnet isn't of the allocator's.
	TakeHost(ctx context.Context, space string, subnet netip.Prefix) (netip.Addr, error)
	// Free takes back addresses that were requested before a time, for an
	// endpoint that is gone though Docker didn't release them.
	Free(ctx context.Context, space string, subnet netip.Prefix, before time.Time, ips ...netip.Addr) error
}

// Options make a Driver. All but Guard, Sandboxes, Autoconf, Grace and Log are
// required.
type Options struct {
	Instance    string // of the store: marks what is ours
	Modes       map[string]Mode
	Store       Store
	Kernel      Kernel
	Firewall    Firewall
	Guard       Guard // nil: endpoints send what they like
	Ports       HostPorts
	Connections Connections
	Pools       Pools
	Sandboxes   Sandboxes // nil: nothing is published on containers' own addresses
	Autoconf    Autoconf  // nil: nobody takes addresses from router advertisements
	// HostIPv6: the host has IPv6. Where it doesn't, a container without IPv6 is not
	// published there either, unless an IPv6 address is asked for.
	HostIPv6 bool
	// IPForward allows forwarding to be turned on where it is off.
	IPForward bool
	// Refresh asks for a look at the engine soon; it doesn't wait.
	Refresh func()
	// Look returns when what the engine knows now has been told, or with ctx.
	Look func(ctx context.Context) error
	// Changed says that networks or endpoints were made, named or went; nil: nobody is told.
	// It doesn't wait.
	Changed func()
	// Grace is how long an endpoint or a network that seems to be stale is left
	// alone; 0 for a minute.
	Grace time.Duration
	Log   logrus.FieldLogger
}

// A Driver runs the life of networks and endpoints. Its methods may be called
// concurrently, and each may be repeated.
type Driver struct {
	opts Options
	log  logrus.FieldLogger
	lock locks
	work background
	gone pass // whose connections are to be forgotten

	mu        sync.Mutex // the maps below; held shortly, never while anything waits
	networks  map[string]network
	endpoints map[string]store.Endpoint
	claims    map[claim]string     // address in a network → endpoint ID
	macs      map[claim]string     // address in a network → MAC address that had it last
	heralds   map[string]bool      // ID of an endpoint whose address had another MAC before
	joined    map[string]time.Time // endpoint ID → when it joined, since this daemon started
	inside    map[sandbox][]string // sandbox → IDs of the endpoints in it
	names     map[string]string    // name of a link → ID of what it is for
	taken     map[lostPort]string  // published, held by somebody else → by whom
	owed      debts
	told      bool                 // the firewall knows of all records
	suspects  map[string]time.Time // ID of what seems to be stale → since when
	seen      map[string]time.Time // engine → when it last told what it knows
	live      map[liveKey]store.LivePorts
	waiting   map[liveKey][]Waiting // those of live that can't be published
	absent    map[string]bool       // parents that aren't there
	waits     map[string]string     // ID of a network → what its parent lacks
	had       map[holding]time.Time // addresses that this host had, and when last
	asked     map[string]bool       // engines that asked whether to allocate gateways
	invented  map[string]bool       // IDs of networks whose gateway may be one that nobody named
	awaited   map[string]time.Time  // ID of an endpoint whose sandbox isn't there yet → how long it is looked for
	await     chan struct{}         // there is another one
	unready   map[string]time.Time  // ID of an endpoint whose link Docker isn't done with → how long it is looked for
	unreadied chan struct{}         // there is another one
	health    Health
	whole     bool // the records are restored: what differs from now on is others' doing
}

// A network is a record and what its mode makes of it.
type network struct {
	store.Network
	view     View
	restored bool // made before this daemon started: who had its addresses isn't known
}

// A claim is an address in a network, which one endpoint has.
type claim struct {
	network string
	ip      netip.Addr
}

// New returns a driver that holds the records. It touches nothing: Restore
// does.
func New(opts Options, records store.Records) (*Driver, error) {
	if opts.Log == nil {
		l := logrus.New()
		l.SetLevel(logrus.PanicLevel)
		opts.Log = l
	}
	if opts.Changed == nil {
		opts.Changed = func() {}
	}
	if opts.Guard == nil {
		opts.Guard = noGuard{}
	}
	if opts.Sandboxes == nil {
		opts.Sandboxes = noSandboxes{}
	}
	if opts.Autoconf == nil {
		opts.Autoconf = noAutoconf{}
	}
	if opts.Grace == 0 {
		opts.Grace = time.Minute
	}
	d := &Driver{
		opts: opts, log: opts.Log,
		networks:  map[string]network{},
		endpoints: map[string]store.Endpoint{},
		claims:    map[claim]string{},
		macs:      map[claim]string{},
		heralds:   map[string]bool{},
		joined:    map[string]time.Time{},
		inside:    map[sandbox][]string{},
		names:     map[string]string{},
		taken:     map[lostPort]string{},
		suspects:  map[string]time.Time{},
		seen:      map[string]time.Time{},
		live:      map[liveKey]store.LivePorts{},
		waiting:   map[liveKey][]Waiting{},
		absent:    map[string]bool{},
		had:       map[holding]time.Time{},
		asked:     map[string]bool{},
		invented:  map[string]bool{},
		awaited:   map[string]time.Time{},
		await:     make(chan struct{}, 1),
		unready:   map[string]time.Time{},
		unreadied: make(chan struct{}, 1),
	}
	for _, n := range records.Networks {
		v, err := d.view(n)
		if err != nil {
			return nil, err
		}
		d.networks[n.ID] = network{Network: n, view: v, restored: true}
		if parent, _ := v.Parent(); parent == "" {
			d.names[n.Link] = n.ID
		}
		if n.HostLink != "" {
			d.names[n.HostLink] = n.ID
		}
	}
	for _, e := range records.Endpoints {
		d.remember(e)
	}
	for _, l := range records.LivePorts {
		d.live[liveKey{l.Network, l.ContainerID}] = l
	}
	return d, nil
}

// remember puts e into the maps. The caller holds d.mu, or is alone.
func (d *Driver) remember(e store.Endpoint) {
	d.put(e)
	for _, name := range linksOf(e) {
		d.names[name] = e.ID
	}
	for _, c := range claimsOf(e) {
		d.claims[c] = e.ID
		if last, known := d.macs[c]; known && last != e.MAC || !known && d.networks[e.Network].restored {
			d.heralds[e.ID] = true
		}
		d.macs[c] = e.MAC
	}
}

// forget takes e out of the maps. The caller holds d.mu.
func (d *Driver) forget(e store.Endpoint) {
	d.leaveSandbox(e.ID)
	delete(d.endpoints, e.ID)
	delete(d.heralds, e.ID)
	delete(d.joined, e.ID)
	delete(d.suspects, e.ID)
	for _, name := range linksOf(e) {
		if d.names[name] == e.ID {
			delete(d.names, name)
		}
	}
	for _, c := range claimsOf(e) {
		if d.claims[c] == e.ID {
			delete(d.claims, c)
		}
	}
}

// linksOf returns the names of the links of e.
func linksOf(e store.Endpoint) []string {
	if e.HostLink == "" {
		return []string{e.Inside}
	}
	return []string{e.HostLink, e.Inside}
}

func claimsOf(e store.Endpoint) (out []claim) {
	for _, p := range []netip.Prefix{e.IPv4, e.IPv6} {
		if p.IsValid() {
			out = append(out, claim{e.Network, p.Addr()})
		}
	}
	return out
}

// Networks returns the records of all networks.
func (d *Driver) Networks() []store.Network {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make([]store.Network, 0, len(d.networks))
	for _, n := range d.networks {
		out = append(out, n.Network)
	}
	return out
}

// Endpoints returns the records of all endpoints.
func (d *Driver) Endpoints() []store.Endpoint {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make([]store.Endpoint, 0, len(d.endpoints))
	for _, e := range d.endpoints {
		out = append(out, e)
	}
	return out
}
