package driver_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	logtest "github.com/sirupsen/logrus/hooks/test"
	"golang.org/x/sys/unix"

	"fairway/bridge"
	"fairway/driver"
	"fairway/link"
	"fairway/macvlan"
	"fairway/nat"
	"fairway/store"
	"fairway/transparent"
)

// A world is what a driver works on, in memory. It answers as the real thing
// does where all goes well; its functions, where set, say otherwise.
type world struct {
	mu        sync.Mutex
	links     map[string]bool // names in the host's namespace
	vlans     map[string]bool // those that the driver had made
	sandboxes map[string]bool // paths of those that live
	forgotten []nat.Endpoint
	repairs   []nat.Repair // that the firewall makes
	severed   []nat.Endpoint
	lacks     []nat.Lack // what the firewall says that it hasn't
	lackErr   error
	annotated link.Set
	released  map[netip.Prefix]bool           // pools that Docker gave back
	chosen    map[netip.Addr]bool             // gateways that nobody named
	leases    map[netip.Addr]store.Lease      // from DHCP servers
	parents   []string                        // that pools are leased from
	log       *logtest.Hook                   // what was said
	look      func(context.Context)           // the engine tells what it knows
	refreshed int                             // looks at the engine that were asked for
	held      map[string][]string             // the host's ports, by owner
	onLAN     map[netip.Addr]net.HardwareAddr // who has addresses there
	addresses []netip.Prefix                  // of the host, on each link
	probed    []string                        // who was asked for

	ports    driver.HostPorts // nil: in memory
	noIPv6   bool             // the host has none
	boxes    driver.Sandboxes // nil: none
	autoconf driver.Autoconf  // nil: none
	host     netip.Addr       // what a pool gives for the host
	guard    driver.Guard     // nil: none

	apply  func(link.Set)
	remove func(link.Set)
	begin  func([]store.Change) <-chan error
	forget func(nat.Endpoint)
}

func newWorld() *world {
	return &world{links: map[string]bool{}, vlans: map[string]bool{}, sandboxes: map[string]bool{}, held: map[string][]string{}}
}

// start returns a driver that holds the records, restored.
func (w *world) start(t *testing.T, records store.Records) *driver.Driver {
	t.Helper()
	var hostPorts driver.HostPorts = ports{w}
	if w.ports != nil {
		hostPorts = w.ports
	}
	log, hook := logtest.NewNullLogger()
	w.log = hook
	d, err := driver.New(driver.Options{
		Instance: "test",
		Modes: map[string]driver.Mode{"bridge": {
			Settle: func(ctx context.Context, n *store.Network) error { return bridge.Settle(ctx, w, n) },
			View:   func(n store.Network) (driver.View, error) { return bridge.New("test", n) },
		}, "macvlan": {
			Settle: func(ctx context.Context, n *store.Network) error { return macvlan.Settle(ctx, w, n) },
			View:   func(n store.Network) (driver.View, error) { return macvlan.New("test", n) },
		}, "ipvlan": {
			Settle: func(ctx context.Context, n *store.Network) error { return macvlan.Settle(ctx, w, n) },
			View:   func(n store.Network) (driver.View, error) { return macvlan.New("test", n) },
			NoMAC:  true,
		}, "transparent": {
			Settle: func(ctx context.Context, n *store.Network) error { return transparent.Settle(ctx, w, n) },
			View:   func(n store.Network) (driver.View, error) { return transparent.New("test", n) },
		}},
		Store: w, Kernel: w, Firewall: firewall{w}, Ports: hostPorts, Connections: connections{w}, Pools: pools{w},
		Guard: w.guard, Sandboxes: w.boxes, Autoconf: w.autoconf, HostIPv6: !w.noIPv6, Refresh: func() { w.refreshed++ },
		Look: func(ctx context.Context) error {
			if w.look != nil {
				w.look(ctx)
			}
			return nil
		}, Log: log,
	}, records)
	must(t, err)
	must(t, d.Restore(t.Context()))
	return d
}

func (w *world) Begin(changes ...store.Change) <-chan error {
	if w.begin != nil {
		return w.begin(changes)
	}
	return answer(nil)
}

// answer returns what a commit answers.
func answer(err error) <-chan error {
	c := make(chan error, 1)
	c <- err
	return c
}

