package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestBackup(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	backups := filepath.Join(dir, backupDir)
	if err := os.Mkdir(backups, 0o700); err != nil {
		t.Fatal(err)
	}
	// One of an upgrade, one of a clock that was ahead, and what a crash left.
	upgrade := "fairway-20200101T000000.000Z-before-v1.db"
	ahead := "fairway-20990101T000000.000Z.db"
	for _, name := range []string{upgrade, ahead, "fairway-20200101T000000.000Z.db.partial", "fairway-notes.txt"} {
		copyFile(t, s.path, filepath.Join(backups, name))
	}

	want := NewRecords()
	var made []string
	for n := range 8 {
		changes := sample(n)
		want.Apply(changes...)
		if err := s.Commit(t.Context(), changes...); err != nil {
			t.Fatal(err)
		}
		path, err := s.Backup(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, filepath.Base(path))
		wantMode(t, path, 0o600)
		check(t, path)
		time.Sleep(2 * time.Millisecond) // names are of the millisecond
	}
	kept := slices.Concat([]string{upgrade, "fairway-notes.txt", ahead}, made[4:])
	slices.Sort(kept)
	var have []string
	entries, err := os.ReadDir(backups)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		have = append(have, e.Name())
	}
	if !slices.Equal(have, kept) {
		t.Errorf("backups %v, want %v", have, kept)
	}

	restored := t.TempDir()
	copyFile(t, filepath.Join(backups, made[7]), filepath.Join(restored, fileName))
	r := open(t, restored, Options{})
	if d := diff(want, mustRecords(t, r)); d != "" {
		t.Errorf("from the backup: -want +got\n%s", d)
	}
	if r.Instance() != s.Instance() {
		t.Errorf("instance %s from the backup of %s", r.Instance(), s.Instance())
	}
}

func TestBackupCancelled(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Backup(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Backup: %v, want context.Canceled", err)
	}
	if left, err := os.ReadDir(filepath.Join(dir, backupDir)); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// Commits go on while a backup is written, and it holds none of them by half.
func TestBackupBesideCommits(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan bool)
	go func() {
		defer close(ended)
		for i := 0; ctx.Err() == nil; i++ {
			id := fmt.Sprint(i % 50)
			if err := s.Commit(context.Background(), PutNetwork(Network{ID: id, MTU: i}), PutPool(Pool{ID: id, Space: fmt.Sprint(i)})); err != nil {
				t.Error(err)
			}
		}
	}()
	for range 10 {
		path, err := s.Backup(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		restored := t.TempDir()
		copyFile(t, path, filepath.Join(restored, fileName))
		r := mustRecords(t, open(t, restored, Options{}))
		for id, n := range r.Networks {
			if r.Pools[id].Space != fmt.Sprint(n.MTU) {
				t.Errorf("half a commit: network %d, pool %s", n.MTU, r.Pools[id].Space)
			}
		}
	}
	cancel()
	<-ended
}

func TestBackupEvery(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	count := func() (n int) {
		entries, _ := os.ReadDir(filepath.Join(dir, backupDir))
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), ".db") {
				n++
			}
		}
		return n
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.BackupEvery(ctx, 5*time.Millisecond) }()
	for want := 1; want <= 2; want++ {
		time.Sleep(30 * time.Millisecond)
		if n := count(); n != want-1 {
			t.Errorf("%d backups of %d changes", n, want-1)
		}
		if err := s.Commit(t.Context(), sample(want)...); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(10 * time.Second); count() < want && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
	}
	cancel()
	if err := <-ended; err != nil || count() != 2 {
		t.Errorf("BackupEvery: %v after %d backups, want 2", err, count())
	}
}
