package macvlan

import (
	"cmp"
	"fmt"
	"net/netip"

	"fairway/beside"
	"fairway/link"
	"fairway/nat"
	"fairway/store"
)

// A Network is a recorded network seen as a macvlan or an ipvlan network.
type Network struct {
	store.Network
	set      Options
	instance string
}

// ipvlan is the network mode that makes ipvlans; any other makes macvlans.
const ipvlan = "ipvlan"

// New returns what n says, or one line on what is wrong with it.
func New(instance string, n store.Network) (Network, error) {
	parse := ParseOptions
	if n.Mode == ipvlan {
		parse = ParseIPvlanOptions
	}
	o, err := parse(n.Options)
	if err != nil {
		return Network{}, err
	}
	v := Network{Network: n, set: o, instance: instance}
	return v, v.check()
}

// Parent returns the link of the host that the endpoints' links are on, and
// whether the network has it for itself; "" if it is the network's own.
func (n Network) Parent() (name string, exclusive bool) {
	if n.set.Parent == "" {
		return "", false
	}
	return cmp.Or(n.Link, n.set.Parent), n.set.Mode == link.MacvlanPassthru
}

// Kind returns what the links on one parent must have in common: the kernel has
// either macvlans or ipvlans there, and the latter in one mode.
func (n Network) Kind() string {
	if n.Mode != ipvlan {
		return "macvlan"
	}
	return fmt.Sprintf("ipvlan, ipvlan_mode=%s, ipvlan_flag=%s", n.set.IPvlan.Mode, n.set.IPvlan.Flag)
}

// Silent reports that nobody on the LAN asks who has a container's address: the
// host is their router.
func (n Network) Silent() bool {
	return n.set.IPvlan.Mode == link.IPvlanL3 || n.set.IPvlan.Mode == link.IPvlanL3S
}

// SkipGateway reports that Docker need not allocate a gateway for any family: it
// is somebody's on the LAN, whom the user names, or there is none.
func (n Network) SkipGateway() (v4, v6 bool) { return true, true }

// Links returns what the kernel must hold for the network itself: a link that
// leads nowhere or, with a parent, the VLANs that are to be made for it; and the
// host's own link on either.
func (n Network) Links() link.Set {
	host := beside.HostLinks(n.instance, n.Network, n.set.IPvlan)
	if n.set.Parent != "" {
		var set link.Set
		for _, v := range n.VLANs { // they are for all networks on them
			set = append(set, link.VLAN{
				Namespace: n.Namespace, Name: v.Link, Parent: v.Parent, ID: v.ID, Alias: link.Mark(n.instance, v.Link, ""),
			})
		}
		return append(set, host...)
	}
	return append(link.Set{link.Isle{
		Namespace: n.Namespace, Name: n.Link, Alias: link.Mark(n.instance, n.ID, ""), MTU: n.MTU,
	}}, host...)
}

// HostAccess reports whether the host and the containers are to reach each other.
func (n Network) HostAccess() bool { return n.set.HostAccess }

// HostAddress returns the address of the host's own link in the subnet that ip is
// in; invalid if there is none.
func (n Network) HostAddress(ip netip.Addr) netip.Addr { return beside.HostAddress(n.Network, ip) }

// Firewall returns nothing without host_access: what goes to and from the LAN
// doesn't pass the host.
func (n Network) Firewall() nat.Network { return beside.Firewall(n.Network) }

// internal reports whether containers get no way out: also without a parent, as
// with Docker's driver.
func (n Network) internal() bool { return n.Internal || n.set.Parent == "" }

// gateway returns the default gateway of containers with an address in s;
// invalid if they get none.
func (n Network) gateway(s store.Subnet) netip.Addr {
	if n.internal() || n.set.NoGateway || n.Silent() {
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
	info := map[string]any{"fairway.parent": n.Link, "fairway.mtu": mtu}
	if n.Mode == ipvlan {
		info["fairway.ipvlan_mode"], info["fairway.ipvlan_flag"] = string(n.set.IPvlan.Mode), string(n.set.IPvlan.Flag)
	} else {
		info["fairway.macvlan_mode"] = string(n.set.Mode)
	}
	if n.HostLink != "" {
		info["fairway.host_access"] = fmt.Sprint(n.HostLink, " ", n.HostAddresses)
	}
	return info
}
