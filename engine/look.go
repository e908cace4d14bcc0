package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
)

// wireNetwork is a network as the API gives it. Containers is there only if one
// network is asked for.
type wireNetwork struct {
	ID      string `json:"Id"`
	Name    string
	Driver  string
	Options map[string]string
	Labels  map[string]string
	IPAM    struct {
		Driver  string
		Options map[string]string
		Config  []wireSubnet
	}
	Containers map[string]wireEndpoint // by container ID; "ep-ID" for the engine's own endpoints
}

type wireSubnet struct {
	Subnet             string
	Gateway            string // an address; some engines add the length
	AuxiliaryAddresses map[string]string
}

type wireEndpoint struct {
	EndpointID  string
	Name        string
	IPv4Address string // with the length; "" none
	IPv6Address string
}

// look asks for everything that is fairway's. Any error is one of the whole:
// half an answer would make the other half look stale.
func (c *client) look(ctx context.Context, engine string, asked []string) (View, error) {
	v := View{Engine: engine, Networks: map[string]Network{}}
	var err error
	if v.Containers, err = c.containers(ctx, asked); err != nil {
		return View{}, err
	}
	var all []wireNetwork
	if err := c.get(ctx, "/networks", nil, &all); err != nil {
		return View{}, err
	}
	for _, n := range all {
		if !isOurs(n.Driver) && !isOurs(n.IPAM.Driver) {
			continue
		}
		var full wireNetwork
		err := c.get(ctx, "/networks/"+url.PathEscape(n.ID), nil, &full)
		if status := (*statusError)(nil); errors.As(err, &status) && status.code == http.StatusNotFound {
			continue // removed meanwhile
		}
		if err != nil {
			return View{}, err
		}
		v.Networks[n.ID] = full.network()
		if isOurs(full.Driver) && full.Options["mode"] == "overlay" {
			if err := c.nameEndpoints(ctx, n.ID, v.Networks[n.ID].Endpoints); err != nil {
				return View{}, err
			}
		}
	}
	c.forget(v)
	return v, nil
}

// containers says of the asked ones whether the engine has them.
func (c *client) containers(ctx context.Context, asked []string) (map[string]bool, error) {
	if len(asked) == 0 {
		return nil, nil
	}
	var all []struct {
		ID string `json:"Id"`
	}
	filters, err := json.Marshal(map[string][]string{"id": asked})
	if err != nil {
		return nil, err
	}
	if err := c.get(ctx, "/containers/json", url.Values{"all": {"1"}, "filters": {string(filters)}}, &all); err != nil {
		return nil, err
	}
	there := make(map[string]bool, len(asked))
	for _, id := range asked {
		there[id] = false
	}
	for _, a := range all {
		if _, ok := there[a.ID]; ok {
			there[a.ID] = true
		}
	}
	return there, nil
}

func (w wireNetwork) network() Network {
	n := Network{
		Name: clean(w.Name), Driver: isOurs(w.Driver), IPAM: isOurs(w.IPAM.Driver),
		Endpoints: map[string]Endpoint{},
	}
	for id, e := range w.Containers {
		if len(id) > 3 && id[:3] == "ep-" {
			id = ""
		}
		n.Endpoints[e.EndpointID] = Endpoint{
			ContainerID: clean(id), Name: clean(e.Name), IPv4: prefix(e.IPv4Address), IPv6: prefix(e.IPv6Address),
		}
	}
	for _, s := range w.IPAM.Config {
		n.Subnets = append(n.Subnets, n.subnet(s, w.IPAM.Options["source"] == "dhcp"))
	}
	return n
}

// subnet reads a subnet. Without one, a network whose addresses come from DHCP
// servers really has the pool 0.0.0.0/0; of others that is a wish.
func (n Network) subnet(w wireSubnet, byDHCP bool) Subnet {
	s := Subnet{Prefix: prefix(w.Subnet).Masked(), Gateway: addr(w.Gateway)}
	for _, a := range w.AuxiliaryAddresses {
		if ip := addr(a); ip.IsValid() {
			s.Aux = append(s.Aux, ip)
		}
	}
	if s.Prefix.Addr().IsUnspecified() && !(byDHCP && s.Prefix.Bits() == 0) { // the size that was asked for
		s.Prefix = n.prefixOf(s.Prefix)
	}
	return s
}

// prefixOf returns the subnet that endpoints have addresses in, of the family
// and the size asked for; invalid if there is none.
func (n Network) prefixOf(size netip.Prefix) netip.Prefix {
	for _, e := range n.Endpoints {
		for _, p := range []netip.Prefix{e.IPv4, e.IPv6} {
			if p.IsValid() && p.Bits() == size.Bits() && p.Addr().BitLen() == size.Addr().BitLen() {
				return p.Masked()
			}
		}
	}
	return netip.Prefix{}
}

// prefix and addr return an invalid value for what they can't read.
func prefix(text string) netip.Prefix {
	p, _ := netip.ParsePrefix(text)
	return p
}

func addr(text string) netip.Addr {
	ip, _ := netip.ParseAddr(text)
	return cmp.Or(ip, prefix(text).Addr())
}
