package doctor

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"fairway/admin"
	"fairway/link"
	"fairway/nat"
	"fairway/store"
)

// A Patient is a host as the checks see it. What couldn't be read is nil, with
// the reason beside it.
type Patient struct {
	Settings Settings
	Build    admin.Build // of this program
	Now      time.Time

	Daemon    *admin.Status
	DaemonErr error
	Ports     admin.Ports // published ones; none without a daemon

	Records  store.Records
	Instance string // of the store
	StoreErr error
	Want     Wanted // by the records
	WantErr  error

	Engine    *Engine
	EngineErr error

	Host *Host
	// Compare says what in the kernel differs from Want. Calls that are under way
	// look like differences.
	Compare func(context.Context) (Differences, error)
	// Drops says what of others drops packets that fairway lets pass.
	Drops func(context.Context) ([]Drop, error)

	comparison sync.Once
	different  Differences
	compareErr error

	dropping sync.Once
	dropped  []Drop
	dropErr  error
}

// Settings are what the daemon runs with, or would.
type Settings struct {
	StateDir, Socket, DockerSocket string
	Firewall                       string // who filters: nftables or iptables
}

// A Wanted is what the kernel must hold.
type Wanted struct {
	Links    link.Set
	Firewall nat.State
	Guarded  []nat.Guarded
	// Parents are links of the host that networks are built on, by network.
	Parents map[string]string
}

// Differences are what in the kernel is not as recorded, as the daemon's repairs
// would log it.
type Differences struct {
	Links, Rules, Routing, Guard []string
	Clashes                      []string // what of others our policy routing doesn't go with
}

// An Engine is what Docker's API says.
type Engine struct {
	ID, Version string
	Networks    map[string]EngineNetwork // whose driver is fairway, by ID
}

// An EngineNetwork is a network as its engine tells it.
type EngineNetwork struct {
	Name      string
	Endpoints map[string]EngineEndpoint // by ID
}

// An EngineEndpoint is an attachment as its engine tells it. One without a
// container was left over.
type EngineEndpoint struct{ ContainerID, Name string }

// A Drop is a rule of others that drops what fairway lets pass.
type Drop struct {
	Where string // e.g. "ip filter FORWARD", or a chain of nftables
	Rule  string // as its program lists it
	What  string // the packet, e.g. "from network web to the outside"
	Fix   []string
	// Iptables: the rule is one of iptables, not of a table of nftables' own.
	Iptables bool
}

// again is how long a difference must last to be one: calls that are under way
// look like differences, and so does what the daemon is about to repair.
const again = 1200 * time.Millisecond

// differences compares twice, if the first time something differs, and returns
// what both times did.
func (p *Patient) differences(ctx context.Context) (Differences, error) {
	if p.StoreErr != nil {
		return Differences{}, skip("the store can't be read")
	}
	if p.WantErr != nil {
		return Differences{}, p.WantErr
	}
	if p.Daemon != nil && p.Daemon.State == admin.StateRestoring {
		return Differences{}, skip("the daemon is restoring its networks")
	}
	p.comparison.Do(func() {
		first, err := p.Compare(ctx)
		if p.different, p.compareErr = first, err; err != nil || first.none() || p.Daemon == nil {
			return // without a daemon nothing is under way
		}
		select {
		case <-ctx.Done():
			p.compareErr = ctx.Err()
			return
		case <-time.After(again):
		}
		second, err := p.Compare(ctx)
		p.compareErr = err
		for _, l := range []struct{ a, b, out *[]string }{
			{&first.Links, &second.Links, &p.different.Links}, {&first.Rules, &second.Rules, &p.different.Rules},
			{&first.Routing, &second.Routing, &p.different.Routing}, {&first.Guard, &second.Guard, &p.different.Guard},
		} {
			*l.out = slices.DeleteFunc(slices.Clone(*l.b), func(s string) bool { return !slices.Contains(*l.a, s) })
		}
	})
	return p.different, p.compareErr
}

func (d Differences) none() bool {
	return len(d.Links)+len(d.Rules)+len(d.Routing)+len(d.Guard) == 0
}

// networks returns the recorded networks by name.
func (p *Patient) networks() []store.Network {
	var out []store.Network
	for _, n := range p.Records.Networks {
		out = append(out, n)
	}
	slices.SortFunc(out, func(a, b store.Network) int {
		if title(a) < title(b) {
			return -1
		}
		return 1
	})
	return out
}

// endpoints returns the recorded endpoints of a network; "" for all.
func (p *Patient) endpoints(network string) []store.Endpoint {
	var out []store.Endpoint
	for _, e := range p.Records.Endpoints {
		if network == "" || e.Network == network {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b store.Endpoint) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	return out
}

// bridged returns the networks that the firewall has a part in.
func (p *Patient) bridged() []nat.Network { return p.Want.Firewall.Networks }

// title is how a network is called.
func title(n store.Network) string {
	if n.Name != "" {
		return n.Name
	}
	return short(n.ID)
}

// called is how an endpoint is called.
func called(e store.Endpoint) string {
	if e.Container != "" {
		return "container " + e.Container
	}
	return "endpoint " + short(e.ID)
}

func short(id string) string { return id[:min(len(id), 12)] }

func hosts(p netip.Prefix) int {
	if free := p.Addr().BitLen() - p.Bits(); free < 20 {
		return 1<<free - 2
	}
	return 1 << 20
}
