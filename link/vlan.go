package link

import (
	"context"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// newVLAN asks for a link of a VLAN that is down. Its MTU is that of its parent.
func newVLAN(v VLAN, parent int, group uint32) *nl.NetlinkRequest {
	req, _ := linkRequest(unix.RTM_NEWLINK, exclusive, 0)
	req.AddData(attr(unix.IFLA_IFNAME, text(v.Name)))
	req.AddData(attr(unix.IFLA_LINK, u32(parent)))
	req.AddData(attr(unix.IFLA_GROUP, u32(int(group))))
	info := attr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, []byte("vlan"))
	info.AddRtAttr(nl.IFLA_INFO_DATA, nil).AddRtAttr(nl.IFLA_VLAN_ID, nl.Uint16Attr(uint16(v.ID)))
	req.AddData(info)
	return req
}

// vlan makes the link of a VLAN, or sees to the one that is there. The host's
// own one of the same VLAN is left as it is.
func (a *attempt) vlan(ctx context.Context, s *space, v VLAN) error {
	if err := a.Conn.queue.settle(ctx, v.Namespace, v.Name); err != nil {
		return err
	}
	parent, err := s.fast.link(v.Parent)
	if err != nil {
		return fmt.Errorf("link %s: %w", v.Parent, err)
	}
	have, err := s.fast.link(v.Name)
	switch {
	case errors.Is(err, unix.ENODEV):
		return a.newVLAN(s, v, parent.index)
	case err != nil:
		return err
	case !a.ours(have) && otherVLAN(v, have, parent) == "":
		return nil
	case !a.ours(have):
		return taken(have)
	case otherVLAN(v, have, parent) != "":
		if err := a.vacate(ctx, v.Namespace, v.Name, have); err != nil {
			return err
		}
		return a.newVLAN(s, v, parent.index)
	case vlanDiff(v, have, parent, a.marks) == "":
		return nil
	}
	return a.settleVLAN(s, v)
}

func (a *attempt) newVLAN(s *space, v VLAN, parent int) error {
	a.opts.Step("link.apply vlan")
	_, err := s.fast.one(newVLAN(v, parent, a.group))
	switch {
	case errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("the kernel has no 802.1Q links (modprobe 8021q), or %s carries none: %w", v.Parent, unix.EOPNOTSUPP)
	case errors.Is(err, unix.EEXIST): // a VLAN has one link
		return fmt.Errorf("%s has VLAN %d as %s: name that as the parent: %w", v.Parent, v.ID, s.nameOfVLAN(parent, v.ID), err)
	case err != nil:
		return err
	}
	a.made = append(a.made, v)
	return a.settleVLAN(s, v)
}

// nameOfVLAN returns the name of the link that a VLAN has on its parent.
func (s *space) nameOfVLAN(parent, id int) string {
	links, _ := s.links() // for a message only
	for _, l := range links {
		if l.kind == "vlan" && l.peer == parent && l.vlan == id {
			return l.name
		}
	}
	return "another link"
}

// settleVLAN has it go up, which the kernel refuses as long as the parent is
// down; then it goes up with that.
func (a *attempt) settleVLAN(s *space, v VLAN) error {
	if err := a.noInet6(s, v.Name); err != nil {
		return err
	}
	a.later(v, setLink(0, v.Name, linkChange{alias: alias(v.Alias), group: a.group, up: true}), func(err error) error {
		if errors.Is(err, unix.ENETDOWN) {
			return nil
		}
		return err
	})
	return nil
}

// otherVLAN says why a link isn't that of a VLAN and can't be made into it; "" if
// it is.
func otherVLAN(v VLAN, l, parent linkState) string {
	switch {
	case l.kind != "vlan":
		return "was a " + l.kind
	case l.peer != parent.index || l.elsewhere:
		return "was not on " + v.Parent
	case l.vlan != v.ID:
		return fmt.Sprintf("was VLAN %d", l.vlan)
	}
	return ""
}

// vlanDiff says how a link of ours differs from what is wanted; "" if it
// doesn't.
func vlanDiff(v VLAN, l, parent linkState, m marks) string {
	var d differences
	why := otherVLAN(v, l, parent)
	d.add(why != "", "%s", why)
	d.link(l, v.Alias, 0, m)
	d.add(!l.up && parent.up, "was down")
	d.add(l.inet6 != nil && !l.inet6.disabled, "spoke IPv6")
	return d.String()
}

// vlan is what of a VLAN's link is missing or not as it should be. Where there is
// no parent, it is waited for.
func (p *planner) vlan(v VLAN) {
	parent, there := p.byName[v.Parent]
	l, ok := p.byName[v.Name]
	comes := there || p.coming[v.Parent]
	p.coming[v.Name] = comes
	switch {
	case ok && !p.ours(l):
		if otherVLAN(v, l, parent) != "" {
			p.make(v, "was somebody else's")
		}
	case !comes:
	case !ok:
		p.make(v, "was missing")
	default:
		p.make(v, vlanDiff(v, l, parent, p.marks))
	}
}
