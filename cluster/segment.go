package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// tries bounds how often a transaction is repeated that others were quicker than.
const tries = 32

var errBusy = errors.New("other hosts are always quicker") //nolint:gochecknoglobals // an error value

// Join makes this host a member of a segment and returns its subnet in a family:
// the one that is named, which must be the segment's if it has one already. A
// segment that isn't there is made. It needs no etcd where this host is a member.
func (c *Cluster) Join(ctx context.Context, segment string, pool netip.Prefix, v6 bool) (_ netip.Prefix, err error) {
	if err := CheckName(segment); err != nil {
		return netip.Prefix{}, fmt.Errorf("option segment=%q: %w", segment, err)
	}
	c.segment.Lock()
	defer c.segment.Unlock()
	c.mu.Lock()
	before, joining := c.joining[segment]
	c.joining[segment] = time.Now()
	c.mu.Unlock()
	defer func() {
		if err != nil { // or who asks again and again would never leave
			c.mu.Lock()
			if c.joining[segment] = before; !joining {
				delete(c.joining, segment)
			}
			c.mu.Unlock()
		}
	}()
	// The view may be old: what it says is the condition.
	for range tries {
		c.mu.Lock()
		s := c.view.segments[segment]
		member := c.view.members[segment][c.self.Name]
		same := c.unchanged(segmentKey(segment))
		c.mu.Unlock()
		n, has := s.Subnet(v6)
		switch {
		case has && pool.IsValid() && pool != n.Prefix:
			return netip.Prefix{}, fmt.Errorf("pool %s: segment %s has %s: name that one, or leave --subnet out", pool, segment, n.Prefix)
		case has && member:
			c.use(segment)
			return n.Prefix, nil
		}
		ops := []clientv3.Op{clientv3.OpPut(c.key(memberKey(segment, c.self.Name)), string(encode(owner{Host: c.self.Name})))}
		if !has && pool.IsValid() {
			s = Segment{Name: segment, VNI: s.VNI, Port: s.Port, Options: s.Options, Subnets: append(slices.Clone(s.Subnets), newSubnet(pool)), raw: s.raw}
			ops = append(ops, clientv3.OpPut(c.key(segmentKey(segment)), string(s.encode())))
		}
		if !has && !pool.IsValid() {
			ops = nil // just ask whether the view is etcd's
		}
		ok, err := c.commit(ctx, []clientv3.Cmp{same}, ops, clientv3.OpGet(c.key(segmentKey(segment))))
		if err != nil {
			return netip.Prefix{}, wrap(err, "join segment %s", segment)
		}
		if ok && ops != nil {
			c.use(segment)
			n, _ = s.Subnet(v6)
			return n.Prefix, nil
		}
		if ok {
			return netip.Prefix{}, fmt.Errorf("segment %s: want --subnet: no host of the cluster has named %s yet", segment, familyName(v6))
		}
	}
	return netip.Prefix{}, wrap(errBusy, "join segment %s", segment)
}

// use notes that this host is a member of a segment.
func (c *Cluster) use(segment string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.using[segment] = true
}

func familyName(v6 bool) string {
	if v6 {
		return "an IPv6 subnet"
	}
	return "an IPv4 subnet"
}

// Leave says that this host has no pool of a segment any more. What it had of it
// goes in the background.
func (c *Cluster) Leave(segment string) {
	c.mu.Lock()
	delete(c.joining, segment)
	c.mu.Unlock()
	c.Changed()
}

