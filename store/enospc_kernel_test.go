//go:build kernel

package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// On a full disk every commit fails with the kernel's word, what was committed
// stays, and with room again commits go on.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=8m,mode=0700"); err != nil {
		t.Fatalf("mount tmpfs (this test needs root): %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	s := open(t, dir, Options{})
	want := NewRecords()
	large := func(id string) Change {
		return PutNetwork(Network{ID: id, Options: map[string]string{"routes": strings.Repeat("x", 100_000)}})
	}
	var full error
	n := 0
	for ; n < 1000 && full == nil; n++ {
		c := large(fmt.Sprint(n))
		if full = s.Commit(t.Context(), c); full == nil {
			want.Apply(c)
		}
	}
	if !errors.Is(full, unix.ENOSPC) || !strings.HasPrefix(full.Error(), "store: commit networks ") {
		t.Fatalf("commit %d on 8 MiB: %v, want ENOSPC", n, full)
	}

	// Every caller of a batch is told; the one whose change needs no room may
	// succeed, whoever shares the batch with it.
	var wg sync.WaitGroup
	var mu sync.Mutex
	failed := 0
	for i := range 8 {
		wg.Go(func() {
			c := large(fmt.Sprint("batch", i))
			err := s.Commit(t.Context(), c)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				want.Apply(c)
				return
			}
			failed++
			if !errors.Is(err, unix.ENOSPC) {
				t.Errorf("commit: %v, want ENOSPC", err)
			}
		})
	}
	wg.Wait()
	if failed == 0 {
		t.Error("eight large commits on a full disk, and none fails")
	}
	if d := diff(want, mustRecords(t, s)); d != "" {
		t.Errorf("on the full disk: -want +got\n%s", d)
	}
	if _, err := s.Backup(t.Context()); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("Backup: %v, want ENOSPC", err)
	}
	if left, err := os.ReadDir(filepath.Join(dir, backupDir)); err != nil || len(left) != 0 {
		t.Errorf("the failed backup left %v, %v", left, err)
	}

	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT, "size=64m,mode=0700"); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		c := large(fmt.Sprint("after", i))
		want.Apply(c)
		if err := s.Commit(t.Context(), c); err != nil {
			t.Fatalf("with room again: %v", err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, Options{})
	if d := diff(want, mustRecords(t, s)); d != "" {
		t.Errorf("opened again: -want +got\n%s", d)
	}
}

// A disk that is full from the start leaves no half of a store.
func TestDiskFullAtCreation(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m,mode=0700"); err != nil {
		t.Fatalf("mount tmpfs (this test needs root): %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	if s, err := Open(dir, Options{}); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("Open: %v, %v; want ENOSPC", s, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != lockName {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT, "size=64m,mode=0700"); err != nil {
		t.Fatal(err)
	}
	open(t, dir, Options{})
}
