package link

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A VXLAN carries the frames of a segment to other hosts in UDP (RFC 7348), as a
// port of Master. It learns nothing and floods nothing: where a frame goes is in
// Remotes, and the bridge answers ARP and neighbour solicitations for what is
// behind it (neigh_suppress, bridge(8)). UDP checksums are on. See ip-link(8) and
// Documentation/networking/vxlan.rst.
type VXLAN struct {
	Namespace string
	Name      string
	Alias     string
	Master    string // a bridge of ours; unix.ENODEV if there is none
	// MAC is the host's own address in the segment: what comes to it from other
	// hosts is the host's, since it is that of a port.
	MAC   net.HardwareAddr
	VNI   uint32     // 1 to 1<<24 - 1
	Port  uint16     // UDP
	Local netip.Addr // the host's address on the underlay
	MTU   int        // bytes
	// Multicast: frames for many go to other hosts, too. Master must have it as well.
	Multicast bool
}

// Key implements Object.
func (v VXLAN) Key() Key { return Key{v.Namespace, "vxlan", v.Name} }

func (v VXLAN) String() string { return "vxlan " + v.Name + " to " + v.Master }

// vxlanState is what the kernel says of a VXLAN.
type vxlanState struct {
	vni      uint32
	port     uint16
	local    netip.Addr
	learning bool
	checksum bool
}

func (x *vxlanState) parse(t uint16, v []byte) {
	switch t {
	case nl.IFLA_VXLAN_ID:
		x.vni = uint32(number(v))
	case nl.IFLA_VXLAN_PORT:
		if len(v) == 2 {
			x.port = uint16(v[0])<<8 | uint16(v[1])
		}
	case nl.IFLA_VXLAN_LOCAL, nl.IFLA_VXLAN_LOCAL6:
		x.local, _ = netip.AddrFromSlice(v)
	case nl.IFLA_VXLAN_LEARNING:
		x.learning = number(v) != 0
	case nl.IFLA_VXLAN_UDP_CSUM:
		x.checksum = number(v) != 0
	}
}

// newVXLAN asks for a VXLAN that is down.
func newVXLAN(v VXLAN, master int, group uint32) *nl.NetlinkRequest {
	req, _ := linkRequest(unix.RTM_NEWLINK, exclusive, 0)
	for _, a := range vethEnd(v.MTU, v.Name, v.MAC, group) {
		req.AddData(a)
	}
	req.AddData(attr(unix.IFLA_MASTER, u32(master)))
	info := attr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, []byte("vxlan"))
	data := info.AddRtAttr(nl.IFLA_INFO_DATA, nil)
	data.AddRtAttr(nl.IFLA_VXLAN_ID, u32(int(v.VNI)))
	data.AddRtAttr(nl.IFLA_VXLAN_PORT, []byte{byte(v.Port >> 8), byte(v.Port)})
	data.AddRtAttr(nl.IFLA_VXLAN_LEARNING, u8(false))
	local := nl.IFLA_VXLAN_LOCAL
	if v.Local.Is6() {
		local = nl.IFLA_VXLAN_LOCAL6
	}
	data.AddRtAttr(local, v.Local.AsSlice())
	data.AddRtAttr(nl.IFLA_VXLAN_UDP_CSUM, u8(true))
	req.AddData(info)
	return req
}

// portFlags are those of its port.
func (v VXLAN) portFlags() []portFlag {
	return []portFlag{
		{unix.IFLA_BRPORT_LEARNING, false},
		{unix.IFLA_BRPORT_UNICAST_FLOOD, false},
		{unix.IFLA_BRPORT_MCAST_FLOOD, false},
		{unix.IFLA_BRPORT_BCAST_FLOOD, false},
		{unix.IFLA_BRPORT_MODE, false},
		{unix.IFLA_BRPORT_ISOLATED, false},
		{unix.IFLA_BRPORT_NEIGH_SUPPRESS, true},
		{unix.IFLA_BRPORT_GUARD, true},
	}
}

