//go:build bench

package bench

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"
)

// A client speaks the plugin protocol as dockerd does: net/http over a Unix
// socket, kept alive.
type client struct {
	http http.Client
}

func newClient(socket string) *client {
	return &client{http.Client{
		Timeout: time.Minute,
		Transport: &http.Transport{
			MaxIdleConnsPerHost: 64,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, "unix", socket)
			},
		},
	}}
}

type reply struct {
	Err, Error string
	// What the IPAM driver gives out.
	PoolID, Address string
	InterfaceName   struct{ SrcName string }
}

// try makes one call; an error that the driver answers is one.
func (c *client) try(method string, body []byte) (r reply, err error) {
	req, err := http.NewRequestWithContext(world.ctx, http.MethodPost, "http://plugin"+method, bytes.NewReader(body))
	if err != nil {
		return r, err
	}
	req.Header.Set("Accept", "application/vnd.docker.plugins.v1.2+json")
	resp, err := c.http.Do(req)
	if err != nil {
		return r, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(raw, &r); err != nil {
		return r, fmt.Errorf("%s: %w: %s", method, err, raw)
	}
	if text := r.Err + r.Error; text != "" || resp.StatusCode != http.StatusOK {
		return r, errors.New(method + ": " + text)
	}
	return r, nil
}

func (c *client) call(b *testing.B, method string, body []byte) reply {
	r, err := c.try(method, body)
	if err != nil {
		b.Fatal(err)
	}
	return r
}

func encode(v any) []byte {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err) // none of the values here can fail
	}
	return raw
}

func decode(b *testing.B, raw []byte, v any) {
	if err := json.Unmarshal(raw, v); err != nil {
		b.Fatal(err)
	}
}

func newID() string {
	raw := make([]byte, 32)
	rand.Read(raw) // never fails: crypto/rand
	return hex.EncodeToString(raw)
}

// subnet is that of every network here.
func subnet() netip.Prefix { return netip.MustParsePrefix("10.77.0.0/16") }

type object map[string]any

// createNetwork makes a network with default options and returns its ID.
func (c *client) createNetwork(b *testing.B) string {
	id := newID()
	c.call(b, "/NetworkDriver.CreateNetwork", encode(object{
		"NetworkID": id,
		"Options":   object{"com.docker.network.generic": object{"mtu": "1500"}, "com.docker.network.enable_ipv6": false},
		"IPv4Data":  []object{{"AddressSpace": "LocalDefault", "Pool": subnet().String(), "Gateway": "10.77.0.1/16"}},
		"IPv6Data":  []object{},
	}))
	return id
}

// An endpoint is the requests of one endpoint's life, encoded beforehand.
type endpoint struct {
	create, join, refer []byte
	link                string // its end for the sandbox, once joined
}

// newEndpoint returns the n-th address's endpoint, each time one of another ID.
func newEndpoint(network string, n int) *endpoint {
	id := newID()
	ip := netip.AddrFrom4([4]byte{10, 77, byte((n + 2) >> 8), byte(n + 2)})
	ports := object{"com.docker.network.portmap": []object{}, "com.docker.network.endpoint.exposedports": []object{}}
	return &endpoint{
		create: encode(object{
			"NetworkID": network, "EndpointID": id, "Options": ports,
			"Interface": object{"Address": netip.PrefixFrom(ip, subnet().Bits()).String(), "AddressIPv6": "", "MacAddress": ""},
		}),
		join: encode(object{
			"NetworkID": network, "EndpointID": id, "Options": ports, "SandboxKey": "/var/run/docker/netns/" + id[:12],
		}),
		refer: encode(object{"NetworkID": network, "EndpointID": id}),
	}
}

func (c *client) tryAttach(e *endpoint) error {
	if _, err := c.try("/NetworkDriver.CreateEndpoint", e.create); err != nil {
		return err
	}
	r, err := c.try("/NetworkDriver.Join", e.join)
	e.link = r.InterfaceName.SrcName
	return err
}

func (c *client) tryDetach(e *endpoint) error {
	if _, err := c.try("/NetworkDriver.Leave", e.refer); err != nil {
		return err
	}
	_, err := c.try("/NetworkDriver.DeleteEndpoint", e.refer)
	return err
}

// attach returns how long CreateEndpoint and Join took together.
func (c *client) attach(b *testing.B, e *endpoint) time.Duration {
	start := time.Now()
	if err := c.tryAttach(e); err != nil {
		b.Fatal(err)
	}
	return time.Since(start)
}

// detach returns how long Leave and DeleteEndpoint took together.
func (c *client) detach(b *testing.B, e *endpoint) time.Duration {
	start := time.Now()
	if err := c.tryDetach(e); err != nil {
		b.Fatal(err)
	}
	return time.Since(start)
}
