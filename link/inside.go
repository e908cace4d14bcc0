package link

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"

	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// SandboxAlive reports whether path is a network namespace.
func (c *Conn) SandboxAlive(path string) bool {
	var fs unix.Statfs_t
	return unix.Statfs(path, &fs) == nil && int64(fs.Type) == unix.NSFS_MAGIC
}

// vethInside makes a pair whose end in the sandbox was there before, and
// vanished with the pair: in the sandbox, as Docker had configured it. The
// host's end comes up last.
func (a *attempt) vethInside(s *space, v Veth, master int) error {
	ns, err := netns.GetFromPath(v.Sandbox)
	if err != nil {
		return fmt.Errorf("sandbox %s: %w", v.Sandbox, err)
	}
	var inside *space
	err = a.thread.in(ns, func() error {
		inside, err = openSpace(ns)
		return err
	})
	if err != nil {
		return errors.Join(fmt.Errorf("sandbox %s: %w", v.Sandbox, err), ns.Close())
	}
	defer inside.close()
	links, err := inside.links()
	if err != nil {
		return fmt.Errorf("sandbox %s: %w", v.Sandbox, err)
	}
	name := freeName(v.Inside.Prefix, links)
	if err := a.pair(s, v, master, name, int(ns)); err != nil {
		return err
	}
	if err := a.configure(inside, name, v.Alias, v.Inside); err != nil {
		return fmt.Errorf("sandbox %s: %s: %w", v.Sandbox, name, err)
	}
	return nil
}

// freeName returns the prefix with the lowest index that no link has.
func freeName(prefix string, links []linkState) string {
	taken := map[string]bool{}
	for _, l := range links {
		taken[l.name] = true
	}
	for i := 0; ; i++ {
		if name := prefix + strconv.Itoa(i); !taken[name] {
			return name
		}
	}
}

// configure makes an interface in a sandbox what Docker makes it, with a mark.
func (a *attempt) configure(inside *space, name, mark string, want Inside) error {
	index, err := inside.index(name)
	if err != nil {
		return err
	}
	disable := "1"
	for _, p := range want.Addresses {
		if p.Addr().Is6() {
			disable = "0"
		}
	}
	err = a.setInet6(inside, name, "disable_ipv6", disable)
	if err == nil {
		err = a.setAutoconf(inside, name, want.Autoconf)
	}
	if err != nil {
		return err
	}
	reqs := []*nl.NetlinkRequest{setLink(index, "", linkChange{alias: alias(mark), up: true})}
	for _, p := range want.Addresses {
		reqs = append(reqs, addressRequest(unix.RTM_NEWADDR, exclusive, index, p, false))
	}
	for _, r := range want.Routes {
		reqs = append(reqs, newRoute(index, r, want.Addresses))
	}
	for _, g := range want.Gateways {
		all := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
		if g.Is6() {
			all = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
		}
		reqs = append(reqs, newRoute(index, Route{all, g}, want.Addresses))
	}
	a.opts.Step("link.apply inside")
	var errs []error
	for _, r := range inside.fast.do(reqs...) {
		if !errors.Is(r.err, unix.EEXIST) { // a default route by another network stays
			errs = append(errs, r.err)
		}
	}
	return errors.Join(errs...)
}

// newRoute asks for a route in the main table. A next hop that is in none of
// the interface's subnets is on the link all the same.
func newRoute(index int, r Route, addresses []netip.Prefix) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(unix.RTM_NEWROUTE, exclusive)
	msg := nl.NewRtMsg()
	msg.Family, msg.Dst_len = uint8(family(r.Destination.Addr())), uint8(r.Destination.Bits())
	req.AddData(msg)
	if r.Destination.Bits() > 0 {
		req.AddData(attr(unix.RTA_DST, r.Destination.Masked().Addr().AsSlice()))
	}
	req.AddData(attr(unix.RTA_OIF, u32(index)))
	if !r.NextHop.IsValid() {
		msg.Scope = unix.RT_SCOPE_LINK
		return req
	}
	req.AddData(attr(unix.RTA_GATEWAY, r.NextHop.AsSlice()))
	for _, p := range addresses {
		if p.Contains(r.NextHop) {
			return req
		}
	}
	msg.Flags |= unix.RTNH_F_ONLINK
	return req
}
