package link

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// macvlanModes are the kernel's numbers, MACVLAN_MODE_* in linux/if_link.h.
func macvlanModes() map[MacvlanMode]int {
	return map[MacvlanMode]int{MacvlanPrivate: 1, MacvlanVEPA: 2, MacvlanBridge: 4, MacvlanPassthru: 8}
}

// newMacvlan asks for a link on a parent that is down, in the namespace of a
// descriptor or, with -1, beside the parent.
func newMacvlan(m Macvlan, parent int, group uint32, name string, ns int) *nl.NetlinkRequest {
	req, _ := linkRequest(unix.RTM_NEWLINK, exclusive, 0)
	req.AddData(attr(unix.IFLA_IFNAME, text(name)))
	req.AddData(attr(unix.IFLA_LINK, u32(parent)))
	req.AddData(attr(unix.IFLA_GROUP, u32(int(group))))
	if len(m.MAC) > 0 && m.ownMAC() {
		req.AddData(attr(unix.IFLA_ADDRESS, m.MAC))
	}
	if m.MTU > 0 {
		req.AddData(attr(unix.IFLA_MTU, u32(m.MTU)))
	}
	if ns >= 0 {
		req.AddData(attr(unix.IFLA_NET_NS_FD, u32(ns)))
	}
	info := attr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, []byte(m.kind()))
	data := info.AddRtAttr(nl.IFLA_INFO_DATA, nil)
	if m.kind() == "ipvlan" {
		data.AddRtAttr(nl.IFLA_IPVLAN_MODE, nl.Uint16Attr(uint16(ipvlanModes()[m.IPvlan.Mode])))
		data.AddRtAttr(nl.IFLA_IPVLAN_FLAG, nl.Uint16Attr(uint16(ipvlanFlags()[m.IPvlan.Flag])))
	} else {
		data.AddRtAttr(nl.IFLA_MACVLAN_MODE, u32(macvlanModes()[m.Mode]))
	}
	req.AddData(info)
	return req
}

// macvlan makes a link on a parent, or sees to the one that is there. It reads
// the kernel first only if the link may be in a sandbox.
func (a *attempt) macvlan(ctx context.Context, s *space, m Macvlan) error {
	if err := a.Conn.queue.settle(ctx, m.Namespace, m.Name); err != nil {
		return err
	}
	parent, err := s.index(m.Parent)
	if err != nil {
		return err
	}
	if m.Sandbox != "" && a.SandboxAlive(m.Sandbox) {
		return a.macvlanAway(ctx, s, m, parent)
	}
	return a.macvlanHere(ctx, s, m, parent)
}

// macvlanHere sees to the link beside its parent.
func (a *attempt) macvlanHere(ctx context.Context, s *space, m Macvlan, parent int) error {
	err := a.newMacvlan(ctx, s, m, parent)
	if errors.Is(err, unix.EEXIST) {
		var again bool
		if again, err = a.remacvlan(ctx, s, m, parent); again && err == nil {
			err = a.newMacvlan(ctx, s, m, parent)
		}
	}
	return err
}

func (a *attempt) newMacvlan(ctx context.Context, s *space, m Macvlan, parent int) error {
	a.opts.Step("link.apply macvlan")
	if err := a.addMacvlan(ctx, s, m, parent); err != nil {
		return err
	}
	a.made = append(a.made, m)
	a.later(m, setLink(0, m.Name, linkChange{alias: alias(m.Alias)}), nil)
	return nil
}

// addMacvlan adds a link beside its parent.
func (a *attempt) addMacvlan(ctx context.Context, s *space, m Macvlan, parent int) error {
	_, err := s.fast.one(newMacvlan(m, parent, a.group, m.Name, -1))
	if errors.Is(err, unix.EBUSY) { // perhaps by links of the other kind that are on their way out
		if err := a.Quiesce(ctx); err != nil {
			return err
		}
		_, err = s.fast.one(newMacvlan(m, parent, a.group, m.Name, -1))
	}
	if err != nil {
		return a.whyNot(s, m, err)
	}
	return nil
}

