package dhcp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// A Socket sends and gets whole frames on one link: packet(7). It gets those to
// clients of DHCP only, whatever MAC address they are to: also those to the
// address of a macvlan on the link.
type Socket struct {
	file   *os.File
	fd     int
	mac    net.HardwareAddr
	local6 netip.Addr // the link's link-local address; invalid if it has none
	bridge bool
}

// Open opens a socket on a link of this thread's network namespace.
func Open(link string) (_ *Socket, err error) {
	fail := func(err error) (*Socket, error) { return nil, fmt.Errorf("parent %s: %w", link, err) }
	// Nothing comes in until it is bound: the filter is there before.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return fail(err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, unix.Close(fd))
		}
	}()
	program := filter()
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}); err != nil {
		return fail(err)
	}
	// Room for the answers to some thousand clients at once.
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 4<<20); err != nil {
		return fail(err)
	}
	ifr, err := unix.NewIfreq(link)
	if err != nil {
		return fail(unix.ENODEV)
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, ifr); err != nil {
		return fail(err)
	}
	index := int(ifr.Uint32())
	every := uint16(unix.ETH_P_ALL)
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: every<<8 | every>>8, Ifindex: index}); err != nil {
		return fail(err)
	}
	s := &Socket{fd: fd}
	if s.mac, s.local6, err = addresses(index); err != nil {
		return fail(err)
	}
	if info, err := unix.IoctlGetEthtoolDrvinfo(fd, link); err == nil {
		s.bridge = unix.ByteSliceToString(info.Driver[:]) == "bridge"
	}
	s.file = os.NewFile(uintptr(fd), "packet "+link)
	return s, nil
}

// addresses returns a link's MAC address and its IPv6 link-local address.
func addresses(index int) (net.HardwareAddr, netip.Addr, error) {
	link, err := net.InterfaceByIndex(index)
	if err != nil {
		return nil, netip.Addr{}, err
	}
	const ethernet = 6 // bytes of an address
	if len(link.HardwareAddr) != ethernet {
		return nil, netip.Addr{}, errors.New("has no Ethernet address")
	}
	all, err := link.Addrs()
	if err != nil {
		return nil, netip.Addr{}, err
	}
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is6() && p.Addr().IsLinkLocalUnicast() {
			return link.HardwareAddr, p.Addr(), nil
		}
	}
	return link.HardwareAddr, netip.Addr{}, nil
}

func (s *Socket) send(frame []byte) error {
	_, err := unix.Write(s.fd, frame)
	return err
}

// A parent is a link that a LAN is behind.
type parent struct {
	name   string
	socket *Socket
}

// parent returns the open parent of that name.
func (c *Client) parent(name string) (*parent, error) {
	if p := c.parents[name]; p != nil {
		return p, nil
	}
	s, err := c.open(name)
	if err != nil {
		return nil, err
	}
	p := &parent{name, s}
	c.parents[name] = p
	c.read.Add(1)
	go func() {
		defer c.read.Done()
		c.reader(p)
	}()
	return p, nil
}

// reader hands on what the socket gets, until it is closed or its link is gone.
func (c *Client) reader(p *parent) {
	buf := make([]byte, 2048) // no server's message is longer: option 57
	for {
		n, err := p.socket.file.Read(buf)
		if errors.Is(err, os.ErrClosed) {
			return
		}
		if err != nil {
			c.events <- received{parent: p, err: err}
			return
		}
		c.events <- received{parent: p, frame: append([]byte(nil), buf[:n]...)}
	}
}

// shut closes a parent's socket.
func (c *Client) shut(p *parent) {
	delete(c.parents, p.name)
	if err := p.socket.file.Close(); err != nil {
		c.log.WithField("parent", p.name).Warn(err)
	}
}

// send sends a session's message.
func (c *Client) send(s *session, k kind) error {
	p, err := c.parent(s.lease.Parent)
	if err != nil {
		return err
	}
	if p.socket.bridge && (k == renew || k == rebind) && !s.lease.Subnet.Addr().Is6() {
		k = verify // a bridge's host doesn't see what goes to its ports' addresses
	}
	if s.lease.Subnet.Addr().Is6() && !p.socket.local6.IsValid() { // it may have got one since
		c.shut(p)
		if p, err = c.parent(s.lease.Parent); err != nil {
			return err
		}
	}
	frame, err := s.frame(k, p.socket)
	if err != nil {
		return fmt.Errorf("parent %s: %w", p.name, err)
	}
	if err := p.socket.send(frame); err != nil {
		c.shut(p)
		return fmt.Errorf("parent %s: %w", p.name, err)
	}
	return nil
}
