package cluster

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	"fairway/store"
)

// Share returns what this host may hand out of a segment's subnet by itself: the
// blocks that it owns, but for the addresses foreign, which are others' or the
// gateway's, and claims, addresses that are its own in whosever block.
func (c *Cluster) Share(segment string, subnet netip.Prefix) (blocks []netip.Prefix, claims, foreign []netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.share(segment, subnet)
}

// share is Share. The caller holds c.mu.
func (c *Cluster) share(segment string, subnet netip.Prefix) (blocks []netip.Prefix, claims, foreign []netip.Addr) {
	for b := range c.held[segment] {
		if subnet.Contains(b.Addr()) && !c.giving[blockKey(segment, b)] {
			blocks = append(blocks, b)
		}
	}
	slices.SortFunc(blocks, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
	for ip, host := range c.view.claims[segment] {
		if !subnet.Contains(ip) {
			continue
		}
		if host == c.self.Name && !c.giving[claimKey(segment, c.view.blockOf[segment][ip], ip)] {
			claims = append(claims, ip)
		} else {
			foreign = append(foreign, ip)
		}
	}
	for _, n := range c.view.segments[segment].Subnets {
		if n.Prefix == subnet && n.Gateway.IsValid() {
			foreign = append(foreign, n.Gateway)
		}
	}
	for key := range c.giving { // addresses that are being given to another host
		if p, err := parseKey(key); err == nil && p.kind == kindWant && p.segment == segment && subnet.Contains(p.ip) {
			foreign = append(foreign, p.ip)
		}
	}
	return blocks, claims, foreign
}

// tellShare tells the allocator its share of a segment. No lock may be held.
func (c *Cluster) tellShare(segment string) {
	c.push.Lock()
	defer c.push.Unlock()
	c.mu.Lock()
	subnets := c.view.segments[segment].Subnets
	type part struct {
		subnet          netip.Prefix
		blocks          []netip.Prefix
		claims, foreign []netip.Addr
	}
	var parts []part
	for _, n := range subnets {
		p := part{subnet: n.Prefix}
		p.blocks, p.claims, p.foreign = c.share(segment, n.Prefix)
		parts = append(parts, p)
	}
	c.mu.Unlock()
	for _, p := range parts {
		c.opts.Addresses.SetShare(segment, p.subnet, p.blocks, p.claims, p.foreign)
	}
}

// shareAll tells the allocator its share of all segments that it has pools of.
func (c *Cluster) shareAll() {
	for _, s := range c.opts.Addresses.Segments() {
		c.tellShare(s)
	}
}

// shareChanged is shareAll after events of etcd's: what they change of a share is
// what others had and gave back, which hurries nobody but who waits for it.
func (c *Cluster) shareChanged() {
	c.mu.Lock()
	stale := c.stale
	c.stale = nil
	c.mu.Unlock()
	for s := range stale {
		c.tellShare(s)
	}
}

// Extend gets this host another block of a subnet.
func (c *Cluster) Extend(ctx context.Context, segment string, subnet netip.Prefix) error {
	seed := fnv.New64a()
	seed.Write([]byte(c.self.Name))
	from := seed.Sum64()
	for range tries {
		c.mu.Lock()
		b, ok, err := c.freeBlock(segment, subnet, from)
		c.mu.Unlock()
		if err == nil && !ok {
			err = fmt.Errorf("pool %s exhausted: other hosts have the rest of segment %s", subnet, segment)
		}
		if err != nil {
			return err
		}
		claims := kindClaim + "/" + segment + "/" + blockName(b) + "/"
		ok, err = c.commit(ctx, []clientv3.Cmp{c.absent(blockKey(segment, b))}, []clientv3.Op{
			clientv3.OpPut(c.key(blockKey(segment, b)), string(encode(owner{Host: c.self.Name}))),
			clientv3.OpGet(c.key(claims), clientv3.WithPrefix()), // addresses in it that aren't ours to hand out
		}, clientv3.OpGet(c.key(blockKey(segment, b))))
		if err != nil {
			return wrap(err, "get a block of %s for segment %s", subnet, segment)
		}
		if ok {
			c.mu.Lock()
			at(c.held, segment)[b] = true
			c.mu.Unlock()
			c.tellShare(segment)
			return nil
		}
	}
	return wrap(errBusy, "get a block of %s for segment %s", subnet, segment)
}

// freeBlock returns a block that nobody has as far as the view knows, the first
// from a place on that differs from host to host. The caller holds c.mu.
func (c *Cluster) freeBlock(segment string, subnet netip.Prefix, seed uint64) (netip.Prefix, bool, error) {
	s := c.view.segments[segment]
	i := slices.IndexFunc(s.Subnets, func(n Subnet) bool { return n.Prefix == subnet })
	if i < 0 {
		return netip.Prefix{}, false, fmt.Errorf("segment %s: has no subnet %s any more", segment, subnet)
	}
	n := s.Subnets[i]
	bits := min(n.Block-n.Prefix.Bits(), 20) // of more than 2^20 blocks the others are never needed
	count := uint64(1) << bits
	for j := range count {
		b := nth(n, (seed+j)%count)
		if _, taken := c.view.blocks[segment][b]; !taken && !c.held[segment][b] && !c.giving[blockKey(segment, b)] {
			return b, true, nil
		}
	}
	return netip.Prefix{}, false, nil
}

// nth returns the block of s with a number.
func nth(s Subnet, i uint64) netip.Prefix {
	b := s.Prefix.Addr().As16()
	shift := s.Prefix.Addr().BitLen() - s.Block
	for bit := range 64 {
		if i>>bit&1 == 1 {
			at := 127 - shift - bit
			b[at/8] |= 1 << (7 - at%8)
		}
	}
	ip := netip.AddrFrom16(b)
	if s.Prefix.Addr().Is4() {
		ip = ip.Unmap()
	}
	return netip.PrefixFrom(ip, s.Block)
}

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
	if claimed {
		conditions = append(conditions, c.unchanged(claim))
	} else {
		conditions = append(conditions, c.absent(claim))
	}
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.giving, want)
		delete(c.giving, claim)
		c.dirty[claim] = true // it may have been saved as given away
		c.mu.Unlock()
		c.tellShare(segment)
	}()
	c.tellShare(segment) // from here on it isn't handed out
	if c.opts.Addresses.Used(segment, n.Prefix, netip.PrefixFrom(ip, ip.BitLen())) || ip == n.Gateway {
		_, err := c.commit(ctx, conditions[:1], []clientv3.Op{clientv3.OpDelete(c.key(want))})
		return err
	}
	if claimed { // the block is a third host's, or nobody's
		_, err := c.commit(ctx, conditions, []clientv3.Op{clientv3.OpDelete(c.key(claim)), clientv3.OpDelete(c.key(want))})
		return err
	}
	// On the disk first: should this host restart without etcd, it must know.
	promise := store.ClusterEntry{Key: claim, Value: encode(owner{Host: to.Host})}
	if err := <-c.opts.Store.Begin(store.PutCluster(promise)); err != nil {
		return err
	}
	c.mu.Lock()
	c.take(promise)
	c.mu.Unlock()
	_, err := c.commit(ctx, conditions, []clientv3.Op{
		clientv3.OpPut(c.key(claim), string(promise.Value)), clientv3.OpDelete(c.key(want)),
	})
	return err
}
