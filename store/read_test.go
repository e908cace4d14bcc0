package store

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What is read from outside is what the store holds, while a daemon has it open
// and after, and no daemon is kept out by it.
func TestReadFromOutside(t *testing.T) {
	dir := t.TempDir()
	if _, _, err := Read(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no store: %v", err)
	}
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := <-s.Begin(PutNetwork(Network{ID: "n1", Name: "web"})); err != nil {
		t.Fatal(err)
	}
	want, err := s.Records()
	if err != nil {
		t.Fatal(err)
	}
	look := func(when string) {
		t.Helper()
		got, instance, err := Read(dir)
		if d := cmp.Diff(want, got, cmp.Comparer(func(a, b Network) bool { return a.ID == b.ID && a.Name == b.Name })); err != nil || d != "" || instance != s.Instance() {
			t.Errorf("%s: instance %q, %v (-want +got):\n%s", when, instance, err, d)
		}
	}
	look("while it is open")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	look("after it was closed")
	if File(dir) != filepath.Join(dir, fileName) || NewestBackup(dir) != "" {
		t.Errorf("%s, %s", File(dir), NewestBackup(dir))
	}
	if err := os.WriteFile(File(dir), []byte("no store"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Read(dir); !errors.Is(err, ErrDamaged) {
		t.Errorf("damaged: %v", err)
	}
}
