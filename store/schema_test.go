package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	logtest "github.com/sirupsen/logrus/hooks/test"
	bolt "go.etcd.io/bbolt"
)

// withV0 is the current schema, reached from a version before it that never was:
// it had one bucket less, and names were in capitals.
func withV0() *schema {
	return &schema{oldest: 0, migrations: []func(*bolt.Tx) error{func(tx *bolt.Tx) error {
		if _, err := tx.CreateBucket([]byte(kindAddress)); err != nil {
			return err
		}
		b := tx.Bucket([]byte(kindNetwork))
		return b.ForEach(func(key, value []byte) error {
			var n Network
			if err := decode(kindNetwork, string(key), value, &n); err != nil {
				return err
			}
			n.Name = strings.ToLower(n.Name)
			value, err := encode(kindNetwork, string(key), n)
			if err != nil {
				return err
			}
			return b.Put(key, value)
		})
	}}}
}

// makeV0 makes the store in dir one of that version.
func makeV0(t *testing.T, dir string) {
	t.Helper()
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(t.Context(), PutNetwork(Network{ID: "a", Name: "WEB"}), PutNetwork(Network{ID: "b", Name: "DB"})); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	edit(t, s.path, func(tx *bolt.Tx) error {
		return errors.Join(tx.DeleteBucket([]byte(kindAddress)), putMeta(tx, metaSchema, 0))
	})
}

func TestMigrate(t *testing.T) {
	dir := t.TempDir()
	makeV0(t, dir)
	log, hook := logtest.NewNullLogger()
	var steps []string
	opts := Options{schema: withV0(), Log: log, Step: func(name string) { steps = append(steps, name) }}
	s := open(t, dir, opts)

	want := NewRecords()
	want.Apply(PutNetwork(Network{ID: "a", Name: "web"}), PutNetwork(Network{ID: "b", Name: "db"}))
	if d := diff(want, mustRecords(t, s)); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
	if d := cmp.Diff([]string{"store.commit", "store.committed"}, steps); d != "" {
		t.Errorf("steps: -want +got\n%s", d)
	}
	backup := onlyBackup(t, dir)
	if want := "store v0→v1, backup at " + backup; hook.LastEntry() == nil || hook.LastEntry().Message != want {
		t.Errorf("logs %v, want %q", hook.LastEntry(), want)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	// The second start has nothing to migrate.
	s = open(t, dir, opts)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if len(steps) != 2 || onlyBackup(t, dir) != backup {
		t.Errorf("the second start migrates again: %v", steps)
	}

	// The backup is the file of before, ready for use.
	old := t.TempDir()
	copyFile(t, backup, filepath.Join(old, fileName))
	if _, err := Open(old, Options{}); err == nil || !strings.Contains(err.Error(), "schema 0 is too old") {
		t.Errorf("Open of schema 0 by a version without the migration: %v", err)
	}
	s = open(t, old, opts)
	if d := diff(want, mustRecords(t, s)); d != "" {
		t.Errorf("from the backup: -want +got\n%s", d)
	}
}

// A migration that fails leaves the file as it was.
func TestMigrateFails(t *testing.T) {
	for name, fails := range map[string]func(*bolt.Tx) error{
		"an error": func(tx *bolt.Tx) error {
			return errors.Join(tx.DeleteBucket([]byte(kindPool)), errors.New("no way"))
		},
		"what it makes doesn't decode": func(tx *bolt.Tx) error { return tx.DeleteBucket([]byte(kindPool)) },
		"a panic":                      func(*bolt.Tx) error { panic("no way") },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			makeV0(t, dir)
			before, err := os.ReadFile(filepath.Join(dir, fileName))
			if err != nil {
				t.Fatal(err)
			}
			if _, err = Open(dir, Options{schema: &schema{migrations: []func(*bolt.Tx) error{fails}}}); err == nil {
				t.Fatal("no error")
			}
			after, err := os.ReadFile(filepath.Join(dir, fileName))
			if err != nil || string(before) != string(after) {
				t.Errorf("the file has changed (%v)", err)
			}
			open(t, dir, Options{schema: withV0()})
		})
	}
}

func onlyBackup(t *testing.T, dir string) string {
	t.Helper()
	names, err := os.ReadDir(filepath.Join(dir, backupDir))
	if err != nil || len(names) != 1 {
		t.Fatalf("backups: %v, %v; want one", names, err)
	}
	path := filepath.Join(dir, backupDir, names[0].Name())
	if !strings.HasSuffix(path, fmt.Sprintf("-before-v%d.db", 1)) {
		t.Errorf("backup %s", path)
	}
	return path
}
