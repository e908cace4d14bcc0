package cluster

import (
	"context"
	"net/netip"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"fairway/store"
)

// tidy gives back what this host doesn't need: empty blocks, but for one of a
// subnet, and claims that nobody has used for long.
func (c *Cluster) tidy(ctx context.Context) error {
	for _, segment := range c.opts.Addresses.Segments() {
		s, _ := c.Segment(segment)
		for _, n := range s.Subnets {
			if err := c.returnBlocks(ctx, segment, n.Prefix); err != nil {
				return err
			}
			if err := c.returnClaims(ctx, segment, n.Prefix); err != nil {
				return err
			}
		}
		if err := c.settlePromises(ctx, segment); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) returnBlocks(ctx context.Context, segment string, subnet netip.Prefix) error {
	blocks, _, _ := c.Share(segment, subnet)
	spare := false // one that is empty stays, so that the next attach needs no etcd
	for _, b := range blocks {
		if c.opts.Addresses.Used(segment, subnet, b) {
			continue
		}
		if !spare {
			spare = true
			continue
		}
		if err := c.returnBlock(ctx, segment, subnet, b); err != nil {
			return err
		}
	}
	c.mu.Lock()
	var late []netip.Prefix // whose return got no answer
	for b := range c.held[segment] {
		if subnet.Contains(b.Addr()) && c.giving[blockKey(segment, b)] {
			late = append(late, b)
		}
	}
	c.mu.Unlock()
	for _, b := range late {
		if err := c.returnBlock(ctx, segment, subnet, b); err != nil {
			return err
		}
	}
	return nil
}

// returnBlock gives a block back if nothing of it is in use. Once it has begun to
// tell etcd, the block isn't this host's any more, whether it got an answer or not.
func (c *Cluster) returnBlock(ctx context.Context, segment string, subnet, b netip.Prefix) error {
	key := blockKey(segment, b)
	if !c.withdraw(key, segment, subnet, b) {
		return nil
	}
	if err := <-c.opts.Store.Begin(store.DeleteCluster(key)); err != nil {
		return err
	}
	c.mu.Lock()
	same := c.unchanged(key)
	c.mu.Unlock()
	_, err := c.commit(ctx, []clientv3.Cmp{same}, []clientv3.Op{clientv3.OpDelete(c.key(key))}, clientv3.OpGet(c.key(key)))
	if err != nil {
		return err
	}
	c.mu.Lock()
	delete(c.held[segment], b)
	delete(c.giving, key)
	c.mu.Unlock()
	return nil
}

// withdraw makes sure that nothing of a part of a subnet is handed out any more,
// and reports whether nothing of it was; else it may be again.
func (c *Cluster) withdraw(key, segment string, subnet, part netip.Prefix) bool {
	c.mu.Lock()
	c.giving[key] = true
	c.mu.Unlock()
	c.tellShare(segment)
	if !c.opts.Addresses.Used(segment, subnet, part) {
		return true
	}
	c.mu.Lock()
	delete(c.giving, key)
	c.dirty[key] = true // it may have been saved as given away
	c.mu.Unlock()
	c.tellShare(segment)
	return false
}

func (c *Cluster) returnClaims(ctx context.Context, segment string, subnet netip.Prefix) error {
	_, claims, _ := c.Share(segment, subnet)
	for _, ip := range claims {
		only := netip.PrefixFrom(ip, ip.BitLen())
		used := c.opts.Addresses.Used(segment, subnet, only)
		c.mu.Lock()
		key := claimKey(segment, c.view.blockOf[segment][ip], ip)
		since, ok := c.idle[key]
		switch {
		case used:
			delete(c.idle, key)
		case !ok:
			since = time.Now()
			c.idle[key] = since
		}
		c.mu.Unlock()
		if used || time.Since(since) < c.opts.Hold || !c.withdraw(key, segment, subnet, only) {
			continue
		}
		if err := c.returnClaim(ctx, segment, key, nil); err != nil {
			return err
		}
	}
	c.mu.Lock()
	var late []string // whose return got no answer
	for key := range c.late {
		if p, err := parseKey(key); err == nil && p.segment == segment && subnet.Contains(p.ip) {
			late = append(late, key)
		}
	}
	c.mu.Unlock()
	for _, key := range late {
		if err := c.returnClaim(ctx, segment, key, nil); err != nil {
			return err
		}
	}
	return nil
}

// returnClaim gives a claim back that was withdrawn, together with what also says,
// if the conditions hold. As with blocks, it isn't this host's any more once it has
// begun to tell etcd: with no answer it stays withdrawn, also on the disk, until
// there is one.
func (c *Cluster) returnClaim(ctx context.Context, segment, key string, conditions []clientv3.Cmp, also ...clientv3.Op) error {
	c.mu.Lock()
	c.late[key] = true
	saved := c.opts.Store.Begin(store.DeleteCluster(key)) // under the lock: in the order of the view's changes
	conditions = append(conditions, c.unchanged(key))
	c.mu.Unlock()
	if err := <-saved; err != nil {
		return err
	}
	if _, err := c.commit(ctx, conditions, append(also, clientv3.OpDelete(c.key(key))), clientv3.OpGet(c.key(key))); err != nil {
		return err
	}
	c.mu.Lock()
	delete(c.late, key)
	delete(c.giving, key)
	delete(c.idle, key)
	c.dirty[key] = true // it may be this host's still
	c.mu.Unlock()
	c.tellShare(segment)
	return nil
}

// settlePromises takes back addresses that were promised to hosts which gave up
// asking before they were told.
func (c *Cluster) settlePromises(ctx context.Context, segment string) error {
	c.mu.Lock()
	var keys []string
	for ip, host := range c.view.claims[segment] {
		b := c.view.blockOf[segment][ip]
		key := claimKey(segment, b, ip)
		if c.view.entries[key].Revision == 0 && c.view.wants[segment][ip].Host != host {
			keys = append(keys, key)
		}
	}
	c.mu.Unlock()
	for _, key := range keys {
		// Without the request no transaction can make the claim any more.
		if _, err := c.commit(ctx, nil, []clientv3.Op{clientv3.OpGet(c.key(key))}); err != nil {
			return err
		}
		c.mu.Lock()
		if c.view.entries[key].Revision == 0 {
			c.drop(key, 0)
		}
		c.mu.Unlock()
		c.tellShare(segment)
	}
	return nil
}

// keepSpare gets another block of a subnet before the last one is full, so that
// there is something to hand out while etcd is away.
func (c *Cluster) keepSpare(ctx context.Context) error {
	for _, segment := range c.opts.Addresses.Segments() {
		s, _ := c.Segment(segment)
		for _, n := range s.Subnets {
			few := max(1, 1<<min(n.Prefix.Addr().BitLen()-n.Block, 6)/4) // a quarter of a block, up to 16
			if !n.Gateway.IsValid() || c.opts.Addresses.Spare(segment, n.Prefix, few) >= few {
				continue
			}
			c.mu.Lock()
			_, free, err := c.freeBlock(segment, n.Prefix, 0)
			c.mu.Unlock()
			if err != nil || !free {
				continue
			}
			if err := c.Extend(ctx, segment, n.Prefix); err != nil {
				return err
			}
		}
	}
	return nil
}
