package link

import (
	"context"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// What carries frames for many, of a bridge and a VXLAN that is its port. The bridge
// asks who wants which group, and hands on by the answers (IGMP and MLD snooping,
// RFC 4541). The answers of other hosts' containers come by the VXLAN, since that
// counts as leading to a router: it gets all reports and all frames.

// snoopState is what of that a bridge does not do. What a kernel without snooping
// says nothing of isn't there.
type snoopState struct{ deaf, mute bool }

func (s *snoopState) parse(t uint16, v []byte) {
	switch t {
	case unix.IFLA_BR_MCAST_SNOOPING:
		s.deaf = number(v) == 0
	case unix.IFLA_BR_MCAST_QUERIER:
		s.mute = number(v) == 0
	}
}

// groupState is what a port does with frames for many: it gets those of groups that
// nobody is known to be in, and broadcasts; and it doesn't get all.
type groupState struct{ multicast, broadcast, someOnly bool }

// routerAlways is MDB_RTR_TYPE_PERM of linux/if_bridge.h.
const routerAlways = 2

func (g *groupState) parse(t uint16, v []byte) {
	switch t {
	case unix.IFLA_BRPORT_MCAST_FLOOD:
		g.multicast = number(v) != 0
	case unix.IFLA_BRPORT_BCAST_FLOOD:
		g.broadcast = number(v) != 0
	case unix.IFLA_BRPORT_MULTICAST_ROUTER:
		g.someOnly = number(v) != routerAlways
	}
}

// groups adds how the port of a VXLAN treats frames for many otherwise than wanted.
func (d *differences) groups(v VXLAN, g groupState) {
	d.add(!v.Multicast && (g.multicast || g.broadcast), "its port flooded")
	d.add(v.Multicast && !(g.multicast && g.broadcast), "its port kept back frames for many")
	d.add(v.Multicast && g.someOnly, "its port was none of a multicast router")
}

// carryGroups asks for a VXLAN's port to get frames for many.
func carryGroups(index int) *nl.NetlinkRequest {
	req, _ := linkRequest(unix.RTM_NEWLINK, 0, index)
	info := attr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_SLAVE_KIND, []byte("bridge"))
	data := info.AddRtAttr(nl.IFLA_INFO_SLAVE_DATA, nil)
	data.AddRtAttr(unix.IFLA_BRPORT_MCAST_FLOOD, u8(true))
	data.AddRtAttr(unix.IFLA_BRPORT_BCAST_FLOOD, u8(true))
	data.AddRtAttr(unix.IFLA_BRPORT_MULTICAST_ROUTER, []byte{routerAlways})
	req.AddData(info)
	return req
}

// askGroups asks for a bridge, by its index or name, to find out who wants which
// group. Answers are due within a second in place of ten, which is also how long
// all hear all at first; it asks again after two in place of 31, when its IPv6
// address is of use.
func askGroups(index int, name string) []*nl.NetlinkRequest {
	ask := func(set func(data *nl.RtAttr)) *nl.NetlinkRequest {
		req, _ := linkRequest(unix.RTM_NEWLINK, 0, index)
		if index == 0 {
			req.AddData(attr(unix.IFLA_IFNAME, text(name)))
		}
		info, data := bridgeInfo()
		set(data)
		req.AddData(info)
		return req
	}
	const second = 100 // USER_HZ
	return []*nl.NetlinkRequest{
		ask(func(data *nl.RtAttr) { // first: the querier takes it as it is then
			data.AddRtAttr(unix.IFLA_BR_MCAST_SNOOPING, u8(true))
			data.AddRtAttr(unix.IFLA_BR_MCAST_QUERY_RESPONSE_INTVL, nl.Uint64Attr(second))
			data.AddRtAttr(unix.IFLA_BR_MCAST_STARTUP_QUERY_INTVL, nl.Uint64Attr(2*second))
		}),
		ask(func(data *nl.RtAttr) { data.AddRtAttr(unix.IFLA_BR_MCAST_QUERIER, u8(true)) }),
	}
}

// snoop has a bridge ask for groups, if it is to.
func (a *attempt) snoop(b Bridge, index int) {
	if !b.Multicast {
		return
	}
	for _, req := range askGroups(index, b.Name) {
		a.later(b, req, nil)
	}
}

// Flood has frames for many, which a bridge hands to the VXLAN, sent to hosts, each
// its copy; and to others no longer.
func (r *Remotes) Flood(ctx context.Context, put, drop []netip.Addr) error {
	if len(put)+len(drop) == 0 {
		return nil
	}
	vxlan, _, err := r.Links()
	if err != nil {
		return err
	}
	r.opts.Step("link.remotes flood")
	err = inParts(ctx, put, func(part []netip.Addr) error {
		reqs := make([]*nl.NetlinkRequest, len(part))
		for i, host := range part {
			reqs[i] = floodRequest(unix.RTM_NEWNEIGH, unix.NLM_F_CREATE|unix.NLM_F_APPEND, vxlan, host)
		}
		return r.all(reqs, "put", func(i int) string { return "copies to " + part[i].String() }, 0)
	})
	if err != nil {
		return err
	}
	return inParts(ctx, drop, func(part []netip.Addr) error {
		reqs := make([]*nl.NetlinkRequest, len(part))
		for i, host := range part {
			reqs[i] = floodRequest(unix.RTM_DELNEIGH, 0, vxlan, host)
		}
		return r.all(reqs, "remove", func(i int) string { return "copies to " + part[i].String() }, unix.ENOENT)
	})
}

// floodRequest is about one of a VXLAN's default destinations: entries of the
// address 0 (Documentation/networking/vxlan.rst).
func floodRequest(kind, flags, vxlan int, host netip.Addr) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(kind, flags)
	req.AddData(&netlink.Ndmsg{Family: unix.AF_BRIDGE, Index: uint32(vxlan), State: unix.NUD_NOARP | unix.NUD_PERMANENT, Flags: unix.NTF_SELF})
	req.AddData(attr(unix.NDA_LLADDR, make([]byte, len(MAC{}))))
	req.AddData(attr(unix.NDA_DST, host.AsSlice()))
	return req
}
