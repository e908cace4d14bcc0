package admin

import (
	"context"
	"os"
)

// Health is what a daemon says of itself. Status completes it.
type Health interface {
	Health() Status
}

// Status says how the daemon is; before it is ready just that.
func (s *Server) Status() Status {
	out := Status{Version: Version, Daemon: s.Build, PID: os.Getpid(), Started: s.started, State: StateRestoring, Settings: s.Settings}
	select {
	case <-s.Ready:
	default:
		return out
	}
	if s.Health != nil {
		h := s.Health.Health()
		out.Firewall, out.Checked, out.Trouble = h.Firewall, h.Checked, h.Trouble
		out.RepairedLinks, out.RepairedRules = h.RepairedLinks, h.RepairedRules
	}
	out.State = StateHealthy
	if out.Trouble != "" {
		out.State = StateFailing
	}
	out.Networks = len(s.Records.Networks())
	for _, e := range s.Records.Endpoints() {
		out.Endpoints++
		out.Ports += len(e.Published)
	}
	if l, ok := s.Records.(Leases); ok {
		all, lost := l.Leases()
		out.LeasesLost = lost
		for _, lease := range all {
			if out.Leases == nil {
				out.Leases = map[string]int{}
			}
			out.Leases[lease.State]++
		}
	}
	if s.Cluster != nil {
		out.Cluster = s.Cluster.ClusterHosts().status()
	}
	return out
}

// Status returns how the daemon is.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return get[Status](ctx, c, "/v1/status")
}
