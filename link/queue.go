package link

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A queue holds the links that are to be removed. The removal of a link waits
// 16 to 37 ms for the kernel, that of 32 in one go hardly longer: so one worker
// takes what has gathered while it was busy. It ends when there is nothing left.
type queue struct {
	mu      sync.Mutex
	waiting []*removal
	pending map[place]*removal // waiting, or being done
	running bool
	workers sync.WaitGroup
}

type place struct{ namespace, link string }

// A removal is of a link as long as it belongs to whom it did.
type removal struct {
	place
	mark string
	then func() // done after it, before others hear that it is gone; nil for nothing
	done chan struct{}
}

// maxGroup is how many links go at once. More would be cheaper for each, but
// others wait longer for the kernel's lock meanwhile.
const maxGroup = 32

// enqueue has a link removed soon.
func (c *Conn) enqueue(namespace, name, alias string) { c.enqueueThen(namespace, name, alias, nil) }

// enqueueThen has a link removed soon, and something done then.
func (c *Conn) enqueueThen(namespace, name, alias string, then func()) {
	q := &c.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	at := place{namespace, name}
	if _, ok := q.pending[at]; ok {
		return
	}
	if q.pending == nil {
		q.pending = map[place]*removal{}
	}
	r := &removal{at, alias, then, make(chan struct{})}
	q.pending[at] = r
	q.waiting = append(q.waiting, r)
	if !q.running {
		q.running = true
		q.workers.Go(c.work)
	}
}

// isPending reports whether a link is as good as gone.
func (q *queue) isPending(namespace, name string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	_, ok := q.pending[place{namespace, name}]
	return ok
}

// leaving returns the links of a namespace that are as good as gone.
func (q *queue) leaving(namespace string) map[string]bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	out := map[string]bool{}
	for at := range q.pending {
		if at.namespace == namespace {
			out[at.link] = true
		}
	}
	return out
}

// settle waits until none of the links is about to be removed.
func (q *queue) settle(ctx context.Context, namespace string, names ...string) error {
	for _, name := range names {
		q.mu.Lock()
		r := q.pending[place{namespace, name}]
		q.mu.Unlock()
		if r == nil {
			continue
		}
		select {
		case <-r.done:
		case <-ctx.Done():
			return fmt.Errorf("wait for the removal of %s: %w", name, ctx.Err())
		}
	}
	return nil
}

// Quiesce waits until every link that was removed is gone.
func (c *Conn) Quiesce(ctx context.Context) error {
	for {
		c.queue.mu.Lock()
		var r *removal
		for _, r = range c.queue.pending {
			break
		}
		c.queue.mu.Unlock()
		if r == nil {
			return nil
		}
		select {
		case <-r.done:
		case <-ctx.Done():
			return fmt.Errorf("link: wait for removals: %w", ctx.Err())
		}
	}
}

// take returns what is to be removed next, all of one namespace; nothing ends
// the worker.
func (q *queue) take() (group []*removal) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var rest []*removal
	for _, r := range q.waiting {
		if len(group) < maxGroup && (len(group) == 0 || r.namespace == group[0].namespace) {
			group = append(group, r)
		} else {
			rest = append(rest, r)
		}
	}
	q.waiting = rest
	q.running = len(group) > 0
	return group
}

func (q *queue) finish(group []*removal) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, r := range group {
		delete(q.pending, r.place)
		close(r.done)
	}
}

func (c *Conn) work() {
	for {
		group := c.queue.take()
		if len(group) == 0 {
			return
		}
		c.opts.Step("link.delete")
		if err := c.delete(group); err != nil {
			c.log.Error(err) // Reconcile finds what is left
		}
		for _, r := range group {
			if r.then != nil {
				r.then()
			}
		}
		c.queue.finish(group)
	}
}

// delete removes those links of a group that are still whose they were.
func (c *Conn) delete(group []*removal) error {
	s, done, err := c.in(group[0].namespace)
	if errors.Is(err, unix.ENOENT) {
		return nil // gone with its namespace
	}
	if err != nil {
		return fmt.Errorf("link: remove links: %w", err)
	}
	defer done()
	reqs := make([]*nl.NetlinkRequest, len(group))
	for i, r := range group {
		reqs[i] = getLink(r.link)
	}
	var found []linkState
	var errs []error
	for i, r := range s.slow.do(reqs...) {
		l, err := linkState{}, r.err
		if err == nil {
			l, err = parseLink(r.data)
		}
		switch {
		case errors.Is(err, unix.ENODEV):
		case err != nil:
			errs = append(errs, fmt.Errorf("link: remove %s: %w", group[i].link, err))
		case l.name == group[i].link && c.ours(l) && c.isFor(l, group[i].mark):
			found = append(found, l)
			if s == c.own {
				c.bridges.Delete(l.index)
			}
		}
	}
	return errors.Join(append(errs, c.deleteAll(s, found))...)
}

func (c *Conn) deleteAll(s *space, links []linkState) error {
	if len(links) == 1 {
		return c.deleteEach(s, links)
	}
	if len(links) == 0 {
		return nil
	}
	grave, err := c.graveGroup(s)
	if err != nil {
		return err
	}
	reqs := make([]*nl.NetlinkRequest, 0, len(links)+1)
	for _, l := range links {
		reqs = append(reqs, setLink(l.index, "", linkChange{group: grave}))
	}
	for i, r := range s.slow.do(reqs...) {
		if r.err != nil && !errors.Is(r.err, unix.ENODEV) {
			return fmt.Errorf("link: remove %s: %w", links[i].name, r.err)
		}
	}
	if _, err := s.slow.one(delGroup(grave)); err != nil && !errors.Is(err, unix.ENODEV) {
		c.log.WithError(err).Warn("link: remove links as a group: one by one instead")
		return c.deleteEach(s, links)
	}
	return nil
}

func (c *Conn) deleteEach(s *space, links []linkState) error {
	var errs []error
	for _, l := range links {
		if _, err := s.slow.one(delLink(l.index)); err != nil && !errors.Is(err, unix.ENODEV) {
			errs = append(errs, fmt.Errorf("link: remove %s: %w", l.name, err))
		}
	}
	return errors.Join(errs...)
}

// graveGroup returns the group of links that are being removed. Nobody else has
// links in it: what was checked when it was chosen, and is by every Reconcile.
func (c *Conn) graveGroup(s *space) (uint32, error) {
	if g := c.grave.Load(); g != 0 {
		return g, nil
	}
	links, err := s.links()
	if err != nil {
		return 0, fmt.Errorf("link: %w", err)
	}
	return c.chooseGrave(links), nil
}

// chooseGrave takes the first group that no link of somebody else's is in.
func (c *Conn) chooseGrave(links []linkState) uint32 {
	others := map[uint32]bool{}
	for _, l := range links {
		if !c.ours(l) {
			others[l.group] = true
		}
	}
	g := c.group | 1
	for others[g] {
		g += 2
	}
	c.grave.Store(g)
	return g
}
