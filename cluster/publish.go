package cluster

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// publish sends what this host has to say whenever that differs from the view,
// until ctx ends.
func (c *Cluster) publish(ctx context.Context) error {
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	var tidied time.Time
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-c.kick:
		case <-tick.C:
		}
		c.mu.Lock()
		ready := c.synced && c.joined
		c.mu.Unlock()
		if !ready {
			continue
		}
		err := c.keepSegments(ctx)
		if err == nil {
			err = c.keepBlocks(ctx)
		}
		if err == nil {
			err = c.sendEndpoints(ctx)
		}
		if err == nil {
			err = c.leaveUnused(ctx)
		}
		if err == nil {
			err = c.keepSpare(ctx)
		}
		if err == nil && time.Since(tidied) > 30*time.Second {
			tidied = time.Now()
			err = c.tidy(ctx)
		}
		if err != nil && ctx.Err() == nil {
			c.log.Debugf("cluster: publish: %v", err) // once more in 2 s; connect says what is wrong
		}
	}
}

// A sending is what this host last made etcd's records of its endpoints equal to.
type sending struct {
	version uint64 // of the view
	local   map[string][]Endpoint
}

// sendEndpoints makes etcd's record of this host's endpoints equal to what it has.
// It looks through all endpoints of the cluster only after a change.
func (c *Cluster) sendEndpoints(ctx context.Context) error {
	now := sending{local: c.opts.Endpoints()}
	for _, all := range now.local {
		slices.SortFunc(all, func(a, b Endpoint) int { return cmp.Compare(a.ID, b.ID) })
	}
	c.mu.Lock()
	now.version = c.version
	c.mu.Unlock()
	if reflect.DeepEqual(now, c.sent) {
		return nil
	}
	err := c.send(ctx, now.local)
	if err == nil {
		c.sent = now
	}
	return err
}

func (c *Cluster) send(ctx context.Context, local map[string][]Endpoint) error {
	want := map[string][]byte{}
	c.mu.Lock()
	alarms := map[string]string{}
	for segment, all := range local {
		if !c.view.members[segment][c.self.Name] {
			continue
		}
		taken := c.others(segment, all)
		for _, e := range all {
			key := endpointKey(segment, c.self.Name, e.ID)
			if other := c.older(segment, e, taken); other != nil {
				alarms[segment+"/"+e.ID] = fmt.Sprintf("segment %s: an endpoint of host %s has the address of endpoint %s, and had it before: the younger one is cut off from the segment", segment, other.Host, e.ID)
				continue
			}
			want[key] = encode(e)
		}
	}
	news := alarmsIn(alarms, c.alarms)
	c.alarms = alarms
	var ops, deletions []clientv3.Op
	for key, value := range want {
		if !bytes.Equal(c.view.entries[key].Value, value) {
			ops = append(ops, clientv3.OpPut(c.key(key), string(value)))
		}
	}
	for segment, of := range c.view.endpoints {
		for _, r := range of {
			key := endpointKey(segment, r.Host, r.ID)
			if _, ok := want[key]; r.Host == c.self.Name && !ok {
				deletions = append(deletions, clientv3.OpDelete(c.key(key)))
			}
		}
	}
	c.mu.Unlock()
	for _, a := range news {
		c.log.Error("cluster: " + a)
	}
	for part := range slices.Chunk(append(ops, deletions...), 100) {
		if _, err := c.commit(ctx, nil, part); err != nil {
			return err
		}
	}
	return nil
}

// alarmsIn returns what is new of alarms.
func alarmsIn(now, before map[string]string) (news []string) {
	for _, key := range slices.Sorted(maps.Keys(now)) {
		if before[key] != now[key] {
			news = append(news, now[key])
		}
	}
	return news
}

// others returns who else has addresses that endpoints of this host have: of each
// the one that had it first. The caller holds c.mu.
func (c *Cluster) others(segment string, local []Endpoint) map[netip.Addr]Remote {
	mine := map[netip.Addr]bool{}
	for _, e := range local {
		mine[e.IPv4], mine[e.IPv6] = true, true
	}
	delete(mine, netip.Addr{})
	out := map[netip.Addr]Remote{}
	for _, r := range c.view.endpoints[segment] {
		if r.Host == c.self.Name || !mine[r.IPv4] && !mine[r.IPv6] {
			continue
		}
		for _, ip := range []netip.Addr{r.IPv4, r.IPv6} {
			if old, ok := out[ip]; mine[ip] && (!ok || r.Created < old.Created) {
				out[ip] = r
			}
		}
	}
	return out
}

// older returns the endpoint of another host that had one of e's addresses before
// e did. It is nil as long as blocks are what they should be: that one is there
// means that etcd was restored, or a living host forgotten. The caller holds c.mu.
func (c *Cluster) older(segment string, e Endpoint, taken map[netip.Addr]Remote) *Remote {
	mine := c.view.entries[endpointKey(segment, c.self.Name, e.ID)]
	for _, ip := range []netip.Addr{e.IPv4, e.IPv6} {
		if r, ok := taken[ip]; ok && (mine.Revision == 0 || r.Created < mine.Created) {
			return &r
		}
	}
	return nil
}

