package link

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
)

// lockName is a socket in the abstract namespace, see unix(7): such names
// belong to a network namespace and are gone with the process.
const lockName = "@fairway-daemon"

// LockNamespace makes the caller's process the only fairway daemon in the
// network namespace of the calling thread, until what it returns is closed.
//
// Anybody may take such a name. A user who has it is no daemon and keeps none
// from starting: then there is no lock, and the log says so.
func LockNamespace(log logrus.FieldLogger) (io.Closer, error) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: lockName, Net: "unix"})
	if err == nil {
		return l, nil
	}
	if !errors.Is(err, unix.EADDRINUSE) {
		return nil, fmt.Errorf("link: lock network namespace: %w", err)
	}
	holder, err := lockHolder()
	if err == nil && holder.Uid != 0 && int(holder.Uid) != os.Geteuid() {
		log.WithFields(logrus.Fields{"uid": holder.Uid, "pid": holder.Pid}).Warnf(
			"link: the socket %s is taken by a user's process: another daemon in this network namespace would not be noticed", lockName)
		return noLock{}, nil
	}
	who := "it"
	if err == nil {
		who = fmt.Sprintf("process %d", holder.Pid)
	}
	return nil, fmt.Errorf("link: another fairway daemon runs in this network namespace (%s holds the socket %s): %w", who, lockName, unix.EADDRINUSE)
}

type noLock struct{}

// Close implements io.Closer.
func (noLock) Close() error { return nil }

// lockHolder returns who listens at the name: see unix(7), SO_PEERCRED.
func lockHolder() (cred *unix.Ucred, err error) {
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: lockName, Net: "unix"})
	if err != nil {
		return nil, err
	}
	defer c.Close()
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
