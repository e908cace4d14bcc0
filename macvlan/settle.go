package macvlan

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"fairway/link"
	"fairway/store"
)

// Host is what Settle asks of the host.
type Host interface {
	// Link describes a link; unix.ENODEV if there is none.
	Link(ctx context.Context, namespace, name string) (link.Info, error)
}

const defaultMTU = 1500 // bytes: of a network without a parent

// Settle decides what the record of a new network leaves open, and refuses a
// parent that can't be one. The record's Link is a free name for a link of the
// network's own, which it has if the user names no parent. With MTU 0 the
// containers' interfaces have that of the parent, as it is when they are made.
func Settle(ctx context.Context, host Host, n *store.Network) error {
	v, err := New("", *n)
	if err != nil {
		return err
	}
	n.MTU = v.set.MTU
	if v.set.Parent == "" {
		n.MTU = cmp.Or(n.MTU, defaultMTU)
		return nil
	}
	n.Link, n.Adopted = v.set.Parent, true
	info, err := host.Link(ctx, n.Namespace, n.Link)
	if err != nil && !errors.Is(err, unix.ENODEV) {
		return err
	}
	return v.checkParent(info, err == nil)
}

// checkParent says what keeps a link from being a parent; nil for nothing.
func (n Network) checkParent(info link.Info, there bool) error {
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("option parent=%q: %s", n.set.Parent, fmt.Sprintf(format, args...))
	}
	const ethernet = 6 // bytes of an address
	switch {
	case !there:
		return refuse("there is no such link on this host")
	case n.set.Parent == "lo":
		return refuse("is the loopback; want an Ethernet link")
	case len(info.MAC) != ethernet:
		return refuse("has no Ethernet address; want an Ethernet link")
	case info.Master != 0 && info.Kind != "bridge":
		return refuse("is a port of a bridge or bond; name that one as the parent")
	case !info.Up:
		return refuse("is down; set it up first (ip link set %s up)", n.set.Parent)
	case n.MTU > info.MTU, n.set.MTU > info.MTU:
		return fmt.Errorf("option mtu=\"%d\": the MTU of parent %s is %d; want no more", n.set.MTU, n.set.Parent, info.MTU)
	}
	return nil
}
