package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

// makeTimeout bounds the making or removing of a network: the engine calls its
// driver for it, which may wait for the cluster.
const makeTimeout = time.Minute

// An Editor makes and removes networks of the engine behind a socket. It must not
// be used in a call of the plugin protocol: the engine calls back.
type Editor struct {
	Socket string // "": there is none
}

// A Held is a network that the engine has.
type Held struct {
	ID     string
	Name   string
	Ours   bool // fairway is its driver
	Labels map[string]string
	// Attached are the names of running containers on it; Stopped those of the others
	// that were on it, and would be when they start.
	Attached, Stopped []string
}

// A Spec is a network to be made by fairway's driver, with addresses by fairway's
// IPAM driver.
type Spec struct {
	Name        string
	Internal    bool
	IPv6        bool
	Subnets     []Subnet // Aux is left out
	Options     map[string]string
	IPAMOptions map[string]string
	Labels      map[string]string
}

// Held returns the engine's networks that are asked for; containers are told of
// those with a label.
func (e Editor) Held(ctx context.Context, label string, asked func(name string, labels map[string]string) bool) (held []Held, err error) {
	err = e.with(ctx, func(c *client) error {
		var all []wireNetwork
		if err := c.get(ctx, "/networks", nil, &all); err != nil {
			return err
		}
		for _, n := range all {
			if !asked(n.Name, n.Labels) {
				continue
			}
			h := Held{ID: n.ID, Name: n.Name, Ours: isOurs(n.Driver), Labels: n.Labels}
			if _, ok := n.Labels[label]; ok {
				if err := c.users(ctx, &h); isMissing(err) {
					continue // removed meanwhile
				} else if err != nil {
					return err
				}
			}
			held = append(held, h)
		}
		return nil
	})
	return held, err
}

// users fills in whose network h is.
func (c *client) users(ctx context.Context, h *Held) error {
	var full wireNetwork
	if err := c.get(ctx, "/networks/"+url.PathEscape(h.ID), nil, &full); err != nil {
		return err
	}
	for _, e := range full.Containers {
		h.Attached = append(h.Attached, clean(e.Name))
	}
	filters, err := json.Marshal(map[string][]string{"network": {h.ID}})
	if err != nil {
		return err
	}
	var all []struct {
		ID    string `json:"Id"`
		Names []string
	}
	if err := c.get(ctx, "/containers/json", url.Values{"all": {"1"}, "filters": {string(filters)}}, &all); err != nil {
		return err
	}
	for _, a := range all {
		if _, running := full.Containers[a.ID]; !running && len(a.Names) > 0 {
			h.Stopped = append(h.Stopped, clean(strings.TrimPrefix(a.Names[0], "/")))
		}
	}
	slices.Sort(h.Attached)
	slices.Sort(h.Stopped)
	return nil
}

// Make makes a network. A name that is taken is refused.
func (e Editor) Make(ctx context.Context, s Spec) error {
	const driver = "fairway"
	ask := struct {
		Name           string
		CheckDuplicate bool // engines before 25 would make a second one of the name
		Driver         string
		Internal       bool
		EnableIPv6     bool
		IPAM           struct {
			Driver  string
			Options map[string]string
			Config  []map[string]string
		}
		Options, Labels map[string]string
	}{Name: s.Name, CheckDuplicate: true, Driver: driver, Internal: s.Internal, EnableIPv6: s.IPv6, Options: s.Options, Labels: s.Labels}
	ask.IPAM.Driver, ask.IPAM.Options = driver, s.IPAMOptions
	for _, n := range s.Subnets {
		pool := map[string]string{"Subnet": n.Prefix.String()}
		if n.Gateway != (netip.Addr{}) {
			pool["Gateway"] = n.Gateway.String()
		}
		ask.IPAM.Config = append(ask.IPAM.Config, pool)
	}
	body, err := json.Marshal(ask)
	if err != nil {
		return err
	}
	return e.change(ctx, http.MethodPost, "/networks/create", body)
}

// Remove removes a network. That it is gone already is no error.
func (e Editor) Remove(ctx context.Context, id string) error {
	err := e.change(ctx, http.MethodDelete, "/networks/"+url.PathEscape(id), nil)
	if isMissing(err) {
		return nil
	}
	return err
}

func (e Editor) change(ctx context.Context, method, path string, body []byte) error {
	return e.with(ctx, func(c *client) error {
		ctx, cancel := context.WithTimeout(ctx, makeTimeout)
		defer cancel()
		answer, err := c.open(ctx, method, path, nil, bytes.NewReader(body))
		if err != nil {
			return err
		}
		return answer.Close()
	})
}

func (e Editor) with(ctx context.Context, do func(*client) error) error {
	if e.Socket == "" {
		return errors.New("engine: setting docker-socket is empty")
	}
	c := newClient(e.Socket)
	defer c.close()
	if err := c.settle(ctx, &wireVersion{}); err != nil {
		return err
	}
	return do(c)
}

func isMissing(err error) bool {
	var status *statusError
	return errors.As(err, &status) && status.code == http.StatusNotFound
}

// A Refusal is what an engine said that it didn't do as it was asked; ok is false
// if err is something else, such as that there is no engine.
func Refusal(err error) (line string, ok bool) {
	var status *statusError
	if !errors.As(err, &status) {
		return "", false
	}
	if status.message == "" {
		return fmt.Sprintf("Docker answered %d", status.code), true
	}
	return status.message, true
}