// leave takes this host out of a segment, and the segment away with its last host.
func (c *Cluster) leave(ctx context.Context, segment string) error {
	c.segment.Lock()
	defer c.segment.Unlock()
	used := slices.Contains(c.opts.Addresses.Segments(), segment)
	c.mu.Lock()
	if _, ok := c.joining[segment]; ok || used {
		c.mu.Unlock()
		return nil // joined again
	}
	delete(c.held, segment)
	delete(c.using, segment)
	var keys []string
	for b, host := range c.view.blocks[segment] {
		if host == c.self.Name {
			keys = append(keys, blockKey(segment, b))
		}
	}
	for ip, host := range c.view.claims[segment] {
		if host == c.self.Name {
			keys = append(keys, claimKey(segment, c.view.blockOf[segment][ip], ip))
		}
	}
	c.mu.Unlock()
	for part := range slices.Chunk(keys, 100) {
		if err := c.forgetKeys(ctx, part); err != nil {
			return wrap(err, "leave segment %s", segment)
		}
	}
	if err := c.forgetKeys(ctx, []string{memberKey(segment, c.self.Name)}); err != nil {
		return wrap(err, "leave segment %s", segment)
	}
	c.mu.Lock()
	last := []clientv3.Cmp{
		c.unchanged(segmentKey(segment)),
		c.absent(kindMember + "/" + segment + "/").WithPrefix(),
	}
	s := c.view.segments[segment]
	c.mu.Unlock()
	ops := []clientv3.Op{clientv3.OpDelete(c.key(segmentKey(segment)))}
	if s.VNI != 0 {
		ops = append(ops, clientv3.OpDelete(c.key(vniKey(s.VNI))))
	}
	for _, kind := range []string{kindBlock, kindClaim, kindEndpoint, kindWant} {
		ops = append(ops, clientv3.OpDelete(c.key(kind+"/"+segment+"/"), clientv3.WithPrefix()))
	}
	if _, err := c.commit(ctx, last, ops); err != nil { // not the last: others stay
		return wrap(err, "leave segment %s", segment)
	}
	return nil
}

// forgetKeys deletes keys of this host's.
func (c *Cluster) forgetKeys(ctx context.Context, keys []string) error {
	var ops []clientv3.Op
	for _, k := range keys {
		ops = append(ops, clientv3.OpDelete(c.key(k)))
	}
	_, err := c.commit(ctx, nil, ops)
	return err
}

// Gateway settles the gateway of a segment's subnet: the one that is wanted, which
// must be the segment's if it has one already; of an invalid one the segment's, or
// the first address.
func (c *Cluster) Gateway(ctx context.Context, segment string, subnet netip.Prefix, want netip.Addr) (netip.Addr, error) {
	for range tries {
		c.mu.Lock()
		s, same := c.view.segments[segment], c.unchanged(segmentKey(segment))
		c.mu.Unlock()
		i := slices.IndexFunc(s.Subnets, func(n Subnet) bool { return n.Prefix == subnet })
		if i < 0 {
			return netip.Addr{}, fmt.Errorf("segment %s: has no subnet %s any more", segment, subnet)
		}
		if g := s.Subnets[i].Gateway; g.IsValid() {
			if want.IsValid() && want != g {
				return netip.Addr{}, fmt.Errorf("gateway %s: segment %s has %s on all hosts: name that one, or leave --gateway out", want, segment, g)
			}
			return g, nil
		}
		if !want.IsValid() {
			want = subnet.Addr().Next()
		}
		s.Subnets = slices.Clone(s.Subnets)
		s.Subnets[i].Gateway = want
		_, err := c.commit(ctx, []clientv3.Cmp{same},
			[]clientv3.Op{clientv3.OpPut(c.key(segmentKey(segment)), string(s.encode()))}, clientv3.OpGet(c.key(segmentKey(segment))))
		if err != nil {
			return netip.Addr{}, wrap(err, "settle the gateway of segment %s", segment)
		}
	}
	return netip.Addr{}, wrap(errBusy, "settle the gateway of segment %s", segment)
}

// Segment returns a segment as this host knows it.
func (c *Cluster) Segment(name string) (Segment, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.view.segments[name]
	return s, ok
}

// Members returns the other hosts that have a segment, by name.
func (c *Cluster) Members(segment string) (out []Host) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(c.view.members[segment])) {
		if h, ok := c.view.hosts[name]; ok && name != c.self.Name {
			out = append(out, h)
		}
	}
	return out
}
