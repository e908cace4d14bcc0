package cluster

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// A NetworkState is a network that hosts are to have, or still have, and what
// they say of it.
type NetworkState struct {
	Network
	// Seen is etcd's revision of the network's record; 0: it has none, and just
	// hosts speak of it.
	Seen int64
	// Damaged says that the record can't be read: nothing is known of what is wanted.
	Damaged bool
	On      map[string]NetworkReport // by host
}

// Networks returns the networks of the cluster by name, and whether that is what
// etcd has now.
func (c *Cluster) Networks() (all []NetworkState, fresh bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	states := map[string]NetworkState{}
	for name := range c.view.named {
		n, good := c.view.networks[name]
		n.Name = name
		states[name] = NetworkState{Network: n, Seen: c.view.entries[networkKey(name)].Revision, Damaged: !good}
	}
	for name, on := range c.view.networksOn {
		if len(on) > 0 {
			s := states[name]
			s.Name, s.On = name, maps.Clone(on)
			states[name] = s
		}
	}
	all = slices.SortedFunc(maps.Values(states), func(a, b NetworkState) int { return cmp.Compare(a.Name, b.Name) })
	return all, c.synced && c.joined
}

// NetworkNews is sent to when Networks may say something that concerns this host.
// It is for one reader.
func (c *Cluster) NetworkNews() <-chan struct{} { return c.networkNews }

// tellNetworks notes that Networks may say something else. It doesn't wait.
func (c *Cluster) tellNetworks() {
	select {
	case c.networkNews <- struct{}{}:
	default:
	}
}

// WantNetwork has hosts make a network, or change it if they have one of its name.
func (c *Cluster) WantNetwork(ctx context.Context, n Network) error {
	n.Removed = false
	if err := n.Check(); err != nil {
		return err
	}
	c.mu.Lock()
	err := c.checkWanted(n)
	c.mu.Unlock()
	if err != nil {
		return err
	}
	return c.putNetwork(ctx, n)
}

// checkWanted refuses what hosts can't have. The caller holds c.mu.
func (c *Cluster) checkWanted(n Network) error {
	for _, h := range n.Hosts {
		if _, ok := c.view.hosts[h]; !ok {
			return fmt.Errorf("host %s: not of this cluster, which has %s", h, strings.Join(slices.Sorted(maps.Keys(c.view.hosts)), ", "))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.view.networks)) {
		other := c.view.networks[name]
		if name == n.Name || other.Removed || other.Segment != n.Segment {
			continue
		}
		if len(n.Hosts) == 0 || len(other.Hosts) == 0 || slices.ContainsFunc(n.Hosts, other.For) {
			return fmt.Errorf("segment %s: is network %s already: a host has one network of a segment", n.Segment, name)
		}
	}
	return nil
}

// putNetwork writes a network's record, unless it reads so.
func (c *Cluster) putNetwork(ctx context.Context, n Network) error {
	key, value := networkKey(n.Name), encode(n)
	for range tries {
		c.mu.Lock()
		same, there := c.unchanged(key), c.view.entries[key]
		c.mu.Unlock()
		var ops []clientv3.Op // just ask whether the view is etcd's
		if !bytes.Equal(there.Value, value) {
			ops = append(ops, clientv3.OpPut(c.key(key), string(value)))
		}
		ok, err := c.commitOrForget(ctx, key, []clientv3.Cmp{same}, ops)
		if err != nil {
			return wrap(err, "network %s", n.Name)
		}
		if ok {
			return nil
		}
	}
	return wrap(errBusy, "network %s", n.Name)
}

// commitOrForget is commit, but what is known of a key that isn't there any more
// is forgotten if the conditions didn't hold.
func (c *Cluster) commitOrForget(ctx context.Context, key string, conditions []clientv3.Cmp, then []clientv3.Op) (bool, error) {
	c.mu.Lock()
	before := c.view.entries[key].Revision
	c.mu.Unlock()
	ok, err := c.commit(ctx, conditions, then, clientv3.OpGet(c.key(key)))
	if err != nil || ok {
		return ok, err
	}
	c.mu.Lock()
	if now := c.view.entries[key].Revision; now == before && now != 0 {
		c.drop(key, now) // the answer had none: its deletion is on the way
		c.notice()
	}
	c.mu.Unlock()
	return false, nil
}

// UnwantNetwork has all hosts remove a network.
func (c *Cluster) UnwantNetwork(ctx context.Context, name string) error {
	n := Network{Name: name, Removed: true}
	if err := n.Check(); err != nil {
		return err
	}
	c.mu.Lock()
	e, there := c.view.entries[networkKey(name)]
	old, reported := c.view.networks[name], len(c.view.networksOn[name]) > 0
	c.mu.Unlock()
	switch {
	case !there && !reported:
		return fmt.Errorf("network %s: is none of the cluster's: fairway network ls lists them", name)
	case there && e.Revision != 0 && old.Name != "":
		n = old
		n.Removed = true
	}
	return c.putNetwork(ctx, n)
}

// errChanged is why a report isn't made: the network it is about was changed.
var errChanged = errors.New("the network's record has changed") //nolint:gochecknoglobals // an error value

// Report says how a network is on this host, which has seen a revision of the
// network's record: see NetworkState. It is an error if there is another one.
func (c *Cluster) Report(ctx context.Context, name string, seen int64, r NetworkReport) error {
	r.Why = strings.ToValidUTF8(r.Why[:min(len(r.Why), longestWhy)], "")
	if err := r.check(); err != nil {
		return err
	}
	key := networkOnKey(name, c.self.Name)
	same := clientv3.Compare(clientv3.ModRevision(c.key(networkKey(name))), "=", seen)
	ok, err := c.commit(ctx, []clientv3.Cmp{same}, []clientv3.Op{clientv3.OpPut(c.key(key), string(encode(r)))}, clientv3.OpGet(c.key(networkKey(name))))
	if err == nil && !ok {
		err = errChanged
	}
	if err != nil {
		return wrap(err, "report of network %s", name)
	}
	return nil
}

// Unreport says that this host doesn't have a network.
func (c *Cluster) Unreport(ctx context.Context, name string) error {
	if _, err := c.commit(ctx, nil, []clientv3.Op{clientv3.OpDelete(c.key(networkOnKey(name, c.self.Name)))}); err != nil {
		return wrap(err, "report of network %s", name)
	}
	return nil
}

// Retire takes away the record of a network that was removed, once no host speaks
// of it.
func (c *Cluster) Retire(ctx context.Context, name string) error {
	key := networkKey(name)
	c.mu.Lock()
	gone := c.view.networks[name].Removed && len(c.view.networksOn[name]) == 0
	conditions := []clientv3.Cmp{c.unchanged(key), c.absent(kindNetworkOn + "/" + name + "/").WithPrefix()}
	c.mu.Unlock()
	if !gone {
		return nil
	}
	if _, err := c.commit(ctx, conditions, []clientv3.Op{clientv3.OpDelete(c.key(key))}); err != nil {
		return wrap(err, "network %s", name)
	}
	return nil
}
