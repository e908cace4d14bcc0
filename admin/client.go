package admin

import (
	"bytes"
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

// Leases returns the daemon's leases.
func (c *Client) Leases(ctx context.Context) (Leased, error) {
	return get[Leased](ctx, c, "/v1/leases")
}

// Ports returns the daemon's published ports, if asked for with what goes by
// them.
func (c *Client) Ports(ctx context.Context, traffic bool) (Ports, error) {
	if traffic {
		return get[Ports](ctx, c, "/v1/ports?traffic=1")
	}
	return get[Ports](ctx, c, "/v1/ports")
}

// AddPorts publishes ports of a running container and returns them.
func (c *Client) AddPorts(ctx context.Context, change PortsChange) (Ports, error) {
	return ask[Ports](ctx, c, http.MethodPost, "/v1/ports/add", change)
}

// RemovePorts takes published ports of a container off the host.
func (c *Client) RemovePorts(ctx context.Context, change PortsChange) error {
	_, err := ask[Ports](ctx, c, http.MethodPost, "/v1/ports/remove", change)
	return err
}

func get[T any](ctx context.Context, c *Client, path string) (T, error) {
	return ask[T](ctx, c, http.MethodGet, path, nil)
}

// ask sends a request, with a body unless that is nil, and reads the reply.
func ask[T any](ctx context.Context, c *Client, method, path string, body any) (v T, err error) {
	var send io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return v, err
		}
		send = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://fairway"+path, send)
	if err != nil {
		return v, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return v, c.unreachable(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxReply))
	if err != nil {
		return v, fmt.Errorf("%s: read reply: %w", c.socket, err)
	}
	if resp.StatusCode != http.StatusOK {
		return v, c.refused(resp, text)
	}
	if err := json.Unmarshal(text, &v); err != nil {
		return v, fmt.Errorf("%s: reply: %w", c.socket, err)
	}
	return v, nil
}

// refused says in one line what a reply other than 200 says.
func (c *Client) refused(resp *http.Response, text []byte) error {
	var f failure
	if json.Unmarshal(text, &f) != nil || f.Error == "" {
		f.Error = resp.Status
	}
	switch resp.StatusCode {
	case http.StatusServiceUnavailable:
		return fmt.Errorf("%s: %w: %s", c.socket, ErrRestoring, f.Error)
	case http.StatusConflict, http.StatusBadRequest:
		return errors.New(f.Error) // it begins with its subject
	}
	return fmt.Errorf("%s: %s", c.socket, f.Error)
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
