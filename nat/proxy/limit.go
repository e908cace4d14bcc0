package proxy

import (
	"cmp"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Limits are how much is carried at a time. What is more is refused: a
// connection is reset, a datagram dropped.
type Limits struct {
	Connections, ConnectionsPerPort int // tcp
	Sessions, SessionsPerPort       int // udp: client and port, until it is silent
}

// filesPerConnection is how many a connection opens: two sockets, and a pipe
// each way, by which the kernel moves the data (splice(2)).
const filesPerConnection = 6

// DefaultLimits returns 4,096 in all and 1,024 for each port, or less where the
// process may not open that many files: it has others to open.
func DefaultLimits() Limits {
	var files unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &files) != nil {
		files.Cur = 1024
	}
	return limitsFor(files.Cur)
}

// limitsFor returns the limits of a process that may open so many files:
// proxied connections take at most half of them, sessions a tenth.
func limitsFor(files uint64) Limits {
	connections := int(min(4096, files/2/filesPerConnection))
	sessions := int(min(4096, files/10))
	return Limits{
		Connections: connections, ConnectionsPerPort: max(1, min(1024, connections/2)),
		Sessions: sessions, SessionsPerPort: max(1, min(1024, sessions/2)),
	}
}

func (l Limits) or(d Limits) Limits {
	return Limits{
		cmp.Or(l.Connections, d.Connections), cmp.Or(l.ConnectionsPerPort, d.ConnectionsPerPort),
		cmp.Or(l.Sessions, d.Sessions), cmp.Or(l.SessionsPerPort, d.SessionsPerPort),
	}
}

// A limit counts what there may be at most so many of.
type limit struct {
	most int
	n    atomic.Int64
}

// take counts one more, if it may be.
func (l *limit) take() bool {
	if l.n.Add(1) > int64(l.most) {
		l.n.Add(-1)
		return false
	}
	return true
}

func (l *limit) give() { l.n.Add(-1) }
