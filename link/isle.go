package link

import (
	"context"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// isleKinds are the kinds of links that drop what leaves by them. An ifb drops
// what traffic control didn't send there (drivers/net/ifb.c).
func isleKinds() []string { return []string{"dummy", "ifb"} }

func newIsle(i Isle, kind string, group uint32) *nl.NetlinkRequest {
	req, _ := linkRequest(unix.RTM_NEWLINK, exclusive, 0)
	req.AddData(attr(unix.IFLA_IFNAME, text(i.Name)))
	req.AddData(attr(unix.IFLA_GROUP, u32(int(group))))
	info := attr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, []byte(kind))
	req.AddData(info)
	return req
}

// isle makes a link that leads nowhere, or sees to the one that is there.
func (a *attempt) isle(ctx context.Context, s *space, i Isle) error {
	have, there, err := a.present(ctx, s, i, func(l linkState) bool { return a.isFor(l, i.Alias) })
	switch {
	case err != nil:
		return err
	case there && isleDiff(i, have, a.marks) == "":
		return nil
	case there:
		return a.settleIsle(s, i)
	}
	a.opts.Step("link.apply isle")
	err = unix.EOPNOTSUPP
	for _, kind := range isleKinds() {
		if _, err = s.fast.one(newIsle(i, kind, a.group)); !errors.Is(err, unix.EOPNOTSUPP) {
			break
		}
	}
	if errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("the kernel has neither dummy nor ifb links (modprobe dummy), which a network without a parent needs: %w", unix.EOPNOTSUPP)
	}
	if err != nil {
		return err
	}
	a.made = append(a.made, i)
	return a.settleIsle(s, i)
}

func (a *attempt) settleIsle(s *space, i Isle) error {
	if err := a.noInet6(s, i.Name); err != nil {
		return err
	}
	a.later(i, setLink(0, i.Name, linkChange{alias: alias(i.Alias), mtu: i.MTU, group: a.group, up: true}), nil)
	return nil
}

func isleDiff(i Isle, l linkState, m marks) string {
	var d differences
	d.link(l, i.Alias, i.MTU, m)
	d.add(!l.up, "was down")
	d.add(l.inet6 != nil && !l.inet6.disabled, "spoke IPv6")
	return d.String()
}

func (p *planner) isle(i Isle) {
	p.coming[i.Name] = true
	p.own(i, i.Alias, func(l linkState) string { return isleDiff(i, l, p.marks) })
}
