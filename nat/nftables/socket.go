package nftables

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// buffer is how much one transaction may take: 10,000 ports are 1 MB.
const buffer = 32 << 20

func dial(opts ...nftables.ConnOption) (*nftables.Conn, error) {
	c, err := nftables.New(append(opts, nftables.WithSockOptions(
		func(c *netlink.Conn) error { return c.SetWriteBuffer(buffer) },
		func(c *netlink.Conn) error { return c.SetReadBuffer(buffer) },
	))...)
	if err != nil {
		return nil, fmt.Errorf("nftables: open netlink: %w", err)
	}
	return c, nil
}

// A socket lasts. The kernel knows the owner of a table by it.
type socket struct {
	*nftables.Conn
	raw  *netlink.Conn // the same, for what the library has no words for
	owns bool          // the table
}

func dialLasting() (*socket, error) {
	s := &socket{}
	var err error
	s.Conn, err = dial(nftables.AsLasting(), nftables.WithSockOptions(func(c *netlink.Conn) error {
		s.raw = c
		return nil
	}))
	return s, err
}

// transact sends messages as one transaction, and returns the first thing that
// the kernel has against it.
func (s *socket) transact(messages ...netlink.Message) error {
	all := make([]netlink.Message, 0, len(messages)+2)
	all = append(all, batchMessage(unix.NFNL_MSG_BATCH_BEGIN))
	all = append(all, messages...)
	all = append(all, batchMessage(unix.NFNL_MSG_BATCH_END))
	if _, err := s.raw.SendMessages(all); err != nil {
		return err
	}
	var refused error
	err := s.answers(func(b []byte) { refused = cmp.Or(refused, refusal(b)) })
	return cmp.Or(err, refused)
}

// drain drops what waits in the socket.
func (s *socket) drain() error { return s.answers(func([]byte) {}) }

// answers reads what waits in the socket. The kernel has answered when sending
// is over.
func (s *socket) answers(each func([]byte)) error {
	conn, err := s.raw.SyscallConn()
	if err != nil {
		return err
	}
	b := make([]byte, 64<<10)
	var failed error
	err = conn.Control(func(fd uintptr) {
		for {
			n, _, err := unix.Recvfrom(int(fd), b, unix.MSG_DONTWAIT)
			switch {
			case err == nil:
				each(b[:n])
			case errors.Is(err, unix.EAGAIN):
				return
			case !errors.Is(err, unix.EINTR):
				failed = err
				return
			}
		}
	})
	return cmp.Or(failed, err)
}

// refusal returns the error that answers contain, if any (netlink(7), struct
// nlmsgerr).
func refusal(b []byte) error {
	for len(b) >= unix.NLMSG_HDRLEN {
		length := int(binary.NativeEndian.Uint32(b))
		if length < unix.NLMSG_HDRLEN || length > len(b) {
			return unix.EBADMSG
		}
		if binary.NativeEndian.Uint16(b[4:]) == unix.NLMSG_ERROR && length >= unix.NLMSG_HDRLEN+4 {
			if errno := int32(binary.NativeEndian.Uint32(b[unix.NLMSG_HDRLEN:])); errno != 0 {
				return unix.Errno(-errno)
			}
		}
		b = b[min(len(b), (length+3)&^3):]
	}
	return nil
}

func batchMessage(kind netlink.HeaderType) netlink.Message {
	return netlink.Message{
		Header: netlink.Header{Type: kind, Flags: netlink.Request},
		Data:   nfgenmsg(unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES),
	}
}

// nfgenmsg is the struct of that name (linux/netfilter/nfnetlink.h).
func nfgenmsg(family byte, res uint16) []byte {
	return binary.BigEndian.AppendUint16([]byte{family, unix.NFNETLINK_V0}, res)
}
