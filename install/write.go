package install

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Write writes files below root, which is "/" for the host itself, and returns
// the paths of those that were not there with this content. Each is whole or as
// it was before.
func Write(root string, files []File) (changed []string, err error) {
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	for _, f := range files {
		to := filepath.Join(root, f.Path)
		have, err := os.ReadFile(to)
		if err == nil && (f.Settings || bytes.Equal(have, f.Text)) {
			continue
		}
		if err := put(to, bytes.NewReader(f.Text), f.Mode); err != nil {
			return changed, fmt.Errorf("install: write %w", err)
		}
		changed = append(changed, f.Path)
	}
	return changed, nil
}

// Copy copies the program at from to a path below root, and reports whether it
// was another one.
func Copy(root, path, from string) (changed bool, err error) {
	to := filepath.Join(root, path)
	if same(from, to) {
		return false, nil
	}
	f, err := os.Open(from)
	if err != nil {
		return false, fmt.Errorf("install: read %w", err)
	}
	defer f.Close()
	if err := put(to, f, 0o755); err != nil { // by renaming: a program that runs can't be written
		return false, fmt.Errorf("install: write %w", err)
	}
	return true, nil
}

func same(a, b string) bool {
	x, errX := os.Open(a)
	if errX != nil {
		return false
	}
	defer x.Close()
	y, errY := os.Open(b)
	if errY != nil {
		return false
	}
	defer y.Close()
	p, q := make([]byte, 1<<16), make([]byte, 1<<16)
	for {
		n, e := io.ReadFull(x, p)
		m, f := io.ReadFull(y, q)
		if n != m || !bytes.Equal(p[:n], q[:m]) {
			return false
		}
		if e != nil || f != nil {
			return e != nil && f != nil
		}
	}
}

// put writes a file beside its place and moves it there.
func put(to string, from io.Reader, mode fs.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(to), ".fairway-")
	if err != nil {
		return err
	}
	_, err = io.Copy(f, from)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), to)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// Remove removes files below root, the directories that are empty then and no
// part of every host, and returns what was there. Settings stay unless purge.
func Remove(root string, files []File, purge bool) (removed []string, err error) {
	var errs []error
	for _, f := range files {
		if f.Settings && !purge {
			continue
		}
		switch err := os.Remove(filepath.Join(root, f.Path)); {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			errs = append(errs, fmt.Errorf("install: %w", err))
			continue
		}
		removed = append(removed, f.Path)
		for dir := filepath.Dir(f.Path); !everywhere(dir); dir = filepath.Dir(dir) {
			if os.Remove(filepath.Join(root, dir)) != nil {
				break // others have files there
			}
		}
	}
	slices.Sort(removed)
	return removed, errors.Join(errs...)
}

// everywhere reports whether a directory is part of every host with systemd: by
// FHS 3.0, and systemd's own.
func everywhere(dir string) bool {
	switch dir {
	case "/", "/etc", "/etc/default", "/etc/sysconfig", "/etc/sysctl.d", "/etc/modules-load.d", "/etc/systemd", "/etc/systemd/network", "/etc/systemd/system",
		"/usr", "/usr/bin", "/usr/lib", "/usr/share", "/usr/local", "/usr/local/bin", "/usr/local/lib", "/usr/local/share", "/usr/local/share/man":
		return true
	}
	return strings.HasPrefix(dir, "/usr/lib/") || strings.HasPrefix(dir, "/usr/share/") && !strings.Contains(dir, "fairway")
}
