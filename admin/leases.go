package admin

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"fairway/store"
)

// Leased is the reply to GET /v1/leases.
type Leased struct {
	Version int     `json:"version"`
	Leases  []Lease `json:"leases"`
	// Lost is how many times a lease was lost since the daemon started.
	Lost uint64 `json:"lost_total"`
}

// A Lease is an address that a DHCP server has given.
type Lease struct {
	IP          netip.Addr `json:"ip"`     // "" while it is asked for
	Prefix      int        `json:"prefix"` // length of the LAN's subnet, as the server says; 0: not said
	MAC         string     `json:"mac"`
	Container   string     `json:"container,omitempty"`
	Network     string     `json:"network,omitempty"` // ID
	NetworkName string     `json:"network_name,omitempty"`
	Parent      string     `json:"parent"`
	Server      netip.Addr `json:"server"`
	// State is "requesting", "bound", "verifying" (after the daemon's start),
	// "renewing" (by its server), "rebinding" (by any), or "lost": no server stands
	// by it, and the container keeps the address. Why says why it isn't bound.
	State    string    `json:"state"`
	Why      string    `json:"why,omitempty"`
	Obtained time.Time `json:"obtained,omitzero"` // last confirmed
	Renew    time.Time `json:"renew,omitzero"`
	Expires  time.Time `json:"expires,omitzero"` // absent: never
	Lost     time.Time `json:"lost,omitzero"`

	Hostname string       `json:"hostname,omitempty"` // that the server was told
	FQDN     string       `json:"fqdn,omitempty"`     // that the server says
	Domain   string       `json:"domain,omitempty"`
	Routers  []netip.Addr `json:"routers,omitempty"`
	DNS      []netip.Addr `json:"dns,omitempty"`
	NTP      []netip.Addr `json:"ntp,omitempty"`
	Routes   []Route      `json:"routes,omitempty"`
	MTU      int          `json:"mtu,omitempty"` // bytes
}

// A Route is a static route that a server says.
type Route struct {
	To  netip.Prefix `json:"to"`
	Via netip.Addr   `json:"via"` // "": on link
}

// leases returns r's leases by parent and address.
func leases(r Records) Leased {
	reply := Leased{Version: Version, Leases: []Lease{}}
	source, ok := r.(Leases)
	if !ok {
		return reply
	}
	names := networkNames(r)
	type client struct {
		mac string
		ip  netip.Addr
	}
	of := map[client]store.Endpoint{}
	for _, e := range r.Endpoints() {
		of[client{e.MAC, e.IPv4.Addr()}] = e
		of[client{e.MAC, e.IPv6.Addr()}] = e
	}
	all, lost := source.Leases()
	reply.Lost = lost
	for _, l := range all {
		e := of[client{l.MAC, l.IP}]
		view := Lease{
			IP: l.IP, Prefix: l.Bits, MAC: l.MAC, Container: cmp.Or(e.Container, l.Name), Network: e.Network, NetworkName: names[e.Network],
			Parent: l.Parent, Server: l.Server, State: l.State, Why: l.Why,
			Obtained: l.Obtained, Renew: l.Renew, Expires: l.Expires, Lost: l.Lost,
			Hostname: l.Hostname, FQDN: l.FQDN, Domain: l.Domain, Routers: l.Routers, DNS: l.DNS, NTP: l.NTP, MTU: l.MTU,
		}
		for _, route := range l.Routes {
			view.Routes = append(view.Routes, Route{route.Destination, route.NextHop})
		}
		reply.Leases = append(reply.Leases, view)
	}
	slices.SortFunc(reply.Leases, func(a, b Lease) int {
		return cmp.Or(cmp.Compare(a.Parent, b.Parent), a.IP.Compare(b.IP), cmp.Compare(a.MAC, b.MAC))
	})
	return reply
}
