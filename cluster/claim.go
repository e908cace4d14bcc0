package cluster

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"

	clientv3 "go.etcd.io/etcd/client/v3"

	"fairway/store"
)

// errInUse is what a host says of an address that it doesn't give away.
var errInUse = errors.New("is already in use") //nolint:gochecknoglobals // an error value

// Claim gets this host one address of a subnet. In a block that nobody has etcd
// decides. Otherwise its owner does: it is asked, and gives the address away
// unless it has it in use. It is a claim until the owner gets it back.
func (c *Cluster) Claim(ctx context.Context, segment string, subnet netip.Prefix, ip netip.Addr) error {
	ctx, cancel := context.WithTimeout(ctx, c.opts.Patience)
	defer cancel()
	for range tries {
		c.mu.Lock()
		n, ok := c.view.segments[segment].Subnet(ip.Is6())
		if !ok || n.Prefix != subnet {
			c.mu.Unlock()
			return fmt.Errorf("segment %s: has no subnet %s any more", segment, subnet)
		}
		b := n.block(ip)
		claim, block := claimKey(segment, b, ip), blockKey(segment, b)
		mine := c.held[segment][b] && !c.giving[block]
		other, claimed := c.view.claims[segment][ip]
		c.mu.Unlock()
		switch {
		case claimed && other == c.self.Name || mine && !claimed:
			c.tellShare(segment)
			return nil
		case claimed:
		default:
			ok, err := c.commit(ctx, []clientv3.Cmp{c.absent(claim), c.absent(block)},
				[]clientv3.Op{clientv3.OpPut(c.key(claim), string(encode(owner{Host: c.self.Name})))},
				clientv3.OpGet(c.key(claim)), clientv3.OpGet(c.key(block)))
			if err != nil {
				return wrap(err, "claim %s of segment %s", ip, segment)
			}
			if ok {
				continue
			}
		}
		if err := c.ask(ctx, segment, b, ip); err != nil {
			return err
		}
	}
	return wrap(errBusy, "claim %s of segment %s", ip, segment)
}

// ask asks the host that has an address for it, and returns once something has
// changed for it, or with why it isn't given.
func (c *Cluster) ask(ctx context.Context, segment string, b netip.Prefix, ip netip.Addr) error {
	c.mu.Lock()
	holder, ok := c.view.claims[segment][ip]
	if !ok {
		holder, ok = c.view.blocks[segment][b]
	}
	alive, lease := c.view.alive[holder], c.lease
	c.mu.Unlock()
	switch {
	case !ok || holder == c.self.Name:
		return nil // gone meanwhile
	case !alive:
		return fmt.Errorf("address %s: is host %s's to give, which isn't there: see fairway cluster forget", ip, holder)
	case lease == 0:
		return wrap(errDown, "ask host %s for %s", holder, ip)
	}
	nonce := make([]byte, 8)
	rand.Read(nonce)
	want, key := owner{Host: c.self.Name, Nonce: hex.EncodeToString(nonce)}, wantKey(segment, b, ip)
	ok, err := c.commit(ctx, []clientv3.Cmp{c.absent(key)},
		[]clientv3.Op{clientv3.OpPut(c.key(key), string(encode(want)), clientv3.WithLease(lease))}, clientv3.OpGet(c.key(key)))
	if err != nil {
		return wrap(err, "ask host %s for %s", holder, ip)
	}
	if !ok {
		return fmt.Errorf("address %s: another host asks for it, too", ip)
	}
	return c.answered(ctx, segment, b, ip, want, holder)
}

// answered waits for what becomes of a request.
func (c *Cluster) answered(ctx context.Context, segment string, b netip.Prefix, ip netip.Addr, want owner, holder string) error {
	for {
		c.mu.Lock()
		changed := c.changed
		now, claimed := c.view.claims[segment][ip]
		if !claimed {
			now = c.view.blocks[segment][b]
		}
		open := c.view.wants[segment][ip] == want
		c.mu.Unlock()
		switch {
		case now != holder:
			return nil
		case !open:
			return fmt.Errorf("address %s %w on host %s", ip, errInUse, holder)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			_ = c.forgetKeys(context.WithoutCancel(ctx), []string{wantKey(segment, b, ip)}) // it goes with the lease else
			return fmt.Errorf("address %s: is host %s's to give, which didn't answer", ip, holder)
		}
	}
}

