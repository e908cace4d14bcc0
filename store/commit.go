package store

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"runtime/debug"
	"time"

	bolt "go.etcd.io/bbolt"
)

// A place is where a value stands.
type place struct {
	kind kind
	key  string
}

func (p place) String() string { return fmt.Sprintf("%s %q", p.kind, p.key) }

// A write is a change in its form on disk.
type write struct {
	place
	value []byte // nil deletes
}

// A call is one caller's writes, and where it waits.
type call struct {
	writes []write
	done   chan<- error // buffered
}

// Begin starts to make the changes durable, all or none, and returns at once:
// the records are not looked at again. The channel then gets nil or why it
// failed, once. Changes become durable in the order of the calls of Begin.
//
// After an error the changes may be found by an Open that comes before the next
// commit that succeeds, never after it.
func (s *Store) Begin(changes ...Change) <-chan error {
	done := make(chan error, 1)
	writes, err := encodeAll(changes)
	if err != nil {
		done <- fmt.Errorf("store: %w", err)
		return done
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		done <- ErrClosed
		return done
	}
	s.queue = append(s.queue, call{writes, done})
	if s.done == nil {
		s.done = make(chan struct{})
		go s.commitQueued(s.done)
	}
	return done
}

// Commit makes the changes durable, all or none. The end of ctx ends only the
// wait: the changes may become durable all the same.
func (s *Store) Commit(ctx context.Context, changes ...Change) error {
	select {
	case err := <-s.Begin(changes...):
		return err
	case <-ctx.Done():
		return fmt.Errorf("store: commit: %w", context.Cause(ctx))
	}
}

func encodeAll(changes []Change) ([]write, error) {
	writes := make([]write, len(changes))
	for i, c := range changes {
		w := &writes[i]
		w.place = place{c.kind, c.key}
		if !isKind(c.kind) {
			return nil, fmt.Errorf("change of unknown kind %q", c.kind)
		}
		if len(c.key) == 0 || len(c.key) > bolt.MaxKeySize {
			return nil, fmt.Errorf("change of %s: key of %d bytes", c.kind, len(c.key))
		}
		if c.record == nil {
			continue
		}
		var err error
		if w.value, err = encode(c.kind, c.key, c.record); err != nil {
			return nil, fmt.Errorf("change of %s: %w", w.place, err)
		}
	}
	return writes, nil
}

// commitQueued commits until nothing waits, each time all that waits: what comes
// in during a commit shares the next one.
func (s *Store) commitQueued(ended chan<- struct{}) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	for {
		s.mu.Lock()
		calls := s.queue
		s.queue = nil
		if len(calls) == 0 {
			s.done = nil
			s.mu.Unlock()
			close(ended)
			return
		}
		s.mu.Unlock()
		s.commitCalls(calls)
	}
}

// commitCalls commits the calls together or, if that fails, one by one, so that
// none fails for another's sake.
func (s *Store) commitCalls(calls []call) {
	if len(calls) > 1 && s.commit(calls) == nil {
		answer(calls, nil)
		return
	}
	for i := range calls {
		one := calls[i : i+1]
		answer(one, s.commit(one))
	}
}

func answer(calls []call, err error) {
	for _, c := range calls {
		c.done <- err
	}
}

// commit makes the calls' writes durable in one transaction.
//
// When the last sync of a transaction fails, its changes are seen in the file
// all the same, and bbolt goes on from them. So what stood in their places
// before is kept in s.doubtful and put back by the next commit.
func (s *Store) commit(calls []call) error {
	if s.broken != nil {
		return s.broken
	}
	s.opts.Step("store.commit")
	before := map[place][]byte{}
	began := time.Now()
	tx, err := s.update(calls, before)
	if err == nil {
		s.opts.Committed(time.Since(began))
		clear(s.doubtful)
		s.commits.Add(1)
		s.opts.Step("store.committed")
		return nil
	}
	if s.broken == nil && s.seen(tx) {
		maps.Copy(s.doubtful, before)
	}
	err = fmt.Errorf("store: commit %s: %w", describe(calls), err)
	if s.broken != nil {
		s.opts.Log.Error(err)
	} else {
		s.opts.Log.Debug(err) // the callers', to say or to try again
	}
	return err
}

// update is the transaction of a commit and returns its number. It puts into
// before what stood in the places that it writes. After a panic nothing is known
// of bbolt's state, so it is not used again.
func (s *Store) update(calls []call, before map[place][]byte) (id int, err error) {
	defer func() {
		if r := recover(); r != nil {
			s.broken = fmt.Errorf("store: %s: %w; restart fairway", s.path, damaged("%v", r))
			err = s.broken
		}
	}()
	err = s.db.Update(func(tx *bolt.Tx) error {
		id = tx.ID()
		for p, value := range s.doubtful {
			if err := put(tx, write{p, value}); err != nil {
				return err
			}
		}
		for _, c := range calls {
			for _, w := range c.writes {
				if _, ok := before[w.place]; !ok {
					before[w.place] = bytes.Clone(tx.Bucket([]byte(w.kind)).Get([]byte(w.key)))
				}
				if err := put(tx, w); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return id, err
}

// seen reports whether the file shows the transaction, which failed.
func (s *Store) seen(id int) (seen bool) {
	err := contain(func() error {
		return s.db.View(func(tx *bolt.Tx) error {
			seen = tx.ID() == id
			return nil
		})
	})
	return seen && err == nil
}

// put does one write.
func put(tx *bolt.Tx, w write) error {
	b := tx.Bucket([]byte(w.kind))
	if w.value == nil {
		return b.Delete([]byte(w.key))
	}
	return b.Put([]byte(w.key), w.value)
}

// describe names the first write of the calls and says how many there are.
func describe(calls []call) string {
	n, first := 0, ""
	for _, c := range calls {
		if n == 0 && len(c.writes) > 0 {
			first = c.writes[0].String()
		}
		n += len(c.writes)
	}
	if n == 0 {
		return "of nothing"
	}
	if n > 1 {
		return fmt.Sprintf("%s and %d more", first, n-1)
	}
	return first
}
