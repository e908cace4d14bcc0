package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"fairway/store"
)

// saveEvery is how long a change of the view may be on its way to the disk. What
// gets lost there is read from etcd.
const saveEvery = 500 * time.Millisecond

// load takes the records of the last run into the view. Blocks that were this
// host's are so still: until etcd says otherwise, nobody else may have them.
func (c *Cluster) load(records store.Records) error {
	for _, key := range slices.Sorted(maps.Keys(records.Cluster)) {
		e := records.Cluster[key]
		if key == selfKey {
			c.view.entries[key] = e
			continue
		}
		if _, _, err := c.view.put(e); err != nil {
			c.log.WithError(err).WithField("key", clip(key)).Warn("cluster: a saved record isn't good: left out")
		}
	}
	var id identity
	if err := json.Unmarshal(c.view.entries[selfKey].Value, &id); err == nil && id.Name != "" && id.Name != c.self.Name {
		for segment, members := range c.view.members {
			if members[id.Name] {
				return fmt.Errorf("cluster: host name %s: this host has segment %s under the name %s: go on as that one, or remove its networks first", c.self.Name, segment, id.Name)
			}
		}
	}
	for segment, members := range c.view.members {
		if members[c.self.Name] {
			c.using[segment] = true
		}
	}
	for segment, of := range c.view.blocks {
		for b, host := range of {
			if host == c.self.Name {
				at(c.held, segment)[b] = true
			}
		}
	}
	for s := range c.view.endpoints {
		c.plane = append(c.plane, delta{segment: s, whole: true})
	}
	c.notice()
	return nil
}

// save writes down what changed in the view, until ctx ends.
func (c *Cluster) save(ctx context.Context) error {
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	for {
		var end error
		select {
		case <-ctx.Done():
			end = ctx.Err()
		case <-tick.C:
		}
		if err := c.saveNow(); err != nil && !errors.Is(err, store.ErrClosed) {
			c.log.Errorf("cluster: save: %v", err)
		}
		if end != nil {
			return end
		}
	}
}

func (c *Cluster) saveNow() error {
	c.mu.Lock()
	var changes []store.Change
	for key := range c.dirty {
		p, err := parseKey(key)
		if err != nil {
			continue
		}
		e, ok := c.view.entries[key]
		if ok && !c.giving[key] && p.kind != kindAlive && p.kind != kindWant {
			changes = append(changes, store.PutCluster(e))
		} else {
			changes = append(changes, store.DeleteCluster(key))
		}
	}
	dirty := c.dirty
	c.dirty = map[string]bool{}
	var done <-chan error
	if len(changes) > 0 {
		done = c.opts.Store.Begin(changes...) // under the lock: in the order of the view's changes
	}
	c.mu.Unlock()
	if done == nil {
		return nil
	}
	err := <-done
	if err != nil {
		c.mu.Lock()
		maps.Copy(c.dirty, dirty)
		c.mu.Unlock()
	}
	return err
}
