package inspect

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"fairway/admin"
)

// A Known is what a name is looked for in.
type Known struct {
	Networks  []admin.Network
	Endpoints []admin.Endpoint
	Ports     []admin.Port
	Leases    []admin.Lease
	// Links says by the name of a link of the host whose it is, where the records
	// say so beside Networks and Endpoints.
	Links map[string][]string
}

// Found is what a name names. Address and Link are there if it is one.
type Found struct {
	Networks  []admin.Network
	Endpoints []admin.Endpoint
	Address   netip.Addr
	Link      string
}

// shortest is how much of an ID names it.
const shortest = 4

// Find returns what a name names: an address, networks and containers by their
// name, ID or the beginning of one, and a link. IsLink says whether the host has
// a link of a name. Nothing of the sort is an error.
func (k Known) Find(name string, isLink func(string) bool) (f Found, err error) {
	if a, err := netip.ParseAddr(name); err == nil && a.Zone() == "" {
		f.Address = a.Unmap()
		for _, e := range k.Endpoints {
			if has(e, f.Address) {
				f.Endpoints = append(f.Endpoints, e)
			}
		}
		return f, nil
	}
	begins := func(id string) bool {
		return id != "" && (id == name || len(name) >= shortest && strings.HasPrefix(id, name))
	}
	for _, n := range k.Networks {
		if n.Name == name || begins(n.ID) || n.Link == name {
			f.Networks = append(f.Networks, n)
		}
	}
	for _, e := range k.Endpoints {
		if e.Container == name || begins(e.ContainerID) || begins(e.ID) || e.Link == name && !k.isNetworkLink(name) {
			f.Endpoints = append(f.Endpoints, e)
		}
	}
	if isLink(name) || len(k.Links[name]) > 0 {
		f.Link = name
	}
	if len(f.Networks)+len(f.Endpoints) == 0 && f.Link == "" || name == "" {
		return f, fmt.Errorf("%q: no network, container, address or link is called so; want one (fairway networks, fairway endpoints)", name)
	}
	return f, nil
}

func has(e admin.Endpoint, a netip.Addr) bool {
	return e.IPv4.IsValid() && e.IPv4.Addr() == a || e.IPv6.IsValid() && e.IPv6.Addr() == a ||
		slices.ContainsFunc(e.SLAAC, func(p netip.Prefix) bool { return p.Addr() == a })
}

// isNetworkLink reports whether a link is a network's: of endpoints without one
// on the host it is told, too.
func (k Known) isNetworkLink(name string) bool {
	return slices.ContainsFunc(k.Networks, func(n admin.Network) bool { return n.Link == name })
}

// Whose says in words whose a link is.
func (k Known) Whose(link string) []string {
	out := slices.Clone(k.Links[link])
	for _, n := range k.Networks {
		if n.Link == link {
			out = append(out, "network "+titled(n.Name, n.ID))
		}
	}
	if k.isNetworkLink(link) {
		return out
	}
	for _, e := range k.Endpoints {
		if e.Link == link {
			out = append(out, "container "+titled(e.Container, e.ID)+" on network "+titled(e.NetworkName, e.Network))
		}
	}
	return out
}

// What says in words what an address is, and the networks that it is in.
func (k Known) What(a netip.Addr) (is, networks []string) {
	is, networks = []string{}, []string{}
	for _, n := range k.Networks {
		for _, s := range n.Subnets {
			if s.Gateway == a {
				is = append(is, "gateway of network "+titled(n.Name, n.ID))
			}
			if s.Subnet.IsValid() && s.Subnet.Contains(a) {
				networks = append(networks, n.ID)
				if s.Subnet.Masked().Addr() == a && s.Subnet.Bits() < a.BitLen()-1 {
					is = append(is, "the address of subnet "+s.Subnet.String())
				}
			}
		}
	}
	for _, e := range k.Endpoints {
		if has(e, a) {
			is = append(is, "container "+titled(e.Container, e.ID)+" on network "+titled(e.NetworkName, e.Network))
		}
	}
	return is, networks
}

// titled is how something is called.
func titled(name, id string) string {
	if name != "" {
		return name
	}
	return id[:min(len(id), 12)]
}

// Options returns, sorted, what was asked for beside what takes effect. An option
// that was given and has no value of its own takes effect as given: it is another
// name for one that has.
func Options(asked, effective map[string]string) []Option {
	out := []Option{}
	for name, value := range effective {
		o := Option{Name: name, Effective: value}
		if given, ok := asked[name]; ok {
			o.Asked = &given
		}
		out = append(out, o)
	}
	for name, value := range asked {
		if _, ok := effective[name]; !ok {
			out = append(out, Option{Name: name, Asked: &value, Effective: value})
		}
	}
	slices.SortFunc(out, func(a, b Option) int { return strings.Compare(a.Name, b.Name) })
	return out
}
