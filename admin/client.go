package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

// Why a call did not come through; test with errors.Is.
var (
	ErrUnreachable = errors.New("daemon not reachable") //nolint:gochecknoglobals // an error value
	ErrPermission  = errors.New("no permission")        //nolint:gochecknoglobals // an error value
	// ErrRestoring is an ErrUnreachable that passes.
	ErrRestoring = fmt.Errorf("%w yet", ErrUnreachable) //nolint:gochecknoglobals // an error value
)

// maxReply bounds what is read of a reply, in bytes: 10,000 endpoints take some 5 MB.
const maxReply = 256 << 20

// A Client asks the daemon behind a socket.
type Client struct {
	socket string
	http   http.Client
}

// NewClient returns a client of the daemon whose admin socket is at the path.
func NewClient(socket string) *Client {
	return &Client{socket: socket, http: http.Client{
		Timeout: 30 * time.Second,
		Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "unix", socket)
			},
		},
	}}
}

// Networks returns the daemon's networks.
func (c *Client) Networks(ctx context.Context) (Networks, error) {
	return get[Networks](ctx, c, "/v1/networks")
}

// Endpoints returns the daemon's endpoints.
func (c *Client) Endpoints(ctx context.Context) (Endpoints, error) {
	return get[Endpoints](ctx, c, "/v1/endpoints")
}

// Ports returns the daemon's published ports.
func (c *Client) Ports(ctx context.Context) (Ports, error) {
	return get[Ports](ctx, c, "/v1/ports")
}

func get[T any](ctx context.Context, c *Client, path string) (v T, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://fairway"+path, nil)
	if err != nil {
		return v, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return v, c.unreachable(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxReply))
	if err != nil {
		return v, fmt.Errorf("%s: read reply: %w", c.socket, err)
	}
	if resp.StatusCode != http.StatusOK {
		var f failure
		if json.Unmarshal(body, &f) != nil || f.Error == "" {
			f.Error = resp.Status
		}
		if resp.StatusCode == http.StatusServiceUnavailable {
			return v, fmt.Errorf("%s: %w: %s", c.socket, ErrRestoring, f.Error)
		}
		return v, fmt.Errorf("%s: %s", c.socket, f.Error)
	}
	if err := json.Unmarshal(body, &v); err != nil {
		return v, fmt.Errorf("%s: reply: %w", c.socket, err)
	}
	return v, nil
}

// unreachable says in one line why there was no reply.
func (c *Client) unreachable(err error) error {
	var call *os.SyscallError // what connect(2) said, without the ways it came
	if errors.As(err, &call) {
		err = call.Err
	}
	switch {
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%s: %w", c.socket, ErrPermission)
	case errors.Is(err, context.Canceled):
		return err
	}
	return fmt.Errorf("%s: %w: %w", c.socket, ErrUnreachable, err)
}
