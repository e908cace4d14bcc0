package cluster

import (
	"context"
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"
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
