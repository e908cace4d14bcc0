package inspect

import (
	"net/netip"
	"time"

	"fairway/admin"
)

// A Report is everything that is known of what something names.
type Report struct {
	Version int `json:"version"`
	// Name is what was asked for. Several things may be called so: each is there.
	Name string `json:"name"`
	// Daemon is the version of the one that answered; "" if none did: then
	// containers' names may be missing, and reachability, what was denied and the
	// state of leases aren't known.
	Daemon    string     `json:"daemon"`
	Networks  []Network  `json:"networks"`
	Endpoints []Endpoint `json:"endpoints"`
	Addresses []Address  `json:"addresses"`
	Links     []Link     `json:"links"`
}

// A Network is one of fairway's.
type Network struct {
	Record    admin.Network `json:"record"`
	Endpoints []Member      `json:"endpoints"`
	Options   []Option      `json:"options"`
	Kernel    []Object      `json:"kernel"` // what it must hold for the network itself
	Link      *Link         `json:"link"`   // null if it isn't there
	Engine    Engine        `json:"engine"`
}

// A Member is an endpoint of a network.
type Member struct {
	ID        string       `json:"id"`
	Container string       `json:"container,omitempty"`
	IPv4      netip.Prefix `json:"ipv4"` // "" if none
	IPv6      netip.Prefix `json:"ipv6"`
}

// An Endpoint is a container's attachment to a network.
type Endpoint struct {
	Record  admin.Endpoint `json:"record"`
	Options []Option       `json:"options"`
	Ports   []admin.Port   `json:"ports"`
	Leases  []admin.Lease  `json:"leases"`
	Kernel  []Object       `json:"kernel"` // what it must hold for the endpoint
	Link    *Link          `json:"link"`   // on the host; null if it has none there
	Inside  *Inside        `json:"inside"` // null if no container has it
	Engine  Engine         `json:"engine"`
}

// An Option is what was asked for, and what takes effect.
type Option struct {
	Name string `json:"name"`
	// Asked is the value that was given, null if none was; Effective is "" for an
	// option that sets nothing.
	Asked     *string `json:"asked"`
	Effective string  `json:"effective"`
}

// An Object is something that the kernel must hold.
type Object struct {
	Object  string `json:"object"`            // e.g. "veth fwv1 to fwb1"
	Differs string `json:"differs,omitempty"` // how; absent if it is as it must be
}

// An Engine is what Docker says.
type Engine struct {
	Known bool   `json:"known"`          // it has the network, or the endpoint
	Name  string `json:"name,omitempty"` // what it calls it
	// Container is the ID of the endpoint's.
	Container string `json:"container,omitempty"`
	// Unasked is why nobody knows: Docker doesn't answer, or isn't to be asked.
	Unasked string `json:"unasked,omitempty"`
}

// An Address is one of the LAN, the host or a container.
type Address struct {
	Address netip.Addr `json:"address"`
	// Is says what it is, in words: a container's, a gateway, the host's.
	Is       []string   `json:"is"`
	Networks []string   `json:"networks"` // IDs of those whose subnet it is in
	IPAM     []Recorded `json:"ipam"`
	// Leases are those of DHCP servers for it.
	Leases     []admin.Lease `json:"leases"`
	Neighbours []Neighbour   `json:"neighbours"` // what the host has seen of it
	Route      string        `json:"route"`      // by which the host sends there; "" if there is none
}

// A Recorded address is one that fairway's IPAM has given out.
type Recorded struct {
	Subnet   netip.Prefix `json:"subnet"`
	Kind     string       `json:"kind"`
	MAC      string       `json:"mac,omitempty"`
	Created  time.Time    `json:"created"`
	Released time.Time    `json:"released,omitzero"` // absent while in use
}

// A Neighbour is an entry of the host's neighbour table, see ip-neighbour(8).
type Neighbour struct {
	Link  string `json:"link"`
	MAC   string `json:"mac"` // "" where nobody answers
	State string `json:"state"`
}

// A Link is one of the kernel's, with what it has carried since it was made.
type Link struct {
	Name      string         `json:"name"`
	Kind      string         `json:"kind"` // "bridge", "veth", "device", …
	Up        bool           `json:"up"`
	State     string         `json:"state"` // of operation: "up", "down", "unknown", …
	MTU       int            `json:"mtu"`   // bytes
	MAC       string         `json:"mac"`
	Master    string         `json:"master,omitempty"` // the bridge that it is a port of
	Parent    string         `json:"parent,omitempty"` // the link that it is on
	Alias     string         `json:"alias,omitempty"`
	Addresses []netip.Prefix `json:"addresses"`
	// Received and Sent are as the link's own side sees them.
	Received Traffic `json:"received"`
	Sent     Traffic `json:"sent"`
	// Of says whose it is in words, e.g. "container web's on network front".
	Of []string `json:"of,omitempty"`
}

// Traffic is what went one way.
type Traffic struct {
	Bytes   uint64 `json:"bytes"`
	Packets uint64 `json:"packets"`
	Dropped uint64 `json:"dropped"` // packets
}

// Inside is a container's network namespace.
type Inside struct {
	Sandbox string   `json:"sandbox"` // path
	Links   []Link   `json:"links"`   // without lo
	Routes  []string `json:"routes"`
	Trouble string   `json:"trouble,omitempty"` // why it can't be looked at
}
