package store

import (
	"errors"
	"fmt"
	"slices"

	bolt "go.etcd.io/bbolt"
)

// The bucket "meta" and its keys: names on disk.
const (
	kindMeta kind = "meta"

	metaSchema   = "schema"   // a number, see schema
	metaInstance = "instance" // see Store.Instance
)

// kinds returns every kind of record, one bucket each.
func kinds() []kind {
	return []kind{kindNetwork, kindEndpoint, kindPool, kindAddress, kindLivePorts, kindLease, kindCluster}
}

func isKind(name kind) bool { return slices.Contains(kinds(), name) }

// A schema is a way that records are laid out, and how older ones are brought
// to it.
type schema struct {
	oldest int // the oldest version that can be brought up
	// migrations[i] makes version oldest+i+1 of oldest+i.
	migrations []func(tx *bolt.Tx) error
}

func (s *schema) version() int { return s.oldest + len(s.migrations) }

// currentSchema is what this version of fairway writes. A new version is one
// more migration here.
func currentSchema() *schema {
	return &schema{oldest: 1, migrations: []func(*bolt.Tx) error{addLivePorts, addLeases, addCluster}}
}

// migrate brings the file to the wanted schema, in one commit, after a backup.
func (s *Store) migrate() error {
	var have int
	if err := s.db.View(func(tx *bolt.Tx) error { return getMeta(tx, metaSchema, &have) }); err != nil {
		return err
	}
	want := s.opts.schema
	switch {
	case have == want.version():
		return nil
	case have > want.version():
		return newer("schema %d, and %d is known", have, want.version())
	case have < want.oldest:
		return fmt.Errorf("schema %d is too old: start a fairway that knows it and %d first", have, want.oldest)
	}
	backup, err := s.backup(fmt.Sprintf("before-v%d", want.version()), noCancel)
	if err != nil {
		return err
	}
	s.opts.Step("store.commit")
	err = s.db.Update(func(tx *bolt.Tx) error {
		for v := have; v < want.version(); v++ {
			if err := want.migrations[v-want.oldest](tx); err != nil {
				return fmt.Errorf("migrate v%d to v%d: %w", v, v+1, err)
			}
		}
		if _, err := readRecords(tx); err != nil {
			return fmt.Errorf("migrate to v%d: %v", want.version(), err) // neither damaged nor newer
		}
		return putMeta(tx, metaSchema, want.version())
	})
	if err != nil {
		return err
	}
	s.opts.Step("store.committed")
	s.opts.Log.Infof("store v%d→v%d, backup at %s", have, want.version(), backup)
	return nil
}

func getMeta(tx *bolt.Tx, key string, to any) error {
	b := tx.Bucket([]byte(kindMeta))
	if b == nil {
		return damaged("it is not a fairway store: no bucket %q", kindMeta)
	}
	value := b.Get([]byte(key))
	if value == nil {
		return damaged("no %s in bucket %q", key, kindMeta)
	}
	return decode(kindMeta, key, value, to)
}

func putMeta(tx *bolt.Tx, key string, from any) error {
	value, err := encode(kindMeta, key, from)
	if err != nil {
		return err
	}
	return tx.Bucket([]byte(kindMeta)).Put([]byte(key), value)
}

// advice is what the operator can do about an error of Open, to follow it.
func (s *Store) advice(err error) string {
	switch {
	case errors.Is(err, ErrNewer):
		if old := s.newestBackup(); old != "" {
			return "; it was left as it is: install the newer fairway again, or move it away and put a backup in its place (newest: " + old + ")"
		}
		return "; it was left as it is: install the newer fairway again"
	case errors.Is(err, ErrDamaged):
		if old := s.newestBackup(); old != "" {
			return "; it was left as it is: move it away and put a backup in its place (newest: " + old + ")"
		}
		return "; it was left as it is, and there is no backup: put a copy of your own in its place, or move it away to start empty"
	}
	return ""
}
