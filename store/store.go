package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
	bolt "go.etcd.io/bbolt"
)

const (
	fileName = "fairway.db"

	// mapSize is the address space for the file, in bytes. While the file is
	// smaller, a commit never waits for a backup to end its reading.
	mapSize = 256 << 20
	// growStep is by how much the file grows, in bytes.
	growStep = 1 << 20
)

// Options are what a store needs from its owner. The zero value will do.
type Options struct {
	// Step is called before each change of the file: "store.commit" before a
	// commit and "store.committed" after it, before anybody is told.
	Step func(name string)
	// Committed is told how long each commit took that succeeded; nil: nobody is.
	Committed func(took time.Duration)
	// Log is told of what an operator should know; nil: nobody is.
	Log logrus.FieldLogger

	schema *schema // instead of the current one; for tests
}

// A Store is the open file of records. Its methods may be called concurrently.
type Store struct {
	path     string
	opts     Options
	db       *bolt.DB
	lock     *lock
	instance string

	backups sync.Mutex    // held while one is written
	commits atomic.Uint64 // since the start

	mu     sync.Mutex // guards the following
	first  *Records   // as they were found; nil once they were asked for
	queue  []call
	done   chan struct{} // closed when the committer has ended; nil: none runs
	closed bool

	// What only the committer touches, or Close after it:
	doubtful map[place][]byte // see commit; nil: nothing stood there
	broken   error            // why no commit can be made any more
}

// Open opens the store in the state directory dir and takes the directory's
// lock. What isn't there is made: dir with mode 0700, the files with 0600. The
// error is an ErrInUse if another daemon has the lock, an ErrDamaged or an
// ErrNewer, with what to do, if the file isn't good; then nothing was changed.
func Open(dir string, opts Options) (_ *Store, err error) {
	if opts.Step == nil {
		opts.Step = func(string) {}
	}
	if opts.Committed == nil {
		opts.Committed = func(time.Duration) {}
	}
	if opts.Log == nil {
		silent := logrus.New()
		silent.SetOutput(io.Discard)
		opts.Log = silent
	}
	if opts.schema == nil {
		opts.schema = currentSchema()
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	l, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	s := &Store{path: filepath.Join(dir, fileName), opts: opts, lock: l, doubtful: map[place][]byte{}}
	if err := s.open(); err != nil {
		if s.db != nil {
			s.db.Close()
		}
		l.release()
		return nil, fmt.Errorf("store: %s: %w%s", s.path, err, s.advice(err))
	}
	if l.stale != "" {
		opts.Log.WithField("pid", l.stale).Info("store: the last daemon ended without closing it; all is well")
	}
	return s, nil
}

// open makes the file if there is none, checks it and brings it to the current
// schema.
func (s *Store) open() error {
	_, err := os.Lstat(s.path)
	if errors.Is(err, os.ErrNotExist) {
		if old := s.newestBackup(); old != "" {
			s.opts.Log.WithField("backup", old).Warn("store: no " + fileName + " but backups of one: starting empty")
		}
		err = create(s.path, s.opts.schema)
	}
	if err != nil {
		return err
	}
	if err := verify(s.path); err != nil {
		return err
	}
	return contain(func() error {
		if s.db, err = openBolt(s.path); err != nil {
			return err
		}
		if err := s.migrate(); err != nil {
			return err
		}
		return s.db.View(s.read)
	})
}

// openBolt opens a file that verify has passed. It writes nothing.
func openBolt(path string) (*bolt.DB, error) {
	db, err := bolt.Open(path, 0o600, &bolt.Options{
		Timeout:         time.Millisecond, // one try: the directory's lock is ours
		InitialMmapSize: mapSize,
		FreelistType:    bolt.FreelistMapType,
		NoStatistics:    true,
	})
	if errors.Is(err, bolt.ErrTimeout) {
		return nil, errors.New("another program has the file open")
	}
	if err != nil {
		return nil, err
	}
	db.AllocSize = growStep
	return db, nil
}

// read checks that every bucket is known and every record decodes, and takes
// the instance's ID.
func (s *Store) read(tx *bolt.Tx) error {
	r, err := readRecords(tx)
	if err != nil {
		return err
	}
	s.first = &r
	return getMeta(tx, metaInstance, &s.instance)
}

func readRecords(tx *bolt.Tx) (Records, error) {
	r := NewRecords()
	for _, k := range kinds() {
		b := tx.Bucket([]byte(k))
		if b == nil {
			return r, damaged("no records of kind %q", k)
		}
		err := b.ForEach(func(key, value []byte) error {
			return r.add(k, string(key), value)
		})
		if err != nil {
			return r, err
		}
	}
	return r, tx.ForEach(func(name []byte, _ *bolt.Bucket) error {
		if kind(name) == kindMeta || isKind(kind(name)) {
			return nil
		}
		return newer("records of kind %q", name)
	})
}

// Instance returns the random ID of this state directory, 8 hexadecimal
// digits, made with the file and never changed.
func (s *Store) Instance() string { return s.instance }

// Records returns all that was committed.
func (s *Store) Records() (r Records, err error) {
	if r := s.found(); r != nil {
		return *r, nil
	}
	err = contain(func() error {
		return s.db.View(func(tx *bolt.Tx) error {
			r, err = readRecords(tx)
			return err
		})
	})
	if err != nil {
		return Records{}, fmt.Errorf("store: %s: %w", s.path, err)
	}
	return r, nil
}

// found returns what Open has read, once, and unless something was committed since.
func (s *Store) found() *Records {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.first
	s.first = nil
	if len(s.queue) > 0 || s.done != nil || s.commits.Load() > 0 || s.closed {
		return nil
	}
	return r
}

// Size returns the size of the file in bytes.
func (s *Store) Size() (int64, error) {
	info, err := os.Stat(s.path)
	if err != nil {
		return 0, fmt.Errorf("store: %w", err)
	}
	return info.Size(), nil
}

// Close commits what was begun, closes the file and frees the directory. It may
// be repeated.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	done := s.done
	s.mu.Unlock()
	if done != nil {
		<-done
	}
	s.backups.Lock() // one under way ends first
	defer s.backups.Unlock()

	if len(s.doubtful) > 0 && s.broken == nil {
		s.commit(nil) // the last chance to take back what failed
	}
	var err error
	if s.broken == nil { // else bbolt may hold its own locks for ever
		err = s.db.Close()
	}
	if e := s.lock.release(); err == nil {
		err = e
	}
	if err != nil {
		return fmt.Errorf("store: close: %w", err)
	}
	return nil
}

// contain runs f, which reads or writes by bbolt, and returns its panics as
// errors: bbolt has them for what it doesn't expect in a file, and the kernel
// raises a fault for a page of the mapping that the file hasn't got (any more).
func contain(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = damaged("%v", r)
		}
	}()
	return f()
}
