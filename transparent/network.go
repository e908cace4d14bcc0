package transparent

import (
	"fmt"
	"net/netip"

	"fairway/link"
	"fairway/nat"
	"fairway/store"
)

// A Network is a recorded network seen as a transparent one.
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

// Parent returns the bridge, which any number of networks may be on.
func (n Network) Parent() (name string, exclusive bool) { return n.set.Parent, false }

// SkipGateway reports that Docker need not allocate a gateway for any family: it
// is somebody's on the LAN, whom the user names, or there is none.
func (n Network) SkipGateway() (v4, v6 bool) { return true, true }

// Links returns nothing: the bridge is somebody else's.
func (n Network) Links() link.Set { return nil }

// Firewall returns what lets the containers' frames pass where the host hands
// bridged frames to iptables. The firewall has no other part in it.
func (n Network) Firewall() nat.Network {
	return nat.Network{ID: n.ID, Link: n.Link, Bridged: true}
}

// gateway returns the default gateway of containers with an address in s;
// invalid if they get none.
func (n Network) gateway(s store.Subnet) netip.Addr {
	if n.Internal || n.set.NoGateway {
		return netip.Addr{}
	}
	return s.Gateway
}

// Effective returns the settings that count, for people to read.
func (n Network) Effective() map[string]any {
	o, _ := n.set.ParseEndpointOptions(nil)
	mtu := "the bridge's"
	if n.MTU != 0 {
		mtu = fmt.Sprint(n.MTU)
	}
	out := map[string]any{
		"fairway.parent": n.set.Parent, "fairway.mtu": mtu,
		"fairway.isolated": fmt.Sprint(o.Isolated), "fairway.antispoof": fmt.Sprint(o.Antispoof),
	}
	if !o.VLANs.IsZero() {
		out["fairway.vlans"] = o.VLANs.String()
	}
	return out
}
