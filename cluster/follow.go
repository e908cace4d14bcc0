package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/connectivity"

	"fairway/store"
)

// A delta is what the plane is to be told.
type delta struct {
	segment   string
	whole     bool
	put, gone []Remote
}

// read makes the view equal to all that etcd has, and returns of which revision
// that is. What etcd has counts, also if its revision is lower than the view's, or
// that of a record is: then it was restored from a backup, and may have gone on
// since.
func (c *Cluster) read(ctx context.Context) (int64, error) {
	c.mu.Lock()
	c.recent = map[string]bool{}
	client, before := c.client, c.at
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.recent = nil
		c.mu.Unlock()
	}()
	limit, cancel := context.WithTimeout(ctx, 6*c.opts.Patience)
	defer cancel()
	r, err := client.Get(clientv3.WithRequireLeader(limit), c.opts.Prefix, clientv3.WithPrefix())
	if err != nil {
		if limit.Err() != nil {
			err = errDown
		}
		return 0, err
	}
	c.mu.Lock()
	at := c.at
	back := r.Header.Revision < before
	has := make(map[string]bool, len(r.Kvs))
	for _, kv := range r.Kvs {
		e := c.entry(kv.Key, kv.Value, kv.CreateRevision, kv.ModRevision)
		has[e.Key] = true
		if back && c.recent[e.Key] {
			continue
		}
		if old, ok := c.view.entries[e.Key]; ok && (back || restored(old, e, r.Header.Revision)) {
			c.rewound = true
			c.view.forget(e.Key)
		}
		if deleted := c.view.gone.at(e.Key); back || deleted > e.Revision && deleted <= r.Header.Revision {
			c.rewound = true // what was deleted is back from before
			c.view.gone.remove(e.Key)
		}
		c.take(e)
	}
	if c.rewound = c.rewound || back; c.rewound { // what is made from here on may be older than what was deleted
		c.view.gone.clear()
	}
	for key, e := range c.view.entries {
		if !has[key] && e.Revision != 0 && (e.Revision <= r.Header.Revision || back && !c.recent[key]) {
			c.drop(key, e.Revision)
		}
	}
	c.synced = true
	if c.at = r.Header.Revision; !back { // what the watch has told since is newer
		c.at = max(c.at, at)
	}
	for s := range c.view.endpoints {
		c.plane = append(c.plane, delta{segment: s, whole: true})
	}
	c.notice()
	c.mu.Unlock()
	c.shareAll()
	return r.Header.Revision, nil
}

// restored reports whether what was known of a key and what etcd has of it as of a
// revision can't be of one history: a key's revision never falls.
func restored(known, now store.ClusterEntry, revision int64) bool {
	if known.Revision == 0 { // not from etcd
		return false
	}
	return known.Revision > now.Revision && known.Revision <= revision ||
		known.Revision == now.Revision && !bytes.Equal(known.Value, now.Value)
}

// rereadEvery is how often all is read that should be known.
const rereadEvery = 10 * time.Minute

// recheck reads all anew after each break of the connection. The client goes on
// with its watch by itself then, but etcd before 3.4.36, 3.5.18 and 3.6 leaves out
// deletions at the revision that was compacted last (etcd#19179).
func (c *Cluster) recheck(ctx context.Context) error {
	conn := c.etcd().ActiveConnection()
	for {
		broke := conn.GetState() != connectivity.Ready
		limit, cancel := context.WithTimeout(ctx, rereadEvery)
		changed := conn.WaitForStateChange(limit, conn.GetState())
		cancel()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if changed && (!broke || conn.GetState() != connectivity.Ready) {
			continue
		}
		c.mu.Lock()
		at := c.at
		c.mu.Unlock()
		revision, err := c.read(ctx)
		if err != nil {
			return err
		}
		if revision < at {
			return fmt.Errorf("cluster: etcd went from revision %d back to %d: it was restored from a backup", at, revision)
		}
	}
}

