package admin

import (
	"context"
	"encoding/json"
	"net/http"
	"net/netip"
	"time"
)

// A Cluster is what the daemon shares with other hosts.
type Cluster interface {
	ClusterHosts() ClusterHosts
	// ForgetHost takes a host that is gone for good out of the cluster.
	ForgetHost(ctx context.Context, name string) error
	ClusterNetworks() ClusterNetworks
	// WantNetwork has hosts make a network, or change it; UnwantNetwork remove it.
	WantNetwork(ctx context.Context, n WantedNetwork) error
	UnwantNetwork(ctx context.Context, name string) error
}

// ClusterHosts is the reply to GET /v1/cluster/hosts.
type ClusterHosts struct {
	Version int           `json:"version"`
	Cluster string        `json:"cluster"`
	Self    string        `json:"self"` // name of this host
	Hosts   []ClusterHost `json:"hosts"`
	// Trouble is why this host takes no part at the moment, and what it shows may be
	// old; "" if it does.
	Trouble string   `json:"trouble,omitempty"`
	Alarms  []string `json:"alarms,omitempty"`
}

// A ClusterHost is one host of the cluster.
type ClusterHost struct {
	Name      string     `json:"name"`
	Address   netip.Addr `json:"address"` // where the others send its segments' packets
	Alive     bool       `json:"alive"`   // it was heard of in the last seconds
	Version   string     `json:"fairway"`
	Started   time.Time  `json:"started"`
	MTU       int        `json:"mtu"` // bytes, of the link with that address
	Segments  []string   `json:"segments"`
	Endpoints int        `json:"endpoints"`
	Instance  string     `json:"instance"`
}

// A ClusterStatus is how a cluster is, as the daemon sees it.
type ClusterStatus struct {
	Name    string `json:"name"`
	Self    string `json:"self"`
	Hosts   int    `json:"hosts"`
	Alive   int    `json:"alive"`
	Trouble string `json:"trouble,omitempty"` // see ClusterHosts
	Alarms  int    `json:"alarms,omitempty"`
}

// status is h in short.
func (h ClusterHosts) status() *ClusterStatus {
	out := &ClusterStatus{Name: h.Cluster, Self: h.Self, Hosts: len(h.Hosts), Trouble: h.Trouble, Alarms: len(h.Alarms)}
	for _, host := range h.Hosts {
		if host.Alive {
			out.Alive++
		}
	}
	return out
}

type forgetRequest struct {
	Host string `json:"host"`
}

// serveCluster adds the calls about the cluster.
func (s *Server) serveCluster() {
	s.mux.HandleFunc("GET /v1/cluster/hosts", s.inCluster(func(w http.ResponseWriter, _ *http.Request) {
		hosts := s.Cluster.ClusterHosts()
		hosts.Version = Version
		reply(w, http.StatusOK, hosts)
	}))
	s.mux.HandleFunc("GET /v1/cluster/networks", s.inCluster(func(w http.ResponseWriter, _ *http.Request) {
		networks := s.Cluster.ClusterNetworks()
		networks.Version = Version
		reply(w, http.StatusOK, networks)
	}))
	s.mux.HandleFunc("POST /v1/cluster/forget", s.inCluster(changing(func(ctx context.Context, ask forgetRequest) error {
		return s.Cluster.ForgetHost(ctx, ask.Host)
	})))
	s.mux.HandleFunc("POST /v1/cluster/networks", s.inCluster(changing(func(ctx context.Context, ask WantedNetwork) error {
		return s.Cluster.WantNetwork(ctx, ask)
	})))
	s.mux.HandleFunc("POST /v1/cluster/networks/remove", s.inCluster(changing(func(ctx context.Context, ask unwantRequest) error {
		return s.Cluster.UnwantNetwork(ctx, ask.Name)
	})))
}

// inCluster answers for a daemon that is in none.
func (s *Server) inCluster(answer http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if s.Cluster == nil {
			reply(w, http.StatusConflict, failure{Version, "this host is in no cluster: its daemon runs without --cluster"})
			return
		}
		answer(w, r)
	}
}

// changing answers a request for a change that has nothing to say but whether it
// was made.
func changing[T any](change func(context.Context, T) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var ask T
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&ask); err != nil {
			reply(w, http.StatusBadRequest, failure{Version, "request: " + err.Error()})
			return
		}
		if err := change(r.Context(), ask); err != nil {
			reply(w, http.StatusConflict, failure{Version, err.Error()})
			return
		}
		reply(w, http.StatusOK, struct {
			Version int `json:"version"`
		}{Version})
	}
}

// ClusterHosts returns the hosts of the daemon's cluster.
func (c *Client) ClusterHosts(ctx context.Context) (ClusterHosts, error) {
	return get[ClusterHosts](ctx, c, "/v1/cluster/hosts")
}

// ForgetHost takes a host that is gone for good out of the cluster.
func (c *Client) ForgetHost(ctx context.Context, name string) error {
	_, err := ask[struct{}](ctx, c, http.MethodPost, "/v1/cluster/forget", forgetRequest{name})
	return err
}
