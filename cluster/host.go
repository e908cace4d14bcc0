package cluster

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"fairway/store"
)

// A HostState is a host and how it is.
type HostState struct {
	Host
	Alive     bool
	Endpoints int
	Segments  []string
}

// selfKey is where the store keeps who this host was: no key of etcd's.
const selfKey = "self"

// identity is what the store keeps of this host: the incarnations that etcd may
// have of it.
type identity struct {
	Name         string     `json:"name"`
	Advertise    netip.Addr `json:"advertise"`
	Incarnations []string   `json:"incarnations"`
}

// Advertised returns the address that the host had in a cluster when it was last in
// one; invalid if it never was.
func Advertised(records store.Records) netip.Addr {
	var id identity
	_ = json.Unmarshal(records.Cluster[selfKey].Value, &id) // none: it never was
	return id.Advertise
}

// present registers this host, keeps its lease, and returns when the lease is lost
// or somebody else goes by this host's name.
func (c *Cluster) present(ctx context.Context) error {
	if err := c.admitted(ctx); err != nil {
		return err
	}
	client := c.etcd()
	limit, cancel := context.WithTimeout(ctx, c.opts.Patience)
	defer cancel()
	lease, err := client.Grant(limit, int64(c.opts.TTL/time.Second))
	if err != nil {
		return err
	}
	// What comes too late to be kept alive is gone with its lease anyhow.
	defer func() {
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_, _ = client.Revoke(limit, lease.ID)
	}()
	kept, err := client.KeepAlive(ctx, lease.ID)
	if err != nil {
		return err
	}
	if err := c.register(ctx, lease.ID); err != nil {
		return err
	}
	c.mu.Lock()
	c.lease = lease.ID
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.lease, c.joined = 0, false
		c.mu.Unlock()
	}()
	c.well()
	return c.stay(ctx, kept)
}

// stay returns when the lease is lost or this host's record isn't its own.
func (c *Cluster) stay(ctx context.Context, kept <-chan *clientv3.LeaseKeepAliveResponse) error {
	for {
		c.mu.Lock()
		changed := c.changed
		now, there := c.view.hosts[c.self.Name]
		c.mu.Unlock()
		if !there {
			return fmt.Errorf("cluster: host %s was forgotten", c.self.Name)
		}
		if now.Incarnation != c.self.Incarnation {
			return c.cloned(now)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case _, ok := <-kept:
			if !ok {
				return errors.New("cluster: etcd doesn't keep this host's lease")
			}
		case <-changed:
		}
	}
}

// admitted waits until this host may go by its name: a daemon that ran on this
// machine may have left a lease behind, one that runs on another keeps it.
func (c *Cluster) admitted(ctx context.Context) error {
	deadline := time.Now().Add(2 * c.opts.TTL)
	for {
		c.mu.Lock()
		changed := c.changed
		now, there := c.view.hosts[c.self.Name]
		alive := string(c.view.entries[aliveKey(c.self.Name)].Value)
		known := c.known()
		c.mu.Unlock()
		incarnation, boot, _ := strings.Cut(alive, " ")
		switch {
		case !there:
			return nil
		case now.Instance != c.self.Instance:
			return fmt.Errorf("cluster: host name %s is that of another host, %s, with instance %s (this one's is %s): want another --host-name, or fairway cluster forget %s if it is gone",
				now.Name, now.Advertise, now.Instance, c.self.Instance, now.Name)
		case alive == "", slices.Contains(known, incarnation) && boot == c.opts.Boot:
			return nil
		case time.Now().After(deadline):
			return c.cloned(now)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		case <-time.After(time.Until(deadline) + time.Millisecond):
		}
	}
}

func (c *Cluster) cloned(other Host) error {
	return fmt.Errorf("cluster: another machine, %s, runs with this host's name and state: a clone begins with an empty --state-dir and a --host-name of its own", other.Advertise)
}

// known returns the incarnations that are this host's. The caller holds c.mu.
func (c *Cluster) known() []string {
	var id identity
	_ = json.Unmarshal(c.view.entries[selfKey].Value, &id) // none: a new host
	return id.Incarnations
}