// Alarms returns what an operator has to look at.
func (c *Cluster) Alarms() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return alarmsIn(c.alarms, nil)
}

// keepSegments writes down again what etcd has lost of segments that this host has:
// it was restored from a backup, or this host was forgotten.
func (c *Cluster) keepSegments(ctx context.Context) error {
	var lost []string
	c.mu.Lock()
	for segment := range c.using {
		s, m := c.view.entries[segmentKey(segment)], c.view.entries[memberKey(segment, c.self.Name)]
		if s.Revision == 0 || m.Revision == 0 {
			lost = append(lost, segment)
		}
	}
	c.mu.Unlock()
	for _, segment := range lost {
		c.mu.Lock()
		s := c.view.segments[segment]
		gone := c.view.entries[segmentKey(segment)].Revision == 0
		c.mu.Unlock()
		ops := []clientv3.Op{clientv3.OpPut(c.key(memberKey(segment, c.self.Name)), string(encode(owner{Host: c.self.Name})))}
		var conditions []clientv3.Cmp
		if gone {
			conditions = append(conditions, c.absent(segmentKey(segment)))
			ops = append(ops, clientv3.OpPut(c.key(segmentKey(segment)), string(s.encode())))
			if s.VNI != 0 {
				ops = append(ops, clientv3.OpPut(c.key(vniKey(s.VNI)), segment))
			}
		}
		ok, err := c.commit(ctx, conditions, ops, clientv3.OpGet(c.key(segmentKey(segment))))
		if err != nil {
			return err
		}
		now, _ := c.Segment(segment)
		if !ok && !bytes.Equal(encode(now), encode(s)) { // but for fields of a newer version
			now.raw, s.raw = nil, nil
			c.log.Errorf("cluster: segment %s: etcd has another one of this name by now, %+v; here it is %+v: remove its network from the hosts that are to change", segment, now, s)
		}
	}
	return nil
}

// keepBlocks makes etcd's record of this host's blocks and this host's idea of
// them equal. That they differ means that a reply got lost, that etcd was
// restored, or that this host was forgotten.
func (c *Cluster) keepBlocks(ctx context.Context) error {
	used := c.opts.Addresses.Segments()
	type block struct {
		segment string
		prefix  netip.Prefix
	}
	var adopt, assert []block
	c.mu.Lock()
	for _, segment := range used {
		for b, host := range c.view.blocks[segment] {
			if host == c.self.Name && !c.held[segment][b] && !c.giving[blockKey(segment, b)] {
				adopt = append(adopt, block{segment, b})
			}
		}
		for b := range c.held[segment] {
			if c.view.blocks[segment][b] != c.self.Name && !c.giving[blockKey(segment, b)] {
				assert = append(assert, block{segment, b})
			}
		}
	}
	c.mu.Unlock()
	changed := map[string]bool{}
	for _, b := range slices.Concat(adopt, assert) {
		key := blockKey(b.segment, b.prefix)
		c.mu.Lock()
		same := c.unchanged(key) // a deletion that is late names an older revision
		c.mu.Unlock()
		ok, err := c.commit(ctx, []clientv3.Cmp{same}, []clientv3.Op{
			clientv3.OpPut(c.key(key), string(encode(owner{Host: c.self.Name}))),
			clientv3.OpGet(c.key(kindClaim+"/"+b.segment+"/"+blockName(b.prefix)+"/"), clientv3.WithPrefix()),
		}, clientv3.OpGet(c.key(key)))
		if err != nil {
			return err
		}
		c.mu.Lock()
		other := c.view.blocks[b.segment][b.prefix]
		if ok {
			at(c.held, b.segment)[b.prefix] = true
		} else if other != "" && other != c.self.Name {
			delete(c.held[b.segment], b.prefix)
		}
		c.mu.Unlock()
		if !ok && other != "" && other != c.self.Name {
			c.log.Errorf("cluster: segment %s: host %s has block %s, which was this host's: no more addresses are handed out of it here; those in use here may be used there, too", b.segment, other, b.prefix)
		}
		changed[b.segment] = true
	}
	for s := range changed {
		c.tellShare(s)
	}
	return nil
}

// leaveUnused takes this host out of segments that it has no pool of.
func (c *Cluster) leaveUnused(ctx context.Context) error {
	used := c.opts.Addresses.Segments()
	var leave []string
	c.mu.Lock()
	for segment, since := range c.joining { // a pool that was to follow and didn't
		if slices.Contains(used, segment) || time.Since(since) > time.Minute {
			delete(c.joining, segment)
		}
	}
	for segment, members := range c.view.members {
		_, joining := c.joining[segment]
		if members[c.self.Name] && !joining && !slices.Contains(used, segment) {
			leave = append(leave, segment)
		}
	}
	c.mu.Unlock()
	for _, segment := range leave {
		if err := c.leave(ctx, segment); err != nil {
			return err
		}
	}
	return nil
}
