package plugin

import (
	"context"
	"net/netip"

	"fairway/driver"
	"fairway/ipam"
	"fairway/store"
)

// Networks is the network driver behind the protocol. Every method may be
// repeated; undoing what is already gone succeeds. Errors are shown to the
// user as they are.
type Networks interface {
	// CheckGateway says, before Docker's IPAM is asked for a network's pools,
	// for which families it needs no gateway address. The spec has no ID.
	CheckGateway(ctx context.Context, n driver.NetworkSpec) (skip4, skip6 bool, err error)
	CreateNetwork(ctx context.Context, n driver.NetworkSpec) error
	DeleteNetwork(ctx context.Context, id string) error
	CreateEndpoint(ctx context.Context, e driver.EndpointSpec) (driver.EndpointReply, error)
	DeleteEndpoint(ctx context.Context, network, endpoint string) error
	// EndpointInfo returns what is worth knowing of an endpoint; Docker itself
	// uses none of it.
	EndpointInfo(ctx context.Context, network, endpoint string) (map[string]any, error)
	// Join hands the endpoint to the sandbox, the path of a network namespace,
	// which before Docker 28 need not exist yet.
	Join(ctx context.Context, network, endpoint, sandbox string, ports ...store.PortBinding) (driver.Joined, error)
	Leave(ctx context.Context, network, endpoint string) error
	// Publish makes the ports the whole of what the endpoint publishes.
	Publish(ctx context.Context, network, endpoint string, want driver.PublishSpec) error
	Unpublish(ctx context.Context, network, endpoint string) error
}

// Addresses is the IPAM driver behind the protocol, under the same rules as
// Networks.
type Addresses interface {
	RequestPool(ctx context.Context, p ipam.PoolSpec) (ipam.PoolReply, error)
	ReleasePool(ctx context.Context, id string) error
	// RequestAddress returns the address with its subnet's length.
	RequestAddress(ctx context.Context, a ipam.AddressSpec) (netip.Prefix, error)
	ReleaseAddress(ctx context.Context, pool string, ip netip.Addr) error
}
