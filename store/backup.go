package store

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
)

const (
	backupDir  = "backup"
	backupsMax = 5 // of each reason, the newest are kept

	// A name is the prefix, the time in UTC, which sorts as text, and the
	// reason or nothing.
	backupPrefix = "fairway-"
	backupTime   = "20060102T150405.000Z"
)

// Backup writes a copy of the file as it is now into the directory "backup"
// beside it and returns its path: fairway-TIME.db, in UTC. It can be put in the
// file's place as it is. Of older ones it keeps four. Commits go on meanwhile.
func (s *Store) Backup(ctx context.Context) (path string, err error) {
	s.backups.Lock()
	defer s.backups.Unlock()
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return "", ErrClosed
	}
	path, err = s.backup("", ctx.Err)
	if err != nil {
		return "", fmt.Errorf("store: %w", err)
	}
	return path, nil
}

// BackupEvery makes a backup each interval if anything was committed in it,
// until ctx ends. One that fails is logged.
func (s *Store) BackupEvery(ctx context.Context, interval time.Duration) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	last := s.commits.Load()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now := s.commits.Load()
		if now == last {
			continue
		}
		if _, err := s.Backup(ctx); err != nil {
			s.opts.Log.Error(err)
			continue
		}
		last = now
	}
}

// noCancel is for a backup that nothing can end early.
func noCancel() error { return nil }

// backup writes a copy whose name ends with the reason, if there is one, and
// removes older ones of that reason. It asks cancelled between two writes.
func (s *Store) backup(reason string, cancelled func() error) (string, error) {
	dir := filepath.Join(filepath.Dir(s.path), backupDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("backup: %w", err)
	}
	suffix := ".db"
	if reason != "" {
		suffix = "-" + reason + ".db"
	}
	path := filepath.Join(dir, backupPrefix+time.Now().UTC().Format(backupTime)+suffix)
	partial := path + ".partial"
	err := s.copyTo(partial, cancelled)
	if err == nil {
		err = verify(partial) // one that can't be opened is worse than none
	}
	if err == nil {
		err = os.Rename(partial, path)
	}
	if err != nil {
		os.Remove(partial)
		return "", fmt.Errorf("backup: %w", err)
	}
	if err := syncDir(dir); err != nil {
		return "", fmt.Errorf("backup: %w", err)
	}
	s.prune(path)
	return path, nil
}

// copyTo writes the file as it is now to path and waits until it is durable.
func (s *Store) copyTo(path string, cancelled func() error) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	err = contain(func() error {
		return s.db.View(func(tx *bolt.Tx) error {
			w := &backupWriter{w: f, cancelled: cancelled}
			_, err := tx.WriteTo(w)
			return cmp.Or(w.err, err) // bbolt passes on the text only
		})
	})
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}

// A backupWriter writes until cancelled returns an error, and keeps why it
// ended.
type backupWriter struct {
	w         io.Writer
	cancelled func() error
	err       error
}

func (b *backupWriter) Write(p []byte) (n int, err error) {
	if b.err = b.cancelled(); b.err == nil {
		n, b.err = b.w.Write(p)
	}
	return n, b.err
}

// prune removes the oldest backups of the same reason as the new one at path,
// and what others left unfinished. A failure is logged: the new backup is there.
func (s *Store) prune(path string) {
	dir, made := filepath.Split(path)
	names, err := backupsIn(dir)
	if err != nil {
		s.opts.Log.WithError(err).Warn("store: list old backups")
		return
	}
	var same, old []string
	for _, name := range names {
		switch {
		case strings.HasSuffix(name, ".partial"):
			old = append(old, name)
		case reason(name) == reason(made) && name != made: // made is kept even if the clock went back
			same = append(same, name)
		}
	}
	old = append(old, same[:max(0, len(same)+1-backupsMax)]...)
	for _, name := range old {
		if err := os.Remove(dir + name); err != nil {
			s.opts.Log.WithError(err).Warn("store: remove an old backup")
		}
	}
}

// newestBackup returns the path of the newest backup that can be read, or "".
func (s *Store) newestBackup() string {
	dir := filepath.Join(filepath.Dir(s.path), backupDir)
	names, _ := backupsIn(dir) // a directory that can't be read has none to offer
	for _, name := range slices.Backward(names) {
		if path := filepath.Join(dir, name); strings.HasSuffix(name, ".db") && verify(path) == nil {
			return path
		}
	}
	return ""
}

// backupsIn returns the names of all backups, oldest first.
func backupsIn(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir) // sorted by name, so by time
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), backupPrefix) && len(e.Name()) > len(backupPrefix+backupTime) {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// reason is what follows the time in a backup's name.
func reason(name string) string { return name[len(backupPrefix+backupTime):] }
