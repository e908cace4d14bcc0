package driver

import (
	"net/netip"

	"fairway/link"
	"fairway/store"
)

// A NetworkSpec is what Docker says of a network that it wants made.
type NetworkSpec struct {
	ID       string
	Engine   string            // the engine that asks: see package engine; "" unknown
	Options  map[string]string // com.docker.network.generic: -o key=value
	Internal bool
	IPv4     bool // engines before 28 don't say: true then
	IPv6     bool
	Subnets  []store.Subnet
}

// An EndpointSpec is what Docker says of an endpoint that it wants made. What
// it leaves empty is the driver's to choose.
type EndpointSpec struct {
	ID      string
	Network string
	Engine  string
	MAC     string // colon form
	IPv4    netip.Prefix
	IPv6    netip.Prefix
	Options map[string]string // --network name=…,driver-opt=key=value: text values only
	Ports   int               // how many the user wants published
}

// An EndpointReply holds what the driver chose for an endpoint: just those
// fields that were empty in its EndpointSpec, since Docker refuses a reply
// that repeats one.
type EndpointReply struct {
	MAC  string
	IPv4 netip.Prefix
	IPv6 netip.Prefix
}

// A PublishSpec is what Docker says of an endpoint that is a gateway of its
// sandbox, for one family or both: which, it doesn't say.
type PublishSpec struct {
	Ports []store.PortBinding
	// IPv6Elsewhere: another endpoint of the sandbox is its IPv6 gateway.
	IPv6Elsewhere bool
}

// A Joined says what Docker does in the sandbox for an endpoint.
type Joined struct {
	SrcName   string // the link to move into the sandbox
	DstPrefix string // its name there, less the number that Docker adds
	DstName   string // its whole name there; engines so far ignore it; "" for DstPrefix and a number
	Gateway   netip.Addr
	Gateway6  netip.Addr
	Routes    []link.Route
	// DisableGatewayService keeps Docker from attaching the container to its
	// own gateway bridge where no Gateway is given.
	DisableGatewayService bool
}
