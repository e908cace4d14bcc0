package nat

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// A Conflict is a port that somebody else has. It is ErrAllocated.
type Conflict struct {
	Proto  uint8
	HostIP netip.Addr
	Port   uint16
	// Owner is the one of Ports that has it; "" if a socket that isn't ours
	// does: see FindHolder.
	Owner string
}

// Error words it as Docker does.
func (c *Conflict) Error() string {
	return fmt.Sprintf("Bind for %s:%d failed: %v", c.HostIP, c.Port, ErrAllocated)
}

// Unwrap makes it ErrAllocated.
func (c *Conflict) Unwrap() error { return ErrAllocated }

// conflictOf returns that owner has k.
func conflictOf(k key, owner string) *Conflict {
	return &Conflict{Proto: k.proto, HostIP: k.ip, Port: k.port, Owner: owner}
}

// bindError words a refusal as Docker does.
func bindError(k key, err error) error {
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return conflictOf(k, "")
	case errors.Is(err, unix.EMFILE):
		err = fmt.Errorf("%w: %s; each port takes one: raise LimitNOFILE of fairway's unit", err, fileLimit())
	}
	return fmt.Errorf("Bind for %s:%d failed: %w", k.ip, k.port, err) //nolint:staticcheck // Docker's words
}

// fileLimit says how many files the process may have open. Go has raised the
// soft limit to the hard one when the process began.
func fileLimit() string {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return "the daemon's limit is unknown"
	}
	return fmt.Sprintf("the daemon's limit is %d", l.Cur)
}
