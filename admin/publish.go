package admin

import (
	"context"
	"encoding/json"
	"net/http"

	"fairway/store"
)

// A Publisher changes what running containers publish. A container is its name,
// its ID or the beginning of one; so is a network, "" for the container's
// gateway. Errors are for the operator, in one line.
type Publisher interface {
	// AddPorts publishes ports, and returns the endpoint and what is published
	// for them.
	AddPorts(ctx context.Context, container, network string, ports []store.PortBinding) (endpoint string, published []store.PortBinding, err error)
	RemovePorts(ctx context.Context, container, network string, ports []store.PortBinding) error
}

// A PortsChange is the body of POST /v1/ports/add and /v1/ports/remove.
type PortsChange struct {
	Container string   `json:"container"`         // name, ID or the beginning of one
	Network   string   `json:"network,omitempty"` // likewise; "" for the container's gateway
	Ports     []string `json:"ports"`             // see AddForm and RemoveForm
}

// maxChange bounds the body of a change, in bytes: 65,535 ports one by one are
// less than 2 MB.
const maxChange = 4 << 20

// Parse reads the ports of the change, each by parse.
func (c PortsChange) Parse(parse func(string) ([]store.PortBinding, error)) (out []store.PortBinding, err error) {
	for _, text := range c.Ports {
		some, err := parse(text)
		if err != nil {
			return nil, err
		}
		out = append(out, some...)
	}
	return out, nil
}

func (s *Server) addPorts(w http.ResponseWriter, r *http.Request) {
	c, ports, ok := s.change(w, r, ParseAdd)
	if !ok {
		return
	}
	endpoint, published, err := s.Publisher.AddPorts(r.Context(), c.Container, c.Network, ports)
	if err != nil {
		reply(w, http.StatusConflict, failure{Version, err.Error()})
		return
	}
	ours := map[Published]bool{}
	for _, p := range published {
		ours[Published{endpoint, p}] = true
	}
	states := s.Records.PortStates(r.Context(), false)
	reply(w, http.StatusOK, portsOf(s.Records, states, false, func(p Published) bool { return ours[p] }))
}

func (s *Server) removePorts(w http.ResponseWriter, r *http.Request) {
	c, ports, ok := s.change(w, r, ParseRemove)
	if !ok {
		return
	}
	if err := s.Publisher.RemovePorts(r.Context(), c.Container, c.Network, ports); err != nil {
		reply(w, http.StatusConflict, failure{Version, err.Error()})
		return
	}
	reply(w, http.StatusOK, Ports{Version: Version, Ports: []Port{}})
}

// change reads a body, or answers what is wrong with it.
func (s *Server) change(w http.ResponseWriter, r *http.Request, parse func(string) ([]store.PortBinding, error)) (c PortsChange, ports []store.PortBinding, ok bool) {
	refuse := func(status int, why string) (PortsChange, []store.PortBinding, bool) {
		reply(w, status, failure{Version, why})
		return c, nil, false
	}
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxChange))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&c); err != nil {
		return refuse(http.StatusBadRequest, "body: "+err.Error())
	}
	if c.Container == "" || len(c.Ports) == 0 {
		return refuse(http.StatusBadRequest, "body: want a container and ports")
	}
	ports, err := c.Parse(parse)
	if err != nil {
		return refuse(http.StatusBadRequest, err.Error())
	}
	return c, ports, true
}
