package macvlan

import (
	"cmp"
	"fmt"
	"net/netip"

	"fairway/link"
	"fairway/nat"
	"fairway/store"
)

// A Network is a recorded network seen as a macvlan network.
type Network struct {
	store.Network
	set      Options
	instance string
}

// New returns what n says, or one line on what is wrong with it.
func New(instance string, n store.Network) (Network, error) {
	o, err := ParseOptions(n.Options)
	if err != nil {
		return Network{}, err
	}
	v := Network{Network: n, set: o, instance: instance}
	return v, v.check()
}

// Parent returns the link of the host that the endpoints' links are on, and
// whether the network has it for itself; "" if it is the network's own.
func (n Network) Parent() (name string, exclusive bool) {
	return n.set.Parent, n.set.Mode == link.MacvlanPassthru
}

// SkipGateway reports that Docker need not allocate a gateway for any family: it
// is somebody's on the LAN, whom the user names, or there is none.
func (n Network) SkipGateway() (v4, v6 bool) { return true, true }

// Links returns what the kernel must hold for the network itself: a link that
// leads nowhere, unless the user gave a parent.
func (n Network) Links() link.Set {
	if n.set.Parent != "" {
		return nil
	}
	return link.Set{link.Isle{
		Namespace: n.Namespace, Name: n.Link, Alias: link.Mark(n.instance, n.ID, ""), MTU: n.MTU,
	}}
}

// Firewall returns nothing: what goes to and from the LAN doesn't pass the host.
func (n Network) Firewall() nat.Network { return nat.Network{} }

// internal reports whether containers get no way out: also without a parent, as
// with Docker's driver.
func (n Network) internal() bool { return n.Internal || n.set.Parent == "" }

// gateway returns the default gateway of containers with an address in s;
// invalid if they get none.
func (n Network) gateway(s store.Subnet) netip.Addr {
	if n.internal() || n.set.NoGateway {
		return netip.Addr{}
	}
	return s.Gateway
}

// Effective returns the settings that count, for people to read.
func (n Network) Effective() map[string]any {
	mtu := "the parent's"
	if n.MTU != 0 {
		mtu = fmt.Sprint(n.MTU)
	}
	return map[string]any{
		"fairway.parent": cmp.Or(n.set.Parent, n.Link), "fairway.macvlan_mode": string(n.set.Mode), "fairway.mtu": mtu,
	}
}
