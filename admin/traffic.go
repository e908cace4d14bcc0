package admin

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"time"
)

// Carried is what the link of an endpoint has carried since it was made, as its
// container sees it.
type Carried struct {
	ReceivedBytes   uint64 `json:"received_bytes"`
	SentBytes       uint64 `json:"sent_bytes"`
	ReceivedPackets uint64 `json:"received_packets"`
	SentPackets     uint64 `json:"sent_packets"`
	// Dropped counts packets by the reason: DroppedQueue, DroppedSpoof.
	Dropped map[string]uint64 `json:"dropped"`
	// Connections are those that the host tracks now from and to its addresses.
	Connections uint64 `json:"connections"`
}

// Why packets were dropped.
const (
	DroppedQueue = "link"      // by the link: a full queue
	DroppedSpoof = "antispoof" // not the container's own to send
)

// Traffic is the reply to GET /v1/traffic.
type Traffic struct {
	Version int       `json:"version"`
	Time    time.Time `json:"time"` // when it was read
	// Endpoints are those whose links could be read, by network and container.
	Endpoints []EndpointTraffic `json:"endpoints"`
}

// EndpointTraffic is that of one endpoint.
type EndpointTraffic struct {
	ID          string `json:"id"`
	Network     string `json:"network"` // ID
	NetworkName string `json:"network_name,omitempty"`
	Container   string `json:"container,omitempty"` // its name; absent until Docker was asked
	ContainerID string `json:"container_id,omitempty"`
	Carried
}

// traffic answers with what the links have carried.
func (s *Server) traffic(w http.ResponseWriter, r *http.Request) {
	carried, err := s.Carried(r.Context())
	if err != nil {
		reply(w, http.StatusInternalServerError, failure{Version, err.Error()})
		return
	}
	out := Traffic{Version: Version, Time: time.Now(), Endpoints: []EndpointTraffic{}}
	names := networkNames(s.Records)
	for _, e := range s.Records.Endpoints() {
		c, ok := carried[e.ID]
		if !ok {
			continue
		}
		if c.Dropped == nil {
			c.Dropped = map[string]uint64{}
		}
		out.Endpoints = append(out.Endpoints, EndpointTraffic{e.ID, e.Network, names[e.Network], e.Container, e.ContainerID, c})
	}
	slices.SortFunc(out.Endpoints, func(a, b EndpointTraffic) int {
		return cmp.Or(named(a.NetworkName, b.NetworkName), cmp.Compare(a.Network, b.Network), named(a.Container, b.Container), cmp.Compare(a.ID, b.ID))
	})
	reply(w, http.StatusOK, out)
}

// Traffic returns what the links of endpoints have carried.
func (c *Client) Traffic(ctx context.Context) (Traffic, error) {
	return get[Traffic](ctx, c, "/v1/traffic")
}
