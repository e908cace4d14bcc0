package store

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const lockName = "lock"

// A lock keeps other daemons out of a state directory. It holds the pid of its
// owner, so that a refusal can name it, and is empty after an orderly release.
type lock struct {
	f     *os.File
	stale string // pid of an owner that ended without a release; "" none
}

// lockDir takes the lock of a state directory, or returns an ErrInUse at once.
// The kernel frees it when the process ends, however it ends.
func lockDir(dir string) (*lock, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	text, _ := io.ReadAll(io.LimitReader(f, 32))
	pid := strings.TrimSpace(string(text))
	if _, e := strconv.Atoi(pid); e != nil {
		pid = ""
	}
	switch {
	case err == unix.EWOULDBLOCK && pid != "":
		err = fmt.Errorf("store: %s is %w (pid %s)", dir, ErrInUse, pid)
	case err == unix.EWOULDBLOCK:
		err = fmt.Errorf("store: %s is %w", dir, ErrInUse)
	case err != nil:
		err = fmt.Errorf("store: lock %s: %w", f.Name(), err)
	default:
		if err = rewrite(f, strconv.Itoa(os.Getpid())+"\n"); err == nil {
			return &lock{f, pid}, nil
		}
		err = fmt.Errorf("store: lock: %w", err)
	}
	f.Close()
	return nil, err
}

func (l *lock) release() error {
	err := rewrite(l.f, "")
	if e := l.f.Close(); err == nil {
		err = e
	}
	return err
}

func rewrite(f *os.File, text string) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(text), 0)
	return err
}
