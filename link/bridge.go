package link

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// bridge makes a bridge, or sees to the one that is there.
func (a *attempt) bridge(ctx context.Context, s *space, b Bridge) error {
	if b.Adopted {
		return a.adopt(s, b)
	}
	if err := a.Conn.queue.settle(ctx, b.Namespace, b.Name); err != nil {
		return err
	}
	a.opts.Step("link.apply bridge")
	_, err := s.fast.one(newBridge(b, a.group))
	if errors.Is(err, unix.EEXIST) {
		var again bool
		if again, err = a.rebridge(ctx, s, b); !again || err != nil {
			return err
		}
		_, err = s.fast.one(newBridge(b, a.group))
	}
	if err != nil {
		return err
	}
	a.made = append(a.made, b)
	if err := a.bridgeInet6(s, b); err != nil {
		return err
	}
	a.snoop(b, 0)
	a.later(b, setLink(0, b.Name, linkChange{alias: alias(b.Alias), mtu: b.MTU, up: true}), nil)
	return nil
}

// adopt sees that somebody else's bridge is there, and sets it up if it is down,
// as Docker's driver does: once, when a network begins to use it.
func (a *attempt) adopt(s *space, b Bridge) error {
	have, err := s.fast.link(b.Name)
	if err != nil || have.up {
		return err
	}
	a.opts.Step("link.apply bridge")
	a.later(b, setLink(0, b.Name, linkChange{up: true}), nil)
	return nil
}

// rebridge makes a bridge that is there as wanted, if it is ours. What is left of
// another network of ours is removed, with its addresses, and then the bridge can
// be made.
func (a *attempt) rebridge(ctx context.Context, s *space, b Bridge) (again bool, err error) {
	have, err := s.fast.link(b.Name)
	if errors.Is(err, unix.ENODEV) {
		return true, nil // gone meanwhile
	}
	if err != nil {
		return false, err
	}
	if !a.ourBridge(have) {
		return false, taken(have)
	}
	if !a.isFor(have, b.Alias) {
		return true, a.vacate(ctx, b.Namespace, b.Name, have)
	}
	if bridgeDiff(b, have, a.marks) == "" {
		return false, nil
	}
	a.opts.Step("link.apply bridge")
	if err := a.bridgeInet6(s, b); err != nil {
		return false, err
	}
	if have.bridge != nil && *have.bridge != (bridgeState{}) {
		for _, req := range setBridge(have) {
			a.later(b, req, nil)
		}
	}
	a.snoop(b, have.index)
	change := linkChange{alias: alias(b.Alias), mtu: b.MTU, group: a.group, up: true}
	if !bytes.Equal(have.mac, b.MAC) {
		change.mac = b.MAC // to set it, even to the same, costs what is known of the neighbours
	}
	a.later(b, setLink(have.index, "", change), nil)
	return false, nil
}

// ourBridge reports whether a link is a bridge that this instance made.
func (m marks) ourBridge(l linkState) bool { return m.ours(l) && l.kind == "bridge" }

// taken says that a link of somebody else's has the name of one that is wanted.
func taken(l linkState) error {
	kind := l.kind
	if kind == "" {
		kind = "hardware"
	}
	return fmt.Errorf("link %s (%s) is there already and not fairway's: %w", l.name, kind, unix.EEXIST)
}

// alias returns as much of a mark as the kernel takes (IFALIASZ, linux/if.h).
func alias(mark string) string { return mark[:min(len(mark), 255)] }

// differences collects in what a link differs from what is wanted.
type differences []string

func (d *differences) add(differs bool, format string, args ...any) {
	if differs {
		*d = append(*d, fmt.Sprintf(format, args...))
	}
}

func (d differences) String() string { return strings.Join(d, ", ") }

// link adds what all kinds of links have in common.
func (d *differences) link(l linkState, mark string, mtu int, m marks) {
	d.add(l.alias != alias(mark), "alias was %q", l.alias)
	d.add(mtu > 0 && l.mtu != mtu, "MTU was %d", l.mtu)
	d.add(l.group != m.group, "group was %d", l.group)
}

// bridgeDiff says how a bridge differs from what is wanted; "" if it doesn't.
func bridgeDiff(b Bridge, l linkState, m marks) string {
	var d differences
	d.link(l, b.Alias, b.MTU, m)
	d.add(!l.up, "was down")
	d.add(len(b.MAC) > 0 && !bytes.Equal(l.mac, b.MAC), "MAC address was %s", l.mac)
	if l.bridge != nil {
		d.add(l.bridge.stp, "spanning tree was on")
		d.add(l.bridge.forwardDelay != 0, "forward delay was %d", l.bridge.forwardDelay)
		d.add(l.bridge.vlan, "VLAN filtering was on")
	}
	d.add(b.Multicast && (l.snoop.deaf || l.snoop.mute), "it asked for no multicast groups")
	if l.inet6 != nil {
		d.add(l.inet6.acceptRA, "router advertisements were accepted")
		d.add(l.inet6.disabled == b.IPv6, "disable_ipv6 was %d", map[bool]int{true: 1}[l.inet6.disabled])
	}
	return d.String()
}
