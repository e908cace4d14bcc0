package link

import (
	"errors"
	"fmt"
	"io"
	"os"
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
func (c *Conn) sysctl(s *space, path string, flags int) (f *os.File, err error) {
	if !filepath.IsLocal(path) {
		return nil, fmt.Errorf("sysctl %q: %w", path, unix.EINVAL)
	}
	dir, rest := s.conf4, strings.TrimPrefix(path, conf4Dir)
	if r, ok := strings.CutPrefix(path, conf6Dir); ok {
		dir, rest = s.conf6, r
		if dir == nil {
			return nil, fmt.Errorf("sysctl %s: %w", path, unix.ENOENT)
		}
	}
	if len(rest) == len(path) {
		err = c.thread.in(s.ns, func() error {
			f, err = os.OpenFile("/proc/sys/"+path, flags, 0)
			return err
		})
		return f, err
	}
	var fd int
	err = eintr(func() error {
		fd, err = unix.Openat(int(dir.Fd()), rest, flags|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("sysctl %s: %w", path, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

func (c *Conn) readSysctl(s *space, path string) (string, error) {
	f, err := c.sysctl(s, path, os.O_RDONLY)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	return strings.TrimSpace(string(b)), err
}

func (c *Conn) writeSysctl(s *space, path, value string) error {
	f, err := c.sysctl(s, path, os.O_WRONLY)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
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
