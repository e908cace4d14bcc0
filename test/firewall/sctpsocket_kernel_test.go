//go:build kernel

package firewall

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// socketSCTP returns a one-to-one socket (RFC 6458, section 4) in this thread's
// namespace, and addr as its calls want it.
func socketSCTP(addr netip.AddrPort) (fd int, sa unix.Sockaddr, err error) {
	family := unix.AF_INET6
	if addr.Addr().Is4() {
		family, sa = unix.AF_INET, &unix.SockaddrInet4{Addr: addr.Addr().As4(), Port: int(addr.Port())}
	} else {
		sa = &unix.SockaddrInet6{Addr: addr.Addr().As16(), Port: int(addr.Port())}
	}
	fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_SCTP)
	return fd, sa, err
}

// listenSCTP answers as serve does. Not every kernel has SCTP: only tests in the
// virtual machine (tag vm) call it.
func (n *namespace) listenSCTP(t testing.TB, address string) {
	t.Helper()
	var fd int
	var err error
	n.do(func() {
		var sa unix.Sockaddr
		if fd, sa, err = socketSCTP(netip.MustParseAddrPort(address)); err == nil {
			err = unix.Bind(fd, sa)
		}
		if err == nil {
			err = unix.Listen(fd, 16)
		}
	})
	if err != nil {
		t.Fatalf("%s: listen sctp %s: %v", n.name, address, err)
	}
	t.Cleanup(func() {
		_ = unix.Shutdown(fd, unix.SHUT_RDWR)
		unix.Close(fd)
	})
	go func() {
		for {
			c, from, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
			if err != nil {
				return
			}
			client := ""
			switch a := from.(type) {
			case *unix.SockaddrInet4:
				client = netip.AddrFrom4(a.Addr).String()
			case *unix.SockaddrInet6:
				client = netip.AddrFrom16(a.Addr).String()
			}
			_, _ = unix.Write(c, []byte(n.name+" "+client))
			_ = unix.Close(c)
		}
	}()
}

// connectSCTP is ask by the kernel's own SCTP, in this thread's namespace.
func connectSCTP(address string) string {
	fd, sa, err := socketSCTP(netip.MustParseAddrPort(address))
	if err != nil {
		return err.Error()
	}
	defer unix.Close(fd)
	wait := unix.NsecToTimeval(patience.Nanoseconds())
	for _, option := range []int{unix.SO_RCVTIMEO, unix.SO_SNDTIMEO} { // the latter is for connect(2), too
		if err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, option, &wait); err != nil {
			return err.Error()
		}
	}
	if unix.Connect(fd, sa) != nil {
		return ""
	}
	buf := make([]byte, 1500)
	k, err := unix.Read(fd, buf)
	if err != nil {
		return ""
	}
	return string(buf[:k])
}
