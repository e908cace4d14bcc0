package store

import (
	"net/netip"
	"time"
)

// An Endpoint is the durable record of one container's attachment to one network.
type Endpoint struct {
	ID      string // Docker's endpoint ID
	Network string // ID of its network
	Engine  string
	Created time.Time

	MAC     string       // colon form
	IPv4    netip.Prefix // address with the subnet's length; invalid if none
	IPv6    netip.Prefix
	Options map[string]string // per-endpoint driver options as given
	Learned Learned           `json:",omitzero"` // from the LAN, when the endpoint was made

	HostLink string // the end on the host, e.g. the bridge port
	Inside   string // the end that goes into the sandbox, under the name that it has before it is moved

	Sandbox   string // SandboxKey of Join, a path; "" while not joined
	Confirmed bool   // a later call used the endpoint, so Docker knows it

	Requested PortBindings // what Docker last asked to publish, in its order
	Published PortBindings // what is published now: host ports settled, one entry a port and family

	// HostAddresses are addresses of the host on the network's LAN that the
	// container reaches by the network's HostLink.
	HostAddresses []netip.Addr `json:",omitempty"`

	Container   string // container's name, annotated in the background; "" not known yet
	ContainerID string // likewise
	// Names are all that the container is found by on a network that spans hosts,
	// its own first; likewise.
	Names []string `json:",omitempty"`
}

// A PortBinding publishes a port of an endpoint on the host.
type PortBinding struct {
	Proto       uint8      // IP protocol number: 6 tcp, 17 udp, 132 sctp
	HostIP      netip.Addr // invalid in requests: every address of the host; in what is published: see OnItsOwn, or the endpoint is reached by routing
	HostPort    uint16     // 0: an ephemeral one
	HostPortEnd uint16     // last of a range to choose from; 0 or HostPort: just HostPort
	IP          netip.Addr // the endpoint's address; invalid in requests
	Port        uint16     // the endpoint's port
}

// OnItsOwn reports whether p is published on the endpoint's own address, and not
// on the host: what comes there to HostPort is for Port.
func (p PortBinding) OnItsOwn() bool { return p.IP.IsValid() && !p.HostIP.IsValid() && p.HostPort != 0 }
