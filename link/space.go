package link

import (
	"errors"
	"fmt"
	"os"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// A space is a network namespace, seen through files opened in it: they can be
// used from any thread.
type space struct {
	ns    netns.NsHandle
	fast  *socket         // what callers wait for
	slow  *socket         // what waits for the kernel: deletion of links
	list  *socket         // dumps
	dumps *netlink.Handle // dumps that netlink knows to read
	ioctl int             // a socket to ask for the index of a link
	// conf4 and conf6 are /proc/sys/net/ipv{4,6}/conf of the namespace; conf6
	// is nil where the kernel has no IPv6.
	conf4, conf6 *os.File
}

// openSpace opens the namespace of the calling thread, which is ns, and owns it
// from then on.
func openSpace(ns netns.NsHandle) (s *space, err error) {
	s = &space{ns: ns, ioctl: -1}
	defer func() {
		if err != nil {
			s.ns = netns.None() // still the caller's
			err = errors.Join(err, s.close())
			s = nil
		}
	}()
	for _, k := range []**socket{&s.fast, &s.slow, &s.list} {
		if *k, err = newSocket(); err != nil {
			return s, err
		}
	}
	if s.dumps, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return s, err
	}
	if s.ioctl, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return s, fmt.Errorf("socket: %w", err)
	}
	if s.conf4, err = os.Open("/proc/sys/net/ipv4/conf"); err != nil {
		return s, err
	}
	s.conf6, err = os.Open("/proc/sys/net/ipv6/conf")
	if errors.Is(err, os.ErrNotExist) {
		s.conf6, err = nil, nil
	}
	return s, err
}

func (s *space) close() error {
	for _, k := range []*socket{s.fast, s.slow, s.list} {
		if k != nil {
			k.nl.Close()
		}
	}
	if s.dumps != nil {
		s.dumps.Close()
	}
	if s.ioctl >= 0 {
		unix.Close(s.ioctl)
	}
	var errs []error
	for _, f := range []*os.File{s.conf4, s.conf6} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	if s.ns.IsOpen() {
		errs = append(errs, s.ns.Close())
	}
	return errors.Join(errs...)
}

// index returns the index of a link; unix.ENODEV if there is none. It takes no
// lock in the kernel that others wait for, see netdevice(7).
func (s *space) index(name string) (int, error) {
	req, err := unix.NewIfreq(name)
	if err != nil {
		return 0, fmt.Errorf("link %q: %w", name, err)
	}
	if err := unix.IoctlIfreq(s.ioctl, unix.SIOCGIFINDEX, req); err != nil {
		return 0, fmt.Errorf("link %s: %w", name, err)
	}
	return int(req.Uint32()), nil
}
