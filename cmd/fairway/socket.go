package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
)

// listen opens the socket at path for this user only. A socket there that
// nobody serves is removed; one that somebody serves is an error.
func listen(path string) (*net.UnixListener, error) {
	dir := filepath.Dir(path)
	if err := makeSocketDir(dir); err != nil {
		return nil, fmt.Errorf("socket %s: %w", path, err)
	}
	// Two daemons that start at once must not remove each other's new socket.
	unlock, err := lockDir(dir)
	if err != nil {
		return nil, fmt.Errorf("socket %s: lock directory: %w", path, err)
	}
	defer unlock()
	if err := removeStale(path); err != nil {
		return nil, fmt.Errorf("socket %s: %w", path, err)
	}
	// The file takes the mode of the socket that is bound to it, so there is no
	// moment at which others can connect. See unix_bind in net/unix/af_unix.c.
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var mode error
		if err := c.Control(func(fd uintptr) { mode = unix.Fchmod(int(fd), 0o600) }); err != nil {
			return err
		}
		return mode
	}}
	l, err := lc.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, fmt.Errorf("socket %s: %w", path, kernelWord(err))
	}
	return l.(*net.UnixListener), nil
}

// makeSocketDir makes dir where it is missing and refuses one where others
// could put a socket of their own in place of ours.
func makeSocketDir(dir string) error {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		return os.Chmod(dir, 0o755) // whatever the umask: dockerd looks in here
	}
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is no directory", dir)
	}
	if info.Mode().Perm()&0o002 != 0 && info.Mode()&fs.ModeSticky == 0 {
		return fmt.Errorf("directory %s is writable by everybody: want mode 0755", dir)
	}
	return nil
}

func lockDir(dir string) (unlock func(), err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(d.Fd()), unix.LOCK_EX); err != nil {
		_ = d.Close()
		return nil, err
	}
	return func() { _ = d.Close() }, nil
}

// patience is how long a socket is looked at that somebody seems to serve.
const patience = 500 * time.Millisecond

// removeStale removes the socket that a killed daemon left at path.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return errors.New("a file that is no socket is in the way: remove it")
	}
	var c net.Conn
	// A killed daemon's child holds the socket until it has become the program
	// that it is to run.
	for end := time.Now().Add(patience); ; time.Sleep(patience / 20) {
		c, err = net.DialTimeout("unix", path, time.Second)
		if err != nil || time.Now().After(end) {
			break
		}
		_ = c.Close()
	}
	switch {
	case err == nil:
		_ = c.Close()
		return errors.New("in use: another daemon serves it; stop that one, or give this one its own --socket, --admin-socket and --state-dir")
	case errors.Is(err, unix.ECONNREFUSED):
		return os.Remove(path)
	case errors.Is(err, fs.ErrNotExist):
		return nil
	}
	return fmt.Errorf("in use: %w", kernelWord(err))
}

// kernelWord strips from err the ways it came.
func kernelWord(err error) error {
	var call *os.SyscallError
	if errors.As(err, &call) {
		return call.Err
	}
	return err
}

// A guarded listener only accepts peers of this user or root. The socket's mode
// keeps others out already; this holds when somebody loosened it.
type guarded struct {
	*net.UnixListener
	log logrus.FieldLogger
}

func (g guarded) Accept() (net.Conn, error) {
	for {
		c, err := g.AcceptUnix()
		if err != nil {
			return nil, err
		}
		cred, err := peer(c)
		if err == nil && (cred.Uid == 0 || int(cred.Uid) == os.Geteuid()) {
			return c, nil
		}
		l := g.log.WithField("socket", g.Addr().String())
		if err != nil {
			l.WithError(err).Warn("connection refused: its peer is not known")
		} else {
			l.WithFields(logrus.Fields{"uid": cred.Uid, "pid": cred.Pid}).Warn("connection refused: wrong user")
		}
		_ = c.Close()
	}
}

// peer returns who connected. See SO_PEERCRED in unix(7).
func peer(c *net.UnixConn) (cred *unix.Ucred, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	if e := raw.Control(func(fd uintptr) {
		cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); e != nil {
		return nil, e
	}
	return cred, err
}
