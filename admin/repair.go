package admin

import (
	"context"
	"net/http"
)

// A RepairReply is the reply to POST /v1/repair.
type RepairReply struct {
	Version  int `json:"version"`
	Repaired int `json:"repaired"` // objects that weren't as recorded
}

// repair compares the kernel with the records now and makes it equal.
func (s *Server) repair(w http.ResponseWriter, r *http.Request) {
	n, err := s.Repair(r.Context())
	if err != nil {
		reply(w, http.StatusConflict, failure{Version, err.Error()})
		return
	}
	reply(w, http.StatusOK, RepairReply{Version, n})
}

// Repair has the daemon make the kernel as recorded, and returns how much
// differed.
func (c *Client) Repair(ctx context.Context) (int, error) {
	r, err := ask[RepairReply](ctx, c, http.MethodPost, "/v1/repair", nil)
	return r.Repaired, err
}
