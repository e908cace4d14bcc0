package admin

import (
	"context"
	"net/http"
)

// A Backup is where a copy of the records is.
type Backup struct {
	Version int    `json:"version"`
	Path    string `json:"path"`
}

// makeBackup makes a copy of the records and answers with its path.
func (s *Server) makeBackup(w http.ResponseWriter, r *http.Request) {
	path, err := s.Backup(r.Context())
	if err != nil {
		reply(w, http.StatusInternalServerError, failure{Version, err.Error()})
		return
	}
	reply(w, http.StatusOK, Backup{Version, path})
}

// Backup has the daemon make a copy of its records.
func (c *Client) Backup(ctx context.Context) (Backup, error) {
	return ask[Backup](ctx, c, http.MethodPost, "/v1/store/backup", nil)
}
