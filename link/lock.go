package link

import (
	"errors"
	"fmt"
	"io"
	"net"

	"golang.org/x/sys/unix"
)

// lockName is a socket in the abstract namespace, see unix(7): such names
// belong to a network namespace and are gone with the process.
const lockName = "@fairway-daemon"

// LockNamespace makes the caller's process the only fairway daemon in the
// network namespace of the calling thread, until what it returns is closed.
func LockNamespace() (io.Closer, error) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: lockName, Net: "unix"})
	if errors.Is(err, unix.EADDRINUSE) {
		return nil, fmt.Errorf("link: another fairway daemon runs in this network namespace (it holds the socket %s): %w", lockName, unix.EADDRINUSE)
	}
	if err != nil {
		return nil, fmt.Errorf("link: lock network namespace: %w", err)
	}
	return l, nil
}
