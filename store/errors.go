package store

import (
	"errors"
	"fmt"
)

// What Open refuses, beside what the kernel refuses. Test with errors.Is.
var (
	// ErrInUse: another daemon holds the state directory.
	ErrInUse = errors.New("in use by another fairway daemon")
	// ErrDamaged: the file is not what any fairway has written.
	ErrDamaged = errors.New("the file is damaged")
	// ErrNewer: a later version of fairway has written the file.
	ErrNewer = errors.New("the file is of a newer fairway")
)

// ErrClosed is what a commit gets after Close.
var ErrClosed = errors.New("store: closed")

// damaged says what is wrong with a file, as an ErrDamaged.
func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrDamaged, fmt.Errorf(format, args...))
}

// newer says what of a file this version doesn't know, as an ErrNewer.
func newer(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrNewer, fmt.Errorf(format, args...))
}
