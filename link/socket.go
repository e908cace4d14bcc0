package link

import (
	"errors"
	"fmt"
	"sync"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// A socket speaks rtnetlink(7). Requests go out in batches: the kernel works on
// each message of a batch in turn, whatever became of the ones before.
type socket struct {
	nl  *nl.NetlinkSocket
	mu  sync.Mutex // a batch and its answers
	seq uint32
	buf []byte
	lib map[int]*nl.SocketHandle // nl, for requests that the library carries out
}

// A reply is what the kernel says to one request.
type reply struct {
	data []byte // of the message that was asked for, if any
	err  error
}

// newSocket opens a socket in the namespace of the calling thread.
func newSocket() (*socket, error) {
	s, err := nl.GetNetlinkSocketAt(netns.None(), netns.None(), unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	k := &socket{
		nl: s, buf: make([]byte, 32<<10),
		lib: map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: {Socket: s}},
	}
	// The kernel's own words in errors, without our request sent back.
	for _, opt := range []int{unix.NETLINK_EXT_ACK, unix.NETLINK_CAP_ACK} {
		if err := unix.SetsockoptInt(s.GetFd(), unix.SOL_NETLINK, opt, 1); err != nil {
			s.Close()
			return nil, fmt.Errorf("netlink: %w", err)
		}
	}
	return k, nil
}

// maxBatch is how many requests go out in one batch: others get their turn of
// the kernel's lock, and the answers fit into the socket's buffer.
const maxBatch = 32

// do sends requests and returns what became of each.
func (k *socket) do(reqs ...*nl.NetlinkRequest) []reply {
	replies := make([]reply, 0, len(reqs))
	for len(reqs) > 0 {
		n := min(len(reqs), maxBatch)
		replies = append(replies, k.batch(reqs[:n])...)
		reqs = reqs[n:]
	}
	return replies
}

// one sends one request and returns the message that it asked for.
func (k *socket) one(req *nl.NetlinkRequest) ([]byte, error) {
	r := k.batch([]*nl.NetlinkRequest{req})[0]
	return r.data, r.err
}

func (k *socket) batch(reqs []*nl.NetlinkRequest) []reply {
	k.mu.Lock()
	defer k.mu.Unlock()
	first := k.seq + 1
	var out []byte
	for _, r := range reqs {
		k.seq++
		r.Seq = k.seq
		r.Flags |= unix.NLM_F_ACK
		out = append(out, r.Serialize()...)
	}
	replies := make([]reply, len(reqs))
	if err := k.transfer(out, first, replies); err != nil {
		for i := range replies {
			replies[i].err = errors.Join(replies[i].err, err)
		}
	}
	return replies
}

// transfer sends and collects the answers. The kernel has answered by the time
// that it has taken a request, so nothing here waits for a message to come.
func (k *socket) transfer(out []byte, first uint32, replies []reply) error {
	fd := k.nl.GetFd()
	if err := eintr(func() error { return unix.Sendto(fd, out, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}) }); err != nil {
		return fmt.Errorf("netlink: send: %w", err)
	}
	for pending := len(replies); pending > 0; {
		var n int
		err := eintr(func() (err error) { n, _, err = unix.Recvfrom(fd, k.buf, 0); return err })
		if err != nil {
			return fmt.Errorf("netlink: receive: %w", err)
		}
		msgs, err := syscall.ParseNetlinkMessage(k.buf[:n])
		if err != nil {
			return fmt.Errorf("netlink: receive: %w", err)
		}
		for _, m := range msgs {
			i := int(int32(m.Header.Seq - first))
			if i < 0 || i >= len(replies) {
				continue // of a batch whose answers were lost
			}
			if m.Header.Type == unix.NLMSG_ERROR {
				replies[i].err = kernelError(m)
				pending--
			} else {
				replies[i].data = append([]byte(nil), m.Data...)
			}
		}
	}
	return nil
}

// dump sends one request for a list and returns its messages of one kind. With
// netlink.ErrDumpInterrupted the list is not to be trusted.
func (k *socket) dump(req *nl.NetlinkRequest, kind uint16) ([][]byte, error) {
	req.Sockets = k.lib
	return req.Execute(unix.NETLINK_ROUTE, kind)
}

func eintr(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// kernelError returns what an acknowledgement says: an errno, with the kernel's
// explanation where it gives one.
func kernelError(m syscall.NetlinkMessage) error {
	if len(m.Data) < 4 {
		return fmt.Errorf("netlink: short answer: %w", unix.EBADMSG)
	}
	code := int32(nl.NativeEndian().Uint32(m.Data))
	if code == 0 {
		return nil
	}
	err := error(unix.Errno(-code))
	const header = 4 + unix.SizeofNlMsghdr
	if m.Header.Flags&unix.NLM_F_ACK_TLVS == 0 || m.Header.Flags&unix.NLM_F_CAPPED == 0 || len(m.Data) < header {
		return err
	}
	_ = each(m.Data[header:], func(t uint16, v []byte) {
		if t == unix.NLMSGERR_ATTR_MSG {
			err = fmt.Errorf("%w (%s)", err, unix.ByteSliceToString(v))
		}
	})
	return err
}