// answer gives to other hosts what they ask for, until ctx ends.
func (c *Cluster) answer(ctx context.Context) error {
	for ctx.Err() == nil {
		c.mu.Lock()
		changed := c.changed
		type request struct {
			segment string
			ip      netip.Addr
			owner
		}
		var todo []request
		for s, of := range c.view.wants {
			for ip, o := range of {
				if o.Host != c.self.Name && c.mayGive(s, ip) {
					todo = append(todo, request{s, ip, o})
				}
			}
		}
		c.mu.Unlock()
		for _, r := range todo {
			if err := c.give(ctx, r.segment, r.ip, r.owner); err != nil {
				c.log.WithError(err).WithField("address", r.ip).Warnf("cluster: host %s asks for an address, and gets no answer", r.Host)
			}
		}
		select {
		case <-ctx.Done():
		case <-changed:
		}
	}
	return ctx.Err()
}

// mayGive reports whether it is this host that has to answer a request for an
// address. The caller holds c.mu.
func (c *Cluster) mayGive(segment string, ip netip.Addr) bool {
	if host, ok := c.view.claims[segment][ip]; ok {
		return host == c.self.Name
	}
	n, ok := c.view.segments[segment].Subnet(ip.Is6())
	return ok && c.held[segment][n.block(ip)]
}

// give answers a request for an address: it becomes the other host's, or the
// request is taken away if the address is in use here.
func (c *Cluster) give(ctx context.Context, segment string, ip netip.Addr, to owner) error {
	c.mu.Lock()
	n, ok := c.view.segments[segment].Subnet(ip.Is6())
	if !ok {
		c.mu.Unlock()
		return nil
	}
	b := n.block(ip)
	want, claim := wantKey(segment, b, ip), claimKey(segment, b, ip)
	_, claimed := c.view.claims[segment][ip]
	c.giving[want] = true
	if claimed {
		c.giving[claim] = true
	}
	conditions := []clientv3.Cmp{c.unchanged(want)}
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.giving, want)
		if !c.late[claim] {
			delete(c.giving, claim)
			c.dirty[claim] = true // it may have been saved as given away
		}
		c.mu.Unlock()
		c.tellShare(segment)
	}()
	c.tellShare(segment) // from here on it isn't handed out
	if c.opts.Addresses.Used(segment, n.Prefix, netip.PrefixFrom(ip, ip.BitLen())) || ip == n.Gateway {
		_, err := c.commit(ctx, conditions, []clientv3.Op{clientv3.OpDelete(c.key(want))})
		return err
	}
	done := append(c.leftovers(segment, ip), clientv3.OpDelete(c.key(want)))
	if claimed { // the block is a third host's, or nobody's
		return c.returnClaim(ctx, segment, claim, conditions, done...)
	}
	// On the disk first: should this host restart without etcd, it must know.
	promise := store.ClusterEntry{Key: claim, Value: encode(owner{Host: to.Host})}
	if err := <-c.opts.Store.Begin(store.PutCluster(promise)); err != nil {
		return err
	}
	c.mu.Lock()
	c.take(promise)
	c.mu.Unlock()
	_, err := c.commit(ctx, append(conditions, c.absent(claim)), append(done, clientv3.OpPut(c.key(claim), string(promise.Value))))
	return err
}

// leftovers deletes what etcd still has of endpoints of this host with an address
// that is in use no more: the next holder would take it for another's claim.
func (c *Cluster) leftovers(segment string, ip netip.Addr) (ops []clientv3.Op) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.view.endpoints[segment] {
		if r.Host == c.self.Name && (r.IPv4 == ip || r.IPv6 == ip) {
			ops = append(ops, clientv3.OpDelete(c.key(endpointKey(segment, r.Host, r.ID))))
		}
	}
	return ops
}
