package link

import (
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// The requests of rtnetlink(7) that this package makes, each a pure function.

const (
	exclusive = unix.NLM_F_CREATE | unix.NLM_F_EXCL
	replace   = unix.NLM_F_CREATE | unix.NLM_F_REPLACE

	vethInfoPeer = 1      // VETH_INFO_PEER, linux/veth.h
	skipStats    = 1 << 3 // RTEXT_FILTER_SKIP_STATS, linux/rtnetlink.h
	fdbSticky    = 1 << 6 // NTF_STICKY, linux/neighbour.h
)

func linkRequest(kind, flags, index int) (*nl.NetlinkRequest, *nl.IfInfomsg) {
	req := nl.NewNetlinkRequest(kind, flags)
	info := nl.NewIfInfomsg(unix.AF_UNSPEC)
	info.Index = int32(index)
	req.AddData(info)
	return req, info
}

func text(s string) []byte               { return nl.ZeroTerminated(s) }
func u8(b bool) []byte                   { return []byte{map[bool]byte{true: 1}[b]} }
func u32(n int) []byte                   { return nl.Uint32Attr(uint32(n)) }
func attr(t int, data []byte) *nl.RtAttr { return nl.NewRtAttr(t, data) }

// newVeth asks for a pair that is down, with its host end a port of a bridge.
// One queue each way, where the kernel's default is one per possible CPU: half
// the time, and a sixth of the memory on a large host.
//
// The host end's address is none that a bridge without an address of its own
// would take for its own: it takes the lowest of its ports'.
func newVeth(v Veth, master int, group uint32, peer string, peerNS int) *nl.NetlinkRequest {
	req, _ := linkRequest(unix.RTM_NEWLINK, exclusive, 0)
	mac := RandomMAC()
	mac[0] = 0xfe
	for _, a := range vethEnd(v.MTU, v.Name, mac, group) {
		req.AddData(a)
	}
	req.AddData(attr(unix.IFLA_MASTER, u32(master)))
	info := attr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, []byte("veth"))
	other := info.AddRtAttr(nl.IFLA_INFO_DATA, nil).AddRtAttr(vethInfoPeer, nil)
	nl.NewIfInfomsgChild(other, unix.AF_UNSPEC)
	for _, a := range vethEnd(v.peerMTU(), peer, v.PeerMAC, group) {
		other.AddChild(a)
	}
	if peerNS >= 0 {
		other.AddRtAttr(unix.IFLA_NET_NS_FD, u32(peerNS))
	}
	req.AddData(info)
	return req
}

func vethEnd(mtu int, name string, mac net.HardwareAddr, group uint32) []*nl.RtAttr {
	out := []*nl.RtAttr{
		attr(unix.IFLA_IFNAME, text(name)),
		attr(unix.IFLA_NUM_TX_QUEUES, u32(1)),
		attr(unix.IFLA_NUM_RX_QUEUES, u32(1)),
		attr(unix.IFLA_GROUP, u32(int(group))),
	}
	if len(mac) > 0 {
		out = append(out, attr(unix.IFLA_ADDRESS, mac))
	}
	if mtu > 0 {
		out = append(out, attr(unix.IFLA_MTU, u32(mtu)))
	}
	return out
}

// A portFlag is one of a port of a bridge: bridge(8).
type portFlag struct {
	attribute int // IFLA_BRPORT_*, linux/if_link.h
	on        bool
}

// portFlags are those of its host end's port.
func (v Veth) portFlags() []portFlag {
	return []portFlag{
		{unix.IFLA_BRPORT_LEARNING, v.Learning},
		{unix.IFLA_BRPORT_ISOLATED, v.Isolated},
		{unix.IFLA_BRPORT_MODE, v.Hairpin},
		{unix.IFLA_BRPORT_GUARD, true},
	}
}

// setPort asks for a port's mark and its flags, which count from before it comes
// up.
func setPort(index int, mark string, flags []portFlag) *nl.NetlinkRequest {
	req, info := linkRequest(unix.RTM_NEWLINK, 0, index)
	info.Flags, info.Change = unix.IFF_UP, unix.IFF_UP
	req.AddData(attr(unix.IFLA_IFALIAS, []byte(alias(mark))))
	li := attr(unix.IFLA_LINKINFO, nil)
	li.AddRtAttr(nl.IFLA_INFO_SLAVE_KIND, []byte("bridge"))
	data := li.AddRtAttr(nl.IFLA_INFO_SLAVE_DATA, nil)
	for _, f := range flags {
		data.AddRtAttr(f.attribute, u8(f.on))
	}
	req.AddData(li)
	return req
}

// A linkChange is what setLink changes; what is zero stays as it is.
type linkChange struct {
	alias  string
	mac    net.HardwareAddr
	mtu    int
	master int
	group  uint32
	up     bool
}

// setLink changes a link, which is named by its index or, if that is 0, by its
// name.
func setLink(index int, name string, c linkChange) *nl.NetlinkRequest {
	req, info := linkRequest(unix.RTM_SETLINK, 0, index)
	if index == 0 {
		req.AddData(attr(unix.IFLA_IFNAME, text(name)))
	}
	if c.up {
		info.Flags, info.Change = unix.IFF_UP, unix.IFF_UP
	}
	if c.alias != "" {
		req.AddData(attr(unix.IFLA_IFALIAS, []byte(c.alias)))
	}
	if len(c.mac) > 0 {
		req.AddData(attr(unix.IFLA_ADDRESS, c.mac))
	}
	if c.mtu > 0 {
		req.AddData(attr(unix.IFLA_MTU, u32(c.mtu)))
	}
	if c.master > 0 {
		req.AddData(attr(unix.IFLA_MASTER, u32(c.master)))
	}
	if c.group > 0 {
		req.AddData(attr(unix.IFLA_GROUP, u32(int(c.group))))
	}
	return req
}

