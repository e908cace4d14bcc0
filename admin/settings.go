package admin

import (
	"context"
	"net/http"
)

// Settings is the daemon's configuration as it has it.
type Settings struct {
	Version  int       `json:"version"`
	Settings []Setting `json:"settings"`
}

// A Setting is one of the daemon's.
type Setting struct {
	Name  string `json:"name"`
	Value string `json:"value"` // several are separated by blanks
	// Origin says where the value comes from: "default", "flag", "environment
	// NAME" or FILE:LINE.
	Origin string `json:"origin"`
	Live   bool   `json:"live"` // can be changed by a reload
	// Next is the value that takes effect at the next start; absent if it is this
	// one.
	Next *string `json:"next,omitempty"`
}

// config answers with what the daemon was told.
func (s *Server) config(w http.ResponseWriter, _ *http.Request) {
	reply(w, http.StatusOK, Settings{Version, s.Config()})
}

// Settings returns the daemon's configuration.
func (c *Client) Settings(ctx context.Context) (Settings, error) {
	return get[Settings](ctx, c, "/v1/config")
}