func (w *world) Apply(_ context.Context, want link.Set) error {
	if w.apply != nil {
		w.apply(want)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, o := range want {
		if v, ok := o.(link.Veth); ok && !w.links[v.Name] {
			w.links[v.Name], w.links[v.Peer] = true, true
		}
		if v, ok := o.(link.VLAN); ok && !w.links[v.Name] {
			w.links[v.Name], w.vlans[v.Name] = true, true
		}
	}
	return nil
}

func (w *world) Remove(_ context.Context, gone link.Set) error {
	if w.remove != nil {
		w.remove(gone)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, o := range gone {
		if v, ok := o.(link.Veth); ok {
			delete(w.links, v.Name)
			delete(w.links, v.Peer)
		}
		if v, ok := o.(link.VLAN); ok && w.vlans[v.Name] {
			delete(w.links, v.Name)
			delete(w.vlans, v.Name)
		}
	}
	return nil
}

// Probe answers for those that are on the LAN.
func (w *world) Probe(_ context.Context, on link.Segment, _ net.HardwareAddr, ips ...netip.Addr) (netip.Addr, net.HardwareAddr, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.probed = append(w.probed, fmt.Sprint(on.Link, " ", on.VLAN, " ", ips))
	for _, ip := range ips {
		if mac, ok := w.onLAN[ip]; ok {
			return ip, mac, nil
		}
	}
	return netip.Addr{}, nil, nil
}

func (w *world) Annotate(_ context.Context, want link.Set) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.annotated = append(w.annotated, want...)
	return nil
}

func (w *world) Link(_ context.Context, _, name string) (link.Info, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.links[name] {
		return link.Info{}, unix.ENODEV
	}
	info := link.Info{Name: name, Addresses: w.addresses, Up: true, VLANAware: true, Kind: "device", MTU: 1500, MAC: net.HardwareAddr{2, 0, 0, 0, 0, 9}}
	if strings.HasPrefix(name, "br") {
		info.Kind = "bridge"
	}
	if w.vlans[name] {
		info.Kind, info.Ours = "vlan", true
	}
	return info, nil
}

func (w *world) SandboxAlive(path string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sandboxes[path]
}

func (w *world) Reconcile(context.Context, link.Set) ([]link.Repair, error) { return nil, nil }
func (w *world) Quiesce(context.Context) error                              { return nil }
func (w *world) Forwards(bool) (bool, error)                                { return true, nil }
func (w *world) EnableForwarding(context.Context, bool) (bool, error)       { return false, nil }
func (w *world) Addresses(context.Context, string) (map[netip.Addr]bool, error) {
	return map[netip.Addr]bool{netip.MustParseAddr("192.0.2.10"): true, netip.MustParseAddr("10.1.0.77"): true}, nil
}
func (w *world) Sysctl(context.Context, string, string) (string, error) { return "0", nil }
func (w *world) UplinkMTU(context.Context) (int, error)                 { return 1500, nil }

func (w *world) Announce(context.Context, string, string, net.HardwareAddr, ...netip.Addr) error {
	return nil
}

func (w *world) AnnounceInside(context.Context, string, net.HardwareAddr, ...netip.Addr) error {
	return nil
}

type firewall struct{ w *world }

func (firewall) Apply(context.Context, nat.State) error                     { return nil }
func (firewall) Remove(context.Context, nat.State) error                    { return nil }
func (firewall) Reconcile(context.Context, nat.State) ([]nat.Repair, error) { return nil, nil }
func (f firewall) Repair(context.Context) ([]nat.Repair, error)             { return f.w.repairs, nil }
func (f firewall) Lacking(context.Context, []nat.Endpoint) ([]nat.Lack, error) {
	return f.w.lacks, f.w.lackErr
}
func (firewall) GuardForward(context.Context, bool) error { return nil }

// ports gives each port of an address to one owner.
type ports struct{ w *world }

func (p ports) Restore(string, []nat.Held) error { return nil }

func (p ports) Release(owner string) { delete(p.w.held, owner) }

func (p ports) Reserve(_ context.Context, owner string, want []nat.Request) (out []uint16, err error) {
	var held []string
	for _, r := range want {
		for _, ip := range r.HostIPs {
			held = append(held, fmt.Sprintf("%d %s %d", r.Proto, ip, r.First))
		}
		out = append(out, r.First)
	}
	for o, theirs := range p.w.held {
		if o != owner && slices.ContainsFunc(held, func(h string) bool { return slices.Contains(theirs, h) }) {
			return nil, nat.ErrAllocated
		}
	}
	p.w.held[owner] = held
	return out, nil
}

type connections struct{ w *world }

func (c connections) Forget(ctx context.Context, all ...nat.Endpoint) error {
	for _, e := range all {
		if c.w.forget != nil {
			c.w.forget(e)
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	c.w.forgotten = append(c.w.forgotten, all...)
	return nil
}

func (c connections) Cut(_ context.Context, e nat.Endpoint) error {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	c.w.severed = append(c.w.severed, e)
	return nil
}

func (c connections) Traffic(context.Context, []nat.Endpoint) (map[nat.PortOf]nat.Traffic, bool, error) {
	return nil, false, nil
}

type pools struct{ w *world }

func (pools) Confirm(string, netip.Prefix, ...netip.Addr)          {}
func (pools) ConfirmRequested(string, netip.Prefix, ...netip.Addr) {}
func (p pools) Released(_ string, subnet netip.Prefix, _ time.Time) bool {
	return p.w.released[subnet]
}

func (p pools) ChoseGateway(_ string, _ netip.Prefix, ip netip.Addr) bool { return p.w.chosen[ip] }

func (p pools) Parents(string, netip.Prefix) []string { return p.w.parents }

func (p pools) Lease(_ string, _ netip.Prefix, ip netip.Addr) (store.Lease, bool) {
	l, ok := p.w.leases[ip]
	return l, ok
}

func (p pools) TakeHost(context.Context, string, netip.Prefix) (netip.Addr, error) {
	return p.w.host, nil
}

func (pools) Free(context.Context, string, netip.Prefix, time.Time, ...netip.Addr) error {
	return nil
}

// network is 10.1.0.0/24.
var network = driver.NetworkSpec{ //nolint:gochecknoglobals // a constant
	ID: "n1", Engine: "/e", IPv4: true,
	Subnets: []store.Subnet{{Space: "s", Prefix: netip.MustParsePrefix("10.1.0.0/24"), Gateway: netip.MustParseAddr("10.1.0.1")}},
}

// endpoint returns one of the network with an address.
func endpoint(id, ip string) driver.EndpointSpec {
	return driver.EndpointSpec{ID: id, Network: network.ID, Engine: "/e", IPv4: netip.MustParsePrefix(ip)}
}

// attach makes an endpoint and joins it to a sandbox.
func attach(t *testing.T, d *driver.Driver, e driver.EndpointSpec, sandbox string) {
	t.Helper()
	_, err := d.CreateEndpoint(t.Context(), e)
	must(t, err)
	_, err = d.Join(t.Context(), e.Network, e.ID, sandbox)
	must(t, err)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
