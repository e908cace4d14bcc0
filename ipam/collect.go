package ipam

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/sirupsen/logrus"

	"fairway/store"
)

// Known is what one engine positively knows.
type Known struct {
	Engine string // an engine's name; nothing is known of those without one
	// Pools are those of all its networks whose IPAM driver is fairway,
	// whatever their network driver: one entry for each network and subnet, so
	// that a subnet which networks share is there for each of them.
	Pools []KnownPool
}

// A KnownPool is a network's subnet and what uses its addresses: containers,
// the gateway, auxiliary addresses, and whatever endpoints fairway itself still
// has there.
type KnownPool struct {
	Subnet    netip.Prefix
	Addresses []netip.Addr
}

// Reclaim gives back the addresses on fairway's own networks that Docker asked
// for and then wasn't seen to use for the grace period: it never got the reply.
// It returns how many.
func (a *Allocator) Reclaim(ctx context.Context) (removed int, err error) {
	var commits commits
	for _, s := range a.allSubnets() {
		a.mu.Lock()
		then := a.now().Add(-a.grace)
		if a.current(s) && !s.goes() && s.network {
			for _, ip := range slices.SortedFunc(maps.Keys(s.fresh), netip.Addr.Compare) {
				l := s.entries[ip].now
				if l.Kind == store.KindEndpoint && !l.Created.After(then) {
					a.logGone(l, "requested, but never used")
					commits.add(a.beginFree(s, l))
				}
			}
		}
		a.expire(s, a.now())
		if changes := a.sweep(1024); len(changes) > 0 {
			a.store.Begin(changes...) // what fails is useless still after the next start
		}
		a.mu.Unlock()
	}
	return len(commits), a.awaitAll(ctx, commits)
}

// Collect gives back the pools and addresses of one engine that it doesn't
// know, once it hasn't known them in any call for the grace period, and returns
// how many. Gateways go only with their pool: Docker doesn't always tell them.
func (a *Allocator) Collect(ctx context.Context, known Known) (removed int, err error) {
	if known.Engine == "" {
		return 0, nil
	}
	networks := map[netip.Prefix]int{}
	used := map[netip.Prefix]map[netip.Addr]bool{}
	for _, p := range known.Pools {
		networks[p.Subnet]++
		if used[p.Subnet] == nil {
			used[p.Subnet] = map[netip.Addr]bool{}
		}
		for _, ip := range p.Addresses {
			used[p.Subnet][ip] = true
		}
	}
	var commits commits
	for _, s := range a.allSubnets() {
		a.mu.Lock()
		if a.current(s) && s.release() == nil {
			if networks[s.prefix] > 0 {
				a.collectAddresses(s, known.Engine, used[s.prefix], &commits)
			}
			a.collectHandles(s, known.Engine, networks[s.prefix], &commits)
		}
		a.mu.Unlock()
	}
	return len(commits), a.awaitAll(ctx, commits)
}

func (a *Allocator) collectAddresses(s *subnet, engine string, used map[netip.Addr]bool, commits *commits) {
	now := a.now()
	for ip, e := range s.entries {
		if !e.now.inUse() || e.now.Engine != engine || e.now.Kind != store.KindEndpoint || used[ip] {
			delete(s.missing, ip)
			continue
		}
		since, ok := s.missing[ip]
		if !ok {
			s.missing[ip] = now
		} else if now.Sub(since) >= a.grace {
			a.logGone(e.now, "not known to its engine")
			commits.add(a.beginFree(s, e.now))
		}
	}
}

// collectHandles takes back as many handles of the engine on s as there are more
// than it has networks there: any if it has none, else those that Docker wasn't
// seen to use.
func (a *Allocator) collectHandles(s *subnet, engine string, networks int, commits *commits) {
	var mine, suspects []*handle
	for _, h := range s.handles {
		if h.Engine == engine {
			mine = append(mine, h)
		}
	}
	for _, h := range mine {
		if networks == 0 || !h.Confirmed {
			suspects = append(suspects, h)
		}
	}
	slices.SortFunc(suspects, func(g, h *handle) int {
		return cmp.Or(g.Created.Compare(h.Created), cmp.Compare(g.ID, h.ID))
	})
	suspects = suspects[:min(len(suspects), max(0, len(mine)-networks))]
	now := a.now()
	for _, h := range mine {
		switch {
		case !slices.Contains(suspects, h):
			h.missing = time.Time{}
		case h.missing.IsZero():
			h.missing = now
		case now.Sub(h.missing) >= a.grace:
			a.log.WithFields(logrus.Fields{
				"pool": h.ID, "engine": h.Engine, "created": h.Created,
			}).Warn("took back a pool: not known to its engine")
			commits.add(a.beginRelease(h))
			return // the next one in the next round: one release at a time
		}
	}
}

func (a *Allocator) logGone(l *lease, why string) {
	a.log.WithFields(logrus.Fields{
		"address": l.IP, "pool": l.Pool, "engine": l.Engine, "container": l.Name, "created": l.Created,
	}).Warn("took back an address: " + why)
}

// allSubnets returns the subnets of now, so that they can be walked without
// holding the lock all the way.
func (a *Allocator) allSubnets() (all []*subnet) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, space := range spaceNames() {
		for _, p := range a.spaces[space].sorted {
			all = append(all, a.spaces[space].by[p])
		}
		if s := a.spaces[space].by[netip.PrefixFrom(netip.IPv4Unspecified(), 0)]; s != nil {
			all = append(all, s)
		}
	}
	return all
}

// current reports whether s hasn't been released.
func (a *Allocator) current(s *subnet) bool { return a.spaces[s.space].by[s.prefix] == s }

// commits are commits under way.
type commits []struct {
	commit <-chan error
	finish func(error)
}

func (c *commits) add(commit <-chan error, finish func(error)) {
	*c = append(*c, struct {
		commit <-chan error
		finish func(error)
	}{commit, finish})
}

func (a *Allocator) awaitAll(ctx context.Context, all commits) error {
	var errs []error
	for _, c := range all {
		errs = append(errs, a.await(ctx, c.commit, c.finish))
	}
	return errors.Join(errs...)
}
