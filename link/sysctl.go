package link

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	conf4Dir = "net/ipv4/conf/"
	conf6Dir = "net/ipv6/conf/"
)

// sysctl opens a file below /proc/sys of a namespace. Which namespace the files
// there belong to depends on the thread that opens them, except below a
// directory that is open already: settings of single links are reached like
// that from any thread.
func (c *Conn) sysctl(s *space, path string, flags int) (fd int, err error) {
	if !filepath.IsLocal(path) {
		return -1, fmt.Errorf("sysctl %q: %w", path, unix.EINVAL)
	}
	openat := func(dir int, path string) error {
		return eintr(func() error {
			fd, err = unix.Openat(dir, path, flags|unix.O_CLOEXEC, 0)
			return err
		})
	}
	if rest, ok := strings.CutPrefix(path, conf4Dir); ok {
		err = openat(int(s.conf4.Fd()), rest)
	} else if rest, ok := strings.CutPrefix(path, conf6Dir); ok && s.conf6 == nil {
		err = unix.ENOENT
	} else if ok {
		err = openat(int(s.conf6.Fd()), rest)
	} else {
		err = c.thread.in(s.ns, func() error { return openat(unix.AT_FDCWD, "/proc/sys/"+path) })
	}
	if err != nil {
		return -1, fmt.Errorf("sysctl %s: %w", path, err)
	}
	return fd, nil
}

// Sysctl returns the value of a file below /proc/sys of a namespace, without
// white space around it; unix.ENOENT if there is none.
func (c *Conn) Sysctl(_ context.Context, namespace, path string) (string, error) {
	s, done, err := c.in(namespace)
	if err != nil {
		return "", fmt.Errorf("link: read sysctl %s: %w", path, err)
	}
	defer done()
	value, err := c.readSysctl(s, path)
	if err != nil {
		return "", fmt.Errorf("link: read: %w", err)
	}
	return value, nil
}

func (c *Conn) readSysctl(s *space, path string) (string, error) {
	fd, err := c.sysctl(s, path, unix.O_RDONLY)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	var b [1024]byte
	n, err := unix.Read(fd, b[:])
	if err != nil {
		return "", fmt.Errorf("sysctl %s: read: %w", path, err)
	}
	return strings.TrimSpace(string(b[:n])), nil
}

func (c *Conn) writeSysctl(s *space, path, value string) error {
	fd, err := c.sysctl(s, path, unix.O_WRONLY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	// Where a write needs the kernel's lock for links and finds it taken, the
	// thread spins until it gets it (restart_syscall in net/ipv6/addrconf.c): so
	// not beside our own requests.
	s.fast.mu.Lock()
	defer s.fast.mu.Unlock()
	if _, err := unix.Write(fd, []byte(value)); err != nil {
		return fmt.Errorf("sysctl %s: write %s: %w", path, value, err)
	}
	return nil
}

// noInet6 keeps the host's end of a pair from speaking IPv6. A link that can't
// carry IPv6 (no IPv6 in the kernel, MTU below 1280) has no such setting and
// needs none.
func (c *Conn) noInet6(s *space, link string) error {
	return c.setInet6(s, link, "disable_ipv6", "1")
}

// bridgeInet6 settles what a bridge has to do with IPv6.
func (c *Conn) bridgeInet6(s *space, b Bridge) error {
	disable := "1"
	if b.IPv6 {
		disable = "0"
	}
	return errors.Join(c.setInet6(s, b.Name, "accept_ra", "0"), c.setInet6(s, b.Name, "disable_ipv6", disable))
}

func (c *Conn) setInet6(s *space, link, name, value string) error {
	err := c.writeSysctl(s, conf6Dir+link+"/"+name, value)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}
