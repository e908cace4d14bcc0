package model

import (
	"maps"
	"sync"

	"fairway/store"
)

// A disk holds what was committed, and what a commit that failed may have left.
type disk struct {
	durable  store.Records
	doubtful []store.Change // seen by the next start, unless a commit succeeds before
}

func newDisk() *disk { return &disk{durable: store.NewRecords()} }

// boot returns what a starting daemon finds. Torn: what was doubtful is there,
// and before is what there was without.
func (d *disk) boot(torn bool) (found, before store.Records) {
	before = d.records()
	if torn {
		d.durable.Apply(d.doubtful...)
	}
	d.doubtful = nil
	return d.records(), before
}

func (d *disk) records() store.Records {
	return store.Records{
		Networks: maps.Clone(d.durable.Networks), Endpoints: maps.Clone(d.durable.Endpoints),
		Pools: maps.Clone(d.durable.Pools), Addresses: maps.Clone(d.durable.Addresses), LivePorts: maps.Clone(d.durable.LivePorts),
		Leases: maps.Clone(d.durable.Leases),
	}
}

// A records is a process's open store: as store.Store, it makes changes durable
// in the order of Begin, what waits together, and one by one if that fails.
type records struct {
	*process
	mu2     sync.Mutex // guards the following
	queue   []commit
	running bool
}

type commit struct {
	changes []store.Change
	done    chan error
}

func (r *records) Begin(changes ...store.Change) <-chan error {
	c := commit{changes, make(chan error, 1)}
	r.mu2.Lock()
	defer r.mu2.Unlock()
	r.queue = append(r.queue, c)
	if !r.running {
		r.running = true
		go r.run()
	}
	return c.done
}

func (r *records) run() {
	for {
		r.mu2.Lock()
		queue := r.queue
		r.queue = nil
		if len(queue) == 0 {
			r.running = false
			r.mu2.Unlock()
			return
		}
		r.mu2.Unlock()
		if len(queue) > 1 && r.commit(queue) == nil {
			for _, c := range queue {
				c.done <- nil
			}
			continue
		}
		for i, c := range queue {
			c.done <- r.commit(queue[i : i+1])
		}
	}
}

func (r *records) commit(calls []commit) error {
	var all []store.Change
	for _, c := range calls {
		all = append(all, c.changes...)
	}
	err := r.do("store.commit", func() error {
		r.disk.doubtful = nil
		r.disk.durable.Apply(all...)
		return nil
	})
	if err != nil {
		_ = r.look(func() { r.disk.doubtful = append(r.disk.doubtful, all...) })
	}
	return err
}