// register writes this host's record. Its incarnation is on the disk before it is
// in etcd, so that the next run knows it for its own.
func (c *Cluster) register(ctx context.Context, lease clientv3.LeaseID) error {
	if c.self.Incarnation == "" {
		b := make([]byte, 8)
		rand.Read(b)
		c.self.Incarnation, c.self.Started = hex.EncodeToString(b), time.Now().UTC()
		c.mu.Lock()
		id := identity{c.self.Name, c.self.Advertise, append(c.known(), c.self.Incarnation)}
		if n := len(id.Incarnations); n > 64 {
			id.Incarnations = id.Incarnations[n-64:]
		}
		e := store.ClusterEntry{Key: selfKey, Value: encode(id)}
		c.view.entries[selfKey] = e
		c.mu.Unlock()
		if err := <-c.opts.Store.Begin(store.PutCluster(e)); err != nil {
			c.self.Incarnation = ""
			return err
		}
	}
	c.mu.Lock()
	same := c.unchanged(hostKey(c.self.Name))
	c.mu.Unlock()
	ok, err := c.commit(ctx, []clientv3.Cmp{same}, []clientv3.Op{
		clientv3.OpPut(c.key(hostKey(c.self.Name)), string(encode(c.self))),
		clientv3.OpPut(c.key(aliveKey(c.self.Name)), c.self.Incarnation+" "+c.opts.Boot, clientv3.WithLease(lease)),
	})
	if err == nil && !ok {
		err = errors.New("cluster: the host's record changed meanwhile")
	}
	return err
}

// Hosts returns the hosts of the cluster as this one knows them, by name, and why
// that may be old; "" if it isn't.
func (c *Cluster) Hosts() (hosts []HostState, trouble string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	endpoints := map[string]int{}
	for _, of := range c.view.endpoints {
		for _, r := range of {
			endpoints[r.Host]++
		}
	}
	for name, h := range c.view.hosts {
		s := HostState{Host: h, Alive: c.view.alive[name], Endpoints: endpoints[name]}
		for segment, members := range c.view.members {
			if members[name] {
				s.Segments = append(s.Segments, segment)
			}
		}
		slices.Sort(s.Segments)
		hosts = append(hosts, s)
	}
	slices.SortFunc(hosts, func(a, b HostState) int { return cmp.Compare(a.Name, b.Name) })
	return hosts, c.trouble
}

// Self returns this host.
func (c *Cluster) Self() Host { return c.opts.Self }

// Forget takes a host that is gone for good out of the cluster, with all that it
// had. One that lives is refused: it would come back.
func (c *Cluster) Forget(ctx context.Context, host string) error {
	if err := CheckName(host); err != nil {
		return err
	}
	c.mu.Lock()
	_, there := c.view.hosts[host]
	alive, synced := c.view.alive[host], c.synced
	var keys []string
	for key, e := range c.view.entries {
		p, err := parseKey(key)
		if err != nil || e.Revision == 0 {
			continue
		}
		mine := p.host == host && p.kind != kindAlive && p.kind != kindHost
		if p.kind == kindBlock || p.kind == kindClaim {
			o, err := parse[owner](e.Value)
			mine = err == nil && o.Host == host
		}
		if mine {
			keys = append(keys, key)
		}
	}
	c.mu.Unlock()
	switch {
	case !synced:
		return wrap(errDown, "forget host %s", host)
	case !there:
		return fmt.Errorf("host %q: not of this cluster", host)
	case alive:
		return fmt.Errorf("host %s: is alive; stop its daemon first, and wait %s", host, c.opts.TTL)
	}
	slices.Sort(keys)
	dead := c.absent(aliveKey(host))
	for len(keys) > 0 || there {
		n := min(len(keys), 100) // etcd's limit is 128 a transaction
		var ops []clientv3.Op
		for _, k := range keys[:n] {
			ops = append(ops, clientv3.OpDelete(c.key(k)))
		}
		if keys = keys[n:]; len(keys) == 0 { // last: until then it can be forgotten again
			ops, there = append(ops, clientv3.OpDelete(c.key(hostKey(host)))), false
		}
		ok, err := c.commit(ctx, []clientv3.Cmp{dead}, ops)
		if err != nil {
			return wrap(err, "forget host %s", host)
		}
		if !ok {
			return fmt.Errorf("host %s: is alive again", host)
		}
	}
	return nil
}
