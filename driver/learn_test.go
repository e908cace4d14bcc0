package driver_test

import (
	"net/netip"
	"testing"

	"fairway/driver"
	"fairway/store"
)

// What a DHCP server says becomes the endpoint's, where it can be configured.
func TestLearn(t *testing.T) {
	addr, prefix := netip.MustParseAddr, netip.MustParsePrefix
	route := func(to, via string) store.Route {
		r := store.Route{Destination: prefix(to)}
		if via != "" {
			r.NextHop = addr(via)
		}
		return r
	}
	for name, c := range map[string]struct {
		lease   store.Lease
		options map[string]string
		gateway string
		routes  int
	}{
		"router":              {lease: store.Lease{Routers: []netip.Addr{addr("192.0.2.1"), addr("192.0.2.2")}}, gateway: "192.0.2.1"},
		"router elsewhere":    {lease: store.Lease{Routers: []netip.Addr{addr("198.51.100.1")}}},
		"gateway=none":        {lease: store.Lease{Routers: []netip.Addr{addr("192.0.2.1")}}, options: map[string]string{"gateway": "none"}},
		"routes, not routers": {lease: store.Lease{Routers: []netip.Addr{addr("192.0.2.1")}, Routes: []store.Route{route("10.0.0.0/8", "192.0.2.9"), route("10.9.0.0/16", "")}}, routes: 2},
		"default among the routes": {lease: store.Lease{Routers: []netip.Addr{addr("192.0.2.1")}, Routes: []store.Route{
			route("0.0.0.0/0", "192.0.2.3"), route("10.0.0.0/8", "198.51.100.9"),
		}}, gateway: "192.0.2.3"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			w.links["eth1"] = true
			d := w.start(t, store.NewRecords())
			pool := store.Subnet{Space: "s", Prefix: prefix("0.0.0.0/0"), Gateway: addr("0.0.0.1")}
			options := map[string]string{"mode": "macvlan", "parent": "eth1"}
			for k, v := range c.options {
				options[k] = v
			}
			c.lease.IP = addr("192.0.2.50")
			w.chosen = map[netip.Addr]bool{pool.Gateway: true}
			w.leases = map[netip.Addr]store.Lease{c.lease.IP: c.lease}
			must(t, d.CreateNetwork(t.Context(), driver.NetworkSpec{ID: "n1", Engine: "/e", IPv4: true, Options: options, Subnets: []store.Subnet{pool}}))
			_, err := d.CreateEndpoint(t.Context(), driver.EndpointSpec{ID: "e1", Network: "n1", Engine: "/e", IPv4: prefix("192.0.2.50/24")})
			must(t, err)
			j, err := d.Join(t.Context(), "n1", "e1", "/s")
			must(t, err)
			got := ""
			if j.Gateway.IsValid() {
				got = j.Gateway.String()
			}
			if got != c.gateway || len(j.Routes) != c.routes {
				t.Errorf("gateway %q and %v, want %q and %d routes", got, j.Routes, c.gateway, c.routes)
			}
		})
	}
}