// follow takes etcd's changes from a revision on, until it can't: because that
// revision was compacted, or because the server has no leader.
func (c *Cluster) follow(ctx context.Context, from int64) error {
	events := c.etcd().Watch(clientv3.WithRequireLeader(ctx), c.opts.Prefix, clientv3.WithPrefix(), clientv3.WithRev(from), clientv3.WithProgressNotify())
	for r := range events {
		if err := r.Err(); err != nil {
			return err
		}
		c.mu.Lock()
		// The header may be ahead of the events, which come in order.
		upTo := r.Header.Revision
		if n := len(r.Events); n > 0 {
			upTo = r.Events[n-1].Kv.ModRevision
		}
		c.at = max(c.at, upTo)
		for _, ev := range r.Events {
			if ev.Type == clientv3.EventTypeDelete {
				key := strings.TrimPrefix(string(ev.Kv.Key), c.opts.Prefix)
				c.drop(key, ev.Kv.ModRevision)
				c.view.gone.add(key, ev.Kv.ModRevision)
			} else {
				c.take(c.entry(ev.Kv.Key, ev.Kv.Value, ev.Kv.CreateRevision, ev.Kv.ModRevision))
			}
		}
		c.notice()
		c.mu.Unlock()
		c.shareChanged()
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return errors.New("cluster: etcd ended the watch")
}

// take puts an entry into the view, and notes whom that concerns. The caller
// holds c.mu, and calls notice.
func (c *Cluster) take(e store.ClusterEntry) {
	p, changed, err := c.view.put(e)
	if err != nil && !errors.Is(err, errKind) {
		c.log.WithError(err).WithField("key", clip(e.Key)).Warn("cluster: a record in etcd is none of ours, or damaged: left alone")
	}
	if changed {
		c.concerns(p, false, Remote{})
	}
}

// drop takes a key out of the view. The caller holds c.mu, and calls notice.
func (c *Cluster) drop(key string, revision int64) {
	p, err := parseKey(key)
	if err != nil {
		return
	}
	if c.using[p.segment] && (p.kind == kindSegment || p.kind == kindMember && p.host == c.self.Name) {
		e := c.view.entries[key] // etcd has lost it, and gets it back: see keepSegments
		e.Created, e.Revision = 0, 0
		c.view.entries[key] = e
		c.Changed()
		return
	}
	old := c.view.endpoints[p.segment][p.host+"/"+p.id]
	if p, changed := c.view.drop(key, revision); changed {
		old.Revision = max(old.Revision, revision)
		c.concerns(p, true, old)
	}
}

// concerns notes what follows from a change of the view: something for the disk,
// for the plane, and for what this host has to do. The caller holds c.mu.
func (c *Cluster) concerns(p path, gone bool, old Remote) {
	key := p.key()
	if p.kind != kindAlive && p.kind != kindWant {
		c.dirty[key] = true
	}
	switch p.kind {
	case kindEndpoint:
		if p.host == c.self.Name {
			return
		}
		d := delta{segment: p.segment}
		if r, ok := c.view.endpoints[p.segment][p.host+"/"+p.id]; ok && !gone {
			d.put = []Remote{c.view.remote(r)}
		} else {
			old.ID, old.Host = p.id, p.host
			d.gone = []Remote{c.view.remote(old)}
		}
		c.plane = append(c.plane, d)
	case kindHost:
		if p.host == c.self.Name {
			return
		}
		for s, of := range c.view.endpoints { // its address may be another one
			for _, r := range of {
				if r.Host == p.host {
					c.plane = append(c.plane, delta{segment: s, whole: true})
					break
				}
			}
		}
	case kindBlock, kindClaim, kindSegment:
		if c.stale == nil {
			c.stale = map[string]bool{}
		}
		c.stale[p.segment] = true
	case kindNetwork:
		c.tellNetworks()
	case kindNetworkOn:
		if gone || p.host == c.self.Name { // of others just that there is none left
			c.tellNetworks()
		}
	case kindMember:
		if p.host != c.self.Name {
			c.plane = append(c.plane, delta{segment: p.segment, whole: true})
		}
	}
}

// notice wakes who waits for a change of the view. The caller holds c.mu.
func (c *Cluster) notice() {
	close(c.changed)
	c.changed = make(chan struct{})
	c.version++
	if len(c.plane) > 0 {
		select {
		case c.tell <- struct{}{}:
		default:
		}
	}
}

// tellPlane tells the plane what changed, in order.
func (c *Cluster) tellPlane(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-c.tell:
		}
		c.mu.Lock()
		news := c.plane
		c.plane = nil
		revision, rewound := c.at, c.rewound
		c.rewound = false
		whole := map[string][]Remote{}
		for _, d := range news {
			if d.whole && whole[d.segment] == nil {
				whole[d.segment] = c.remotes(d.segment)
			}
		}
		c.mu.Unlock()
		if c.opts.Plane == nil {
			continue
		}
		for s, all := range whole {
			if rewound { // newer revisions than these mean nothing any more
				c.opts.Plane.Replace(s, all, 0)
			}
			c.opts.Plane.Replace(s, all, revision)
		}
		for _, d := range merge(news) {
			if whole[d.segment] == nil {
				c.opts.Plane.Change(d.segment, d.put, d.gone)
			}
		}
	}
}

// merge makes one delta of those of a segment that follow one another, so that
// what was made comes before what went: an address that moved is never missing.
func merge(all []delta) (out []delta) {
	for _, d := range all {
		if n := len(out); n > 0 && out[n-1].segment == d.segment {
			out[n-1].put = append(out[n-1].put, d.put...)
			out[n-1].gone = append(out[n-1].gone, d.gone...)
			continue
		}
		out = append(out, d)
	}
	return out
}

// remotes returns the endpoints of all other hosts in a segment; never nil. The
// caller holds c.mu.
func (c *Cluster) remotes(segment string) []Remote {
	out := []Remote{}
	for _, r := range c.view.endpoints[segment] {
		if r.Host != c.self.Name {
			out = append(out, c.view.remote(r))
		}
	}
	return out
}

// Remotes returns the endpoints of all other hosts in a segment, as of a revision
// of etcd's.
func (c *Cluster) Remotes(segment string) (all []Remote, revision int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.remotes(segment), c.at
}

// key is the key that a path was taken from.
func (p path) key() string {
	switch p.kind {
	case kindHost:
		return hostKey(p.host)
	case kindAlive:
		return aliveKey(p.host)
	case kindSegment:
		return segmentKey(p.segment)
	case kindMember:
		return memberKey(p.segment, p.host)
	case kindEndpoint:
		return endpointKey(p.segment, p.host, p.id)
	case kindBlock:
		return blockKey(p.segment, p.block)
	case kindClaim:
		return claimKey(p.segment, p.block, p.ip)
	case kindWant:
		return wantKey(p.segment, p.block, p.ip)
	case kindNetworkOn:
		return networkOnKey(p.id, p.host)
	}
	return p.kind + "/" + p.id
}

// clip shortens a text of somebody else's for the log.
func clip(s string) string {
	const longest = 200
	if len(s) > longest {
		s = s[:longest] + "…"
	}
	return strings.ToValidUTF8(s, "?")
}