// newBridge asks for a bridge that is down. Its MTU is set afterwards: only
// then do ports that come and go leave it alone.
func newBridge(b Bridge, group uint32) *nl.NetlinkRequest {
	req, _ := linkRequest(unix.RTM_NEWLINK, exclusive, 0)
	req.AddData(attr(unix.IFLA_IFNAME, text(b.Name)))
	req.AddData(attr(unix.IFLA_GROUP, u32(int(group))))
	if len(b.MAC) > 0 {
		req.AddData(attr(unix.IFLA_ADDRESS, b.MAC))
	}
	info, data := bridgeInfo()
	data.AddRtAttr(unix.IFLA_BR_FORWARD_DELAY, u32(0))
	data.AddRtAttr(unix.IFLA_BR_STP_STATE, u32(0))
	req.AddData(info)
	return req
}

// setBridge asks a bridge that is there for what newBridge asks for. Spanning
// tree goes first: with it, the kernel wants a delay of two seconds at least.
func setBridge(l linkState) []*nl.NetlinkRequest {
	off, _ := linkRequest(unix.RTM_NEWLINK, 0, l.index)
	info, data := bridgeInfo()
	data.AddRtAttr(unix.IFLA_BR_STP_STATE, u32(0))
	if l.bridge != nil && l.bridge.vlan { // a kernel without it refuses to hear of it
		data.AddRtAttr(unix.IFLA_BR_VLAN_FILTERING, u8(false))
	}
	off.AddData(info)
	delay, _ := linkRequest(unix.RTM_NEWLINK, 0, l.index)
	info, data = bridgeInfo()
	data.AddRtAttr(unix.IFLA_BR_FORWARD_DELAY, u32(0))
	delay.AddData(info)
	return []*nl.NetlinkRequest{off, delay}
}

func bridgeInfo() (info, data *nl.RtAttr) {
	info = attr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, []byte("bridge"))
	return info, info.AddRtAttr(nl.IFLA_INFO_DATA, nil)
}

func getLink(name string) *nl.NetlinkRequest {
	req, _ := linkRequest(unix.RTM_GETLINK, 0, 0)
	req.AddData(attr(unix.IFLA_IFNAME, text(name)))
	req.AddData(attr(unix.IFLA_EXT_MASK, u32(skipStats)))
	return req
}

func delLink(index int) *nl.NetlinkRequest {
	req, _ := linkRequest(unix.RTM_DELLINK, 0, index)
	return req
}

// delGroup asks for the removal of every link of a group.
func delGroup(group uint32) *nl.NetlinkRequest {
	req, _ := linkRequest(unix.RTM_DELLINK, 0, 0)
	req.AddData(attr(unix.IFLA_GROUP, u32(int(group))))
	return req
}

// addressRequest is for RTM_NEWADDR and RTM_DELADDR. There is no duplicate
// address detection: the addresses are fairway's to give, and a tentative one
// can't be used for a second (RFC 4862).
// One that is deprecated has no time left to be preferred (IFA_CACHEINFO,
// linux/if_addr.h).
func addressRequest(kind, flags, index int, p netip.Prefix, deprecated bool) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(kind, flags)
	msg := nl.NewIfAddrmsg(family(p.Addr()))
	msg.Index, msg.Prefixlen = uint32(index), uint8(p.Bits())
	if p.Addr().Is6() {
		msg.IfAddrmsg.Flags = unix.IFA_F_NODAD
	}
	req.AddData(msg)
	ip := p.Addr().AsSlice()
	req.AddData(attr(unix.IFA_LOCAL, ip))
	req.AddData(attr(unix.IFA_ADDRESS, ip))
	if deprecated {
		times := append(u32(0), u32(-1)...) // preferred, valid: for ever
		req.AddData(attr(unix.IFA_CACHEINFO, append(times, make([]byte, 8)...)))
	}
	if p.Addr().Is4() && p.Bits() < 31 && kind == unix.RTM_NEWADDR { // RFC 3021
		last := p.Addr().As4()
		for i := p.Bits(); i < 32; i++ {
			last[i/8] |= 0x80 >> (i % 8)
		}
		req.AddData(attr(unix.IFA_BROADCAST, last[:]))
	}
	return req
}

func family(a netip.Addr) int {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// neighbourRequest is for RTM_NEWNEIGH (with the MAC address), RTM_GETNEIGH and
// RTM_DELNEIGH.
func neighbourRequest(kind, flags, index int, ip netip.Addr, mac net.HardwareAddr) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(kind, flags)
	msg := &netlink.Ndmsg{Family: uint8(family(ip)), Index: uint32(index)}
	req.AddData(msg)
	req.AddData(attr(unix.NDA_DST, ip.AsSlice()))
	if len(mac) > 0 {
		msg.State = unix.NUD_PERMANENT
		req.AddData(attr(unix.NDA_LLADDR, mac))
	}
	return req
}

// newFDB asks for a static entry of a bridge's forwarding database, in place of
// any that there is. It is sticky: no port that learns can take it away.
func newFDB(port int, mac net.HardwareAddr) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(unix.RTM_NEWNEIGH, replace)
	req.AddData(&netlink.Ndmsg{
		Family: unix.AF_BRIDGE, Index: uint32(port), State: unix.NUD_NOARP, Flags: unix.NTF_MASTER | fdbSticky,
	})
	req.AddData(attr(unix.NDA_LLADDR, mac))
	return req
}