// whyNot says what the kernel means by an error of newMacvlan
// (drivers/net/macvlan.c, drivers/net/ipvlan/ipvlan_main.c).
func (a *attempt) whyNot(s *space, m Macvlan, err error) error {
	switch {
	case errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("the kernel has no %s links (modprobe %s): %w", m.kind(), m.kind(), err)
	case errors.Is(err, unix.EBUSY):
		other := map[string]string{"macvlan": "ipvlan", "ipvlan": "macvlan"}[m.kind()]
		return fmt.Errorf("%s is a port of a bridge or bond, or carries links of another kind (%s): %w", m.Parent, other, err)
	case errors.Is(err, unix.EINVAL) && m.Mode == MacvlanPassthru:
		return fmt.Errorf("%s carries a macvlan already, and passthru wants it for itself: %w", m.Parent, err)
	case errors.Is(err, unix.EINVAL):
		if l, e := s.fast.link(m.Parent); e == nil && m.MTU > l.mtu {
			return fmt.Errorf("the MTU of %s is %d: %w", m.Parent, l.mtu, err)
		}
		if m.kind() == "ipvlan" {
			return fmt.Errorf("%s is no Ethernet link: %w", m.Parent, err)
		}
		return fmt.Errorf("%s carries a macvlan in mode passthru, or is no Ethernet link: %w", m.Parent, err)
	}
	return err
}

// remacvlan sees to a link that has the name of one that is wanted. One that is
// on another link, or for another endpoint of ours, is removed, and then it can
// be made.
func (a *attempt) remacvlan(ctx context.Context, s *space, m Macvlan, parent int) (again bool, err error) {
	parent = a.macvlanParent(s, m.Parent, parent)
	have, there, err := a.present(ctx, s, m, func(l linkState) bool {
		return a.isFor(l, m.Alias) && wrongKind(m, l, parent) == ""
	})
	if err != nil || !there {
		return true, err
	}
	if macvlanDiff(m, have, parent, a.marks) == "" {
		return false, nil
	}
	a.opts.Step("link.apply macvlan")
	change := linkChange{alias: alias(m.Alias), mtu: m.MTU, group: a.group}
	if m.Mode != MacvlanPassthru && m.ownMAC() { // else it is the parent's, until Docker sets it
		change.mac = m.MAC
	}
	a.later(m, setLink(have.index, "", change), nil)
	return false, nil
}

// macvlanParent returns the index that a link on a parent says it is on; 0 if
// that can't be told: see wrongKind.
func (c *Conn) macvlanParent(s *space, name string, index int) int {
	if p, err := s.fast.link(name); err == nil && p.isOn() {
		return 0
	}
	return index
}

// isOn reports whether a link is a macvlan or an ipvlan.
func (l linkState) isOn() bool { return l.kind == "macvlan" || l.kind == "ipvlan" }

// wrongKind says why a link can't be made into what is wanted; "" if it can. A
// macvlan on a macvlan is on the parent of that in fact: parent is 0 there.
func wrongKind(m Macvlan, l linkState, parent int) string {
	switch {
	case l.kind != m.kind():
		return "was a " + l.kind
	case parent != 0 && l.peer != parent:
		return "was not on " + m.Parent
	case l.kind == "macvlan" && l.macvlan != macvlanModes()[m.Mode],
		l.kind == "ipvlan" && l.ipvlan != ipvlanState{ipvlanModes()[m.IPvlan.Mode], ipvlanFlags()[m.IPvlan.Flag]}:
		return "was in another mode"
	}
	return ""
}

// macvlanDiff says how a link that waits beside its parent differs from what is
// wanted; "" if it doesn't.
func macvlanDiff(m Macvlan, l linkState, parent int, k marks) string {
	var d differences
	d.link(l, m.Alias, m.MTU, k)
	why := wrongKind(m, l, parent)
	d.add(why != "", "%s", why)
	// In mode passthru it has the address of its parent until Docker sets it.
	d.add(m.Mode != MacvlanPassthru && m.ownMAC() && len(m.MAC) > 0 && !bytes.Equal(l.mac, m.MAC), "MAC address was %s", l.mac)
	return d.String()
}

// macvlanAway sees to the link in its sandbox: Docker moves it there, or it was
// there and is gone.
func (a *attempt) macvlanAway(ctx context.Context, s *space, m Macvlan, parent int) error {
	_, err := s.fast.link(m.Name)
	if err == nil {
		return a.macvlanHere(ctx, s, m, parent)
	}
	if !errors.Is(err, unix.ENODEV) {
		return err
	}
	have, alive, err := a.inSandbox(m)
	switch {
	case err != nil:
		return err
	case !alive: // gone meanwhile
		return a.macvlanHere(ctx, s, m, parent)
	case have == nil:
		return a.macvlanInside(s, m, parent)
	}
	return a.mendInside(m, *have)
}

