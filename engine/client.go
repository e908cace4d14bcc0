package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// apiVersion is the engine's API as this package knows it: what engine 29
	// still accepts. An older engine gets its own.
	apiVersion = "1.44"
	// requestTimeout bounds a request but for the stream of events. An engine
	// answers within milliseconds unless it waits for a lock.
	requestTimeout = 20 * time.Second
	// answerMax bounds an answer in bytes: more than 10,000 networks or
	// endpoints have.
	answerMax = 64 << 20
)

// A client asks one engine by its API, see docs.docker.com/reference/api/engine.
type client struct {
	http    http.Client
	version string           // of the API that is asked for; "" before identify
	names   map[string]named // of endpoints on overlay networks, by ID
}

func newClient(socket string) *client {
	return &client{http: http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		},
		DisableCompression: true,
		MaxIdleConns:       1,
	}}}
}

func (c *client) close() { c.http.CloseIdleConnections() }

// identify settles on a version of the API and returns which engine this is, as
// IDOf names it, and its version.
func (c *client) identify(ctx context.Context) (id, version string, err error) {
	var v wireVersion
	if err := c.settle(ctx, &v); err != nil {
		return "", "", err
	}
	var info struct {
		DockerRootDir   string
		SecurityOptions []string
	}
	if err := c.get(ctx, "/info", nil, &info); err != nil {
		return "", "", err
	}
	return engineID(info.DockerRootDir, info.SecurityOptions), clean(v.Version), nil
}

// wireVersion is how the API tells its versions.
type wireVersion struct {
	Version       string
	APIVersion    string `json:"ApiVersion"`
	MinAPIVersion string
}

// settle settles on a version of the API.
func (c *client) settle(ctx context.Context, v *wireVersion) error {
	c.version = ""
	if err := c.get(ctx, "/version", nil, v); err != nil {
		return err
	}
	c.version = chooseVersion(v.APIVersion, v.MinAPIVersion)
	return nil
}

// engineID is IDOf's name for an engine that tells this of itself. With
// --userns-remap, UID.GID follows its data-root.
func engineID(root string, security []string) string {
	for _, option := range security {
		if !strings.HasPrefix(option, "name=userns") {
			continue
		}
		if i := strings.LastIndexByte(root, '/'); i > 0 && strings.Trim(root[i+1:], "0123456789.") == "" {
			return root[:i]
		}
	}
	return root
}

// chooseVersion returns the version of the API to ask an engine for that has
// those from lowest to highest.
func chooseVersion(highest, lowest string) string {
	version := apiVersion
	if compareVersions(highest, version) < 0 {
		version = highest
	}
	if compareVersions(lowest, version) > 0 {
		version = lowest
	}
	return version
}

func compareVersions(a, b string) int {
	number := func(s string) int {
		n, _ := strconv.Atoi(s) // what is no number is no version: 0
		return n
	}
	aMajor, aMinor, _ := strings.Cut(a, ".")
	bMajor, bMinor, _ := strings.Cut(b, ".")
	return cmp.Or(cmp.Compare(number(aMajor), number(bMajor)), cmp.Compare(number(aMinor), number(bMinor)))
}

// events follows the engine's events and calls hint for each that says that what
// is known of fairway, or of the asked containers, may have changed. It returns when the engine ends the
// stream, or with ctx. Once it follows, it calls started.
func (c *client) events(ctx context.Context, started, hint func(), asked func() []string) error {
	filters := `{"type":["network","container"],"event":["create","connect","disconnect","destroy","remove","rename"]}`
	body, err := c.open(ctx, http.MethodGet, "/events", url.Values{"filters": {filters}}, nil)
	if err != nil {
		return err
	}
	defer body.Close()
	started()
	dec := json.NewDecoder(body)
	for {
		var e told
		if err := dec.Decode(&e); err != nil {
			return fmt.Errorf("engine: events: %w", err)
		}
		if e.matters() || e.Type == "container" && e.Action == "destroy" && slices.Contains(asked(), e.Actor.ID) {
			hint()
		}
	}
}

// told is an event as the API gives it.
type told struct {
	Type, Action string
	Actor        struct {
		ID         string
		Attributes map[string]string // with type: a network's driver
	}
}

// matters reports whether the event is of a fairway network, or a container's
// new name. Networks of other drivers that use only fairway's IPAM are not worth
// the looks that all of the engine's networks would cause.
func (e told) matters() bool {
	if e.Type == "network" {
		return isOurs(e.Actor.Attributes["type"])
	}
	return e.Action == "rename"
}

// get decodes the answer to a request into v.
func (c *client) get(ctx context.Context, path string, query url.Values, v any) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	body, err := c.open(ctx, http.MethodGet, path, query, nil)
	if err != nil {
		return err
	}
	defer body.Close()
	if err := json.NewDecoder(io.LimitReader(body, answerMax)).Decode(v); err != nil {
		return fmt.Errorf("engine: GET %s: %w", path, err)
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(body, 1<<10)) // so that the connection serves again
	return nil
}

// A statusError is an answer that says no.
type statusError struct {
	code    int
	message string
}

func (e *statusError) Error() string { return fmt.Sprintf("%d %s", e.code, e.message) }

// open returns the body of the answer to a request, which has a body unless that
// is nil.
func (c *client) open(ctx context.Context, method, path string, query url.Values, body io.Reader) (io.ReadCloser, error) {
	u := url.URL{Scheme: "http", Host: "docker", Path: path, RawQuery: query.Encode()}
	if c.version != "" {
		u.Path = "/v" + c.version + path
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, fmt.Errorf("engine: %s %s: %w", method, path, err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("engine: %w", err)
	}
	if resp.StatusCode/100 == 2 {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	var answer struct{ Message string }
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 16<<10))
	if json.Unmarshal(text, &answer) != nil {
		answer.Message = string(text)
	}
	return nil, fmt.Errorf("engine: %s %s: %w", method, path, &statusError{resp.StatusCode, cleanTo(answer.Message, lineMax)})
}
