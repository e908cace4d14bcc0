package link

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Remotes are the entries by which the host reaches what of a VXLAN segment is on
// other hosts. A MAC address has one in the VXLAN's forwarding database, with the
// host that it is behind, and one in that of the bridge, with the VXLAN's port. An
// IP address has a permanent one in the neighbour table of the bridge, which
// answers ARP and neighbour solicitations from there (neigh_suppress, bridge(8)).
// The methods may be called concurrently.
type Remotes struct {
	vxlan, bridge string
	opts          Options
	write, list   *socket
	ioctl         int
	packet        int // a socket that receives nothing; to close one waits 20 ms for the kernel
}

// A MAC is an Ethernet address.
type MAC [6]byte

func (m MAC) String() string { return net.HardwareAddr(m[:]).String() }

// A RemoteMAC is a MAC address and the host that it is behind, by its address on
// the underlay.
type RemoteMAC struct {
	MAC  MAC
	Host netip.Addr
}

// A RemoteIP is an IP address of the segment and whose it is.
type RemoteIP struct {
	IP  netip.Addr
	MAC MAC
}

// Remotes opens the tables of a VXLAN and its bridge, which need not be there yet.
func (c *Conn) Remotes(namespace, vxlan, bridge string) (r *Remotes, err error) {
	s, done, err := c.in(namespace)
	if err != nil {
		return nil, fmt.Errorf("link: open tables of %s: %w", vxlan, err)
	}
	defer done()
	r = &Remotes{vxlan: vxlan, bridge: bridge, opts: c.opts, ioctl: -1, packet: -1}
	err = c.thread.in(s.ns, func() (err error) {
		if r.write, err = newSocket(); err != nil {
			return err
		}
		if r.list, err = newSocket(); err != nil {
			return err
		}
		if r.ioctl, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		r.packet, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		return err
	})
	if err != nil {
		r.Close()
		return nil, fmt.Errorf("link: open tables of %s: %w", vxlan, err)
	}
	return r, nil
}

// Close frees what Remotes opened. The entries stay.
func (r *Remotes) Close() {
	for _, k := range []*socket{r.write, r.list} {
		if k != nil {
			k.nl.Close()
		}
	}
	for _, fd := range []int{r.ioctl, r.packet} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// Links returns the indices of both links; unix.ENODEV if one isn't there. One
// that was made anew has another index, and no entries.
func (r *Remotes) Links() (vxlan, bridge int, err error) {
	s := space{ioctl: r.ioctl}
	if vxlan, err = s.index(r.vxlan); err == nil {
		bridge, err = s.index(r.bridge)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("link: %w", err)
	}
	return vxlan, bridge, nil
}

// Put makes entries, in place of those that there are: first all of MAC
// addresses, so that none is answered with that leads nowhere.
func (r *Remotes) Put(ctx context.Context, macs []RemoteMAC, ips []RemoteIP) error {
	if len(macs)+len(ips) == 0 {
		return nil
	}
	vxlan, bridge, err := r.Links()
	if err != nil {
		return err
	}
	r.opts.Step("link.remotes put")
	err = inParts(ctx, macs, func(part []RemoteMAC) error {
		reqs := make([]*nl.NetlinkRequest, len(part))
		for i, m := range part {
			reqs[i] = remoteMACRequest(vxlan, m)
		}
		return r.all(reqs, "put", func(i int) string { return part[i].MAC.String() + " behind " + part[i].Host.String() }, 0)
	})
	if err != nil {
		return err
	}
	return inParts(ctx, ips, func(part []RemoteIP) error {
		reqs := make([]*nl.NetlinkRequest, len(part))
		for i, n := range part {
			reqs[i] = neighbourRequest(unix.RTM_NEWNEIGH, replace, bridge, n.IP, n.MAC[:])
		}
		return r.all(reqs, "put", func(i int) string { return part[i].IP.String() + " at " + part[i].MAC.String() }, 0)
	})
}

// Remove takes entries away, if they are there: first those of IP addresses. The
// bridge's entry of a MAC address that is behind another port by now stays.
func (r *Remotes) Remove(ctx context.Context, macs []MAC, ips []netip.Addr) error {
	if len(macs)+len(ips) == 0 {
		return nil
	}
	vxlan, bridge, err := r.Links()
	if errors.Is(err, unix.ENODEV) {
		return nil // gone with their links
	}
	if err != nil {
		return err
	}
	r.opts.Step("link.remotes remove")
	err = inParts(ctx, ips, func(part []netip.Addr) error {
		reqs := make([]*nl.NetlinkRequest, len(part))
		for i, ip := range part {
			reqs[i] = neighbourRequest(unix.RTM_DELNEIGH, 0, bridge, ip, nil)
		}
		return r.all(reqs, "remove", func(i int) string { return part[i].String() }, unix.ENOENT)
	})
	if err != nil {
		return err
	}
	return inParts(ctx, macs, func(part []MAC) error {
		var reqs []*nl.NetlinkRequest
		for _, m := range part {
			for _, table := range []uint8{unix.NTF_SELF, unix.NTF_MASTER} { // together, one's ENOENT would keep the other
				req := nl.NewNetlinkRequest(unix.RTM_DELNEIGH, 0)
				req.AddData(&netlink.Ndmsg{Family: unix.AF_BRIDGE, Index: uint32(vxlan), Flags: table})
				req.AddData(attr(unix.NDA_LLADDR, m[:]))
				reqs = append(reqs, req)
			}
		}
		return r.all(reqs, "remove", func(i int) string { return part[i/2].String() }, unix.ENOENT)
	})
}

// Announce tells the containers of this host that an address has another MAC
// address now: see Conn.Announce. Nobody else hears it, since the VXLAN's port gets
// no broadcasts.
func (r *Remotes) Announce(n RemoteIP) error {
	_, bridge, err := r.Links()
	if err == nil {
		err = announce(r.packet, bridge, n.MAC[:], n.IP)
	}
	if err != nil {
		return fmt.Errorf("link: announce %s on %s: %w", n.IP, r.bridge, err)
	}
	return nil
}

// remoteMACRequest asks for the entries of a MAC address in both forwarding
// databases. NUD_NOARP is "static" to both; the VXLAN wants NUD_REACHABLE as well.
func remoteMACRequest(vxlan int, m RemoteMAC) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(unix.RTM_NEWNEIGH, replace)
	req.AddData(&netlink.Ndmsg{
		Family: unix.AF_BRIDGE, Index: uint32(vxlan), State: unix.NUD_NOARP | unix.NUD_REACHABLE, Flags: unix.NTF_SELF | unix.NTF_MASTER,
	})
	req.AddData(attr(unix.NDA_LLADDR, m.MAC[:]))
	req.AddData(attr(unix.NDA_DST, m.Host.AsSlice()))
	return req
}

// inParts calls f with the parts of a list, one after the other.
func inParts[T any](ctx context.Context, list []T, f func(part []T) error) error {
	for len(list) > 0 {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("link: %w", err)
		}
		n := min(len(list), maxBatch)
		if err := f(list[:n]); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}

// all sends requests, and says which were refused. One that was refused with
// ignore wasn't needed.
func (r *Remotes) all(reqs []*nl.NetlinkRequest, act string, name func(i int) string, ignore unix.Errno) error {
	var errs []error
	for i, reply := range r.write.do(reqs...) {
		if reply.err != nil && (ignore == 0 || !errors.Is(reply.err, ignore)) {
			errs = append(errs, fmt.Errorf("link: %s %s on %s: %w", act, name(i), r.vxlan, reply.err))
		}
	}
	return errors.Join(errs...)
}