// inSandbox looks for the link in its sandbox; nil if it isn't there.
func (c *Conn) inSandbox(m Macvlan) (l *linkState, alive bool, err error) {
	if !c.SandboxAlive(m.Sandbox) {
		return nil, false, nil
	}
	inside, done, err := c.peek(m.Sandbox)
	if errors.Is(err, unix.ENOENT) {
		return nil, false, nil // gone meanwhile
	}
	if err != nil {
		return nil, false, fmt.Errorf("sandbox %s: %w", m.Sandbox, err)
	}
	defer done()
	links, err := inside.links()
	if err != nil {
		return nil, true, fmt.Errorf("sandbox %s: %w", m.Sandbox, err)
	}
	for _, l := range links {
		if c.isInside(m, l) {
			return &l, true, nil
		}
	}
	return nil, true, nil
}

// isInside reports whether a link in a sandbox is the endpoint's. Its mark may
// have been changed there.
func (m marks) isInside(want Macvlan, l linkState) bool {
	if l.kind != want.kind() {
		return false
	}
	if Marked(l.alias, m.instance) {
		return owner(l.alias) == owner(want.Alias)
	}
	return m.ours(l) && (want.Mode == MacvlanPassthru || !want.ownMAC() || bytes.Equal(l.mac, want.MAC))
}

// insideDiff says how a link in its sandbox differs from what is wanted; "" if
// it doesn't: most of it is the container's own. One that was left in a crash
// while it was being made has no mark and is down.
func insideDiff(l linkState) string {
	if l.alias == "" && !l.up {
		return "was half made"
	}
	return ""
}

// macvlanInside makes the link in its sandbox, as Docker had configured it.
func (a *attempt) macvlanInside(s *space, m Macvlan, parent int) error {
	inside, done, err := a.in(m.Sandbox)
	if err != nil {
		return fmt.Errorf("sandbox: %w", err)
	}
	defer done()
	links, err := inside.links()
	if err != nil {
		return fmt.Errorf("sandbox %s: %w", m.Sandbox, err)
	}
	name := freeName(m.Inside.Prefix, links)
	a.opts.Step("link.apply macvlan")
	if _, err := s.fast.one(newMacvlan(m, parent, a.group, name, int(inside.ns))); err != nil {
		return a.whyNot(s, m, err)
	}
	a.made = append(a.made, m)
	if err := a.configure(inside, name, m.Alias, m.Inside); err != nil {
		return fmt.Errorf("sandbox %s: %s: %w", m.Sandbox, name, err)
	}
	return nil
}

// mendInside repairs a link that is in its sandbox.
func (a *attempt) mendInside(m Macvlan, have linkState) error {
	if insideDiff(have) == "" {
		return nil
	}
	inside, done, err := a.in(m.Sandbox)
	if err != nil {
		return fmt.Errorf("sandbox: %w", err)
	}
	defer done()
	if err := a.configure(inside, have.name, m.Alias, m.Inside); err != nil {
		return fmt.Errorf("sandbox %s: %s: %w", m.Sandbox, have.name, err)
	}
	return nil
}

// enqueueInside has the link in its sandbox removed soon.
func (c *Conn) enqueueInside(m Macvlan) {
	if m.Sandbox == "" {
		return
	}
	l, _, err := c.inSandbox(m)
	if err != nil {
		c.log.WithError(err).Warnf("link: remove %s", m)
		return
	}
	if l != nil {
		c.enqueue(m.Sandbox, l.name, l.alias)
	}
}

// macvlan is what of a link on a parent is missing or not as it should be.
// Where there is no parent, it is waited for.
func (p *planner) macvlan(m Macvlan) {
	parent, there := p.byName[m.Parent]
	here, waits := p.byName[m.Name]
	inside, away := p.inside[m.Name]
	index := parent.index
	if parent.isOn() {
		index = 0
	}
	switch {
	case p.leaving[m.Name]:
	case away:
		p.make(m, insideDiff(inside))
	case waits && !p.ours(here):
		p.make(m, "was somebody else's")
	case waits && !p.isFor(here, m.Alias):
		p.make(m, "was another endpoint's")
	case !there && !p.coming[m.Parent]:
	case waits:
		p.make(m, macvlanDiff(m, here, index, p.marks))
	case m.Left, m.Sandbox != "" && !p.alive[m.Sandbox]:
	default:
		p.make(m, "was missing")
	}
}