// vxlan makes a VXLAN, or sees to the one that is there. One that goes to
// another place is made anew: its entries go with it, see Remotes.Links.
func (a *attempt) vxlan(ctx context.Context, s *space, v VXLAN) error {
	master, err := a.master(s, Veth{Namespace: v.Namespace, Master: v.Master})
	if err != nil {
		return err
	}
	have, there, err := a.present(ctx, s, v, func(l linkState) bool {
		return a.isFor(l, v.Alias) && otherVXLAN(v, l) == ""
	})
	switch {
	case err != nil:
		return err
	case there && vxlanDiff(v, have, master, a.marks) == "":
		return nil
	case there:
		return a.settleVXLAN(s, v, master, have)
	}
	a.opts.Step("link.apply vxlan")
	_, err = s.fast.one(newVXLAN(v, master, a.group))
	switch {
	case errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("the kernel has no VXLAN links (modprobe vxlan): %w", err)
	case errors.Is(err, unix.EEXIST): // one a namespace, port and VNI
		return fmt.Errorf("VNI %d on UDP port %d belongs to another link of this host: %w", v.VNI, v.Port, err)
	case err != nil:
		return err
	}
	a.made = append(a.made, v)
	have, err = s.fast.link(v.Name)
	if err != nil {
		return err
	}
	return a.settleVXLAN(s, v, master, have)
}

func (a *attempt) settleVXLAN(s *space, v VXLAN, master int, have linkState) error {
	if err := a.noInet6(s, v.Name); err != nil {
		return err
	}
	change := linkChange{mtu: v.MTU, group: a.group}
	if have.master != master {
		change.master = master
	}
	if !bytes.Equal(have.mac, v.MAC) {
		change.mac = v.MAC
	}
	a.later(v, setLink(have.index, "", change), nil)
	a.later(v, setPort(have.index, v.Alias, v.portFlags()), func(err error) error {
		if errors.Is(err, unix.EADDRINUSE) {
			return fmt.Errorf("UDP port %d is in use on this host: %w", v.Port, err)
		}
		return err
	})
	if v.Multicast {
		a.later(v, carryGroups(have.index), nil)
	}
	return nil
}

// otherVXLAN says why a link can't be made into what is wanted; "" if it can.
func otherVXLAN(v VXLAN, l linkState) string {
	switch {
	case l.kind != "vxlan":
		return "was a " + l.kind
	case l.vxlan.vni != v.VNI:
		return fmt.Sprintf("VNI was %d", l.vxlan.vni)
	case l.vxlan.port != v.Port:
		return fmt.Sprintf("UDP port was %d", l.vxlan.port)
	case l.vxlan.local != v.Local:
		return fmt.Sprintf("the host's address was %s", l.vxlan.local)
	case l.vxlan.learning:
		return "learned"
	case !l.vxlan.checksum && v.Local.Is4():
		return "UDP checksums were off"
	}
	return ""
}

// vxlanDiff says how a link of ours differs from what is wanted; "" if it
// doesn't. The master is the index of the bridge.
func vxlanDiff(v VXLAN, l linkState, master int, m marks) string {
	var d differences
	why := otherVXLAN(v, l)
	d.add(why != "", "%s", why)
	d.link(l, v.Alias, v.MTU, m)
	d.add(!l.up, "was down")
	d.add(!bytes.Equal(l.mac, v.MAC), "MAC address was %s", l.mac)
	d.add(l.inet6 != nil && !l.inet6.disabled, "spoke IPv6")
	if l.master != master || l.port == nil {
		d.add(true, "was no port of %s", v.Master)
		return d.String()
	}
	d.add(l.port.learning, "its port learned")
	d.add(l.port.floods, "its port flooded")
	d.groups(v, l.port.groups)
	d.add(!l.port.suppress, "neigh_suppress was off")
	d.add(!l.port.guard, "BPDU guard was off")
	d.add(l.port.isolated, "its port was isolated")
	return d.String()
}

// vxlan is what of a VXLAN is missing or not as it should be.
func (p *planner) vxlan(v VXLAN) {
	if !p.leaving[v.Name] {
		p.own(v, v.Alias, func(l linkState) string { return vxlanDiff(v, l, p.byName[v.Master].index, p.marks) })
	}
}
