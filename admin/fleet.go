package admin

import (
	"context"
	"net/http"
	"net/netip"
)

// A WantedNetwork is a network that hosts of the cluster are to make, each by its
// own engine: the body of POST /v1/cluster/networks.
type WantedNetwork struct {
	Name     string            `json:"name"`
	Segment  string            `json:"segment"`
	Subnets  []netip.Prefix    `json:"subnets,omitempty"`
	Gateways []netip.Addr      `json:"gateways,omitempty"` // each of one of the subnets
	Internal bool              `json:"internal,omitempty"`
	IPv6     bool              `json:"ipv6,omitempty"`
	Options  map[string]string `json:"options,omitempty"`
	Labels   map[string]string `json:"labels,omitempty"`
	Hosts    []string          `json:"hosts,omitempty"` // none: all
}

type unwantRequest struct {
	Name string `json:"name"`
}

// ClusterNetworks is the reply to GET /v1/cluster/networks.
type ClusterNetworks struct {
	Version  int              `json:"version"`
	Cluster  string           `json:"cluster"`
	Self     string           `json:"self"` // name of this host
	Networks []ClusterNetwork `json:"networks"`
	// Trouble is why this host takes no part at the moment, and what it shows may be
	// old; "" if it does.
	Trouble string `json:"trouble,omitempty"`
}

// A ClusterNetwork is a network that was made for several hosts at once.
type ClusterNetwork struct {
	Name     string            `json:"name"`
	Segment  string            `json:"segment"`
	Subnets  []netip.Prefix    `json:"subnets"` // that were asked for
	Internal bool              `json:"internal"`
	IPv6     bool              `json:"ipv6"`
	Options  map[string]string `json:"options"`
	Labels   map[string]string `json:"labels"`
	Hosts    []string          `json:"hosts"`    // that are to have it; none: all
	Removing bool              `json:"removing"` // hosts are to remove it
	On       []NetworkOn       `json:"on"`       // by host
}

// The states of a network on a host that hosts don't say themselves.
const (
	NetworkPending = "pending" // the host hasn't said anything of it yet
	NetworkAway    = "away"    // nor will it before its daemon is back
)

// A NetworkOn is how a network of the cluster is on one host.
type NetworkOn struct {
	Host  string `json:"host"`
	State string `json:"state"` // made, working, waiting, refused, left, pending or away
	Why   string `json:"why,omitempty"`
	Alive bool   `json:"alive"` // the host was heard of in the last seconds
}

// ClusterNetworks returns the networks of the daemon's cluster.
func (c *Client) ClusterNetworks(ctx context.Context) (ClusterNetworks, error) {
	return get[ClusterNetworks](ctx, c, "/v1/cluster/networks")
}

// WantNetwork has hosts of the cluster make a network.
func (c *Client) WantNetwork(ctx context.Context, n WantedNetwork) error {
	_, err := ask[struct{}](ctx, c, http.MethodPost, "/v1/cluster/networks", n)
	return err
}

// UnwantNetwork has all hosts of the cluster remove a network.
func (c *Client) UnwantNetwork(ctx context.Context, name string) error {
	_, err := ask[struct{}](ctx, c, http.MethodPost, "/v1/cluster/networks/remove", unwantRequest{name})
	return err
}
