package macvlan

import (
	"cmp"
	"context"
	"fmt"

	"fairway/beside"
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
	if v.set.HostAccess {
		if n.HostAddresses, err = beside.NamedHost(n.Subnets); err != nil {
			return err
		}
	}
	n.MTU = v.set.MTU
	if v.set.Parent == "" {
		n.MTU = cmp.Or(n.MTU, defaultMTU)
		return nil
	}
	n.Adopted = true
	base, info, err := v.findParent(ctx, host, n)
	if err != nil {
		return err
	}
	return v.checkParent(base, info)
}

// checkParent says what keeps a link of the host from being a parent, or one that
// VLANs are made on; nil for nothing.
func (n Network) checkParent(base string, info link.Info) error {
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("option parent=%q: %s", n.set.Parent, fmt.Sprintf(format, args...))
	}
	it := ""
	if base != n.set.Parent {
		it = "link " + base + " "
	}
	const ethernet = 6 // bytes of an address
	switch {
	case base == "lo":
		return refuse("%sis the loopback; want an Ethernet link", it)
	case len(info.MAC) != ethernet:
		return refuse("%shas no Ethernet address; want an Ethernet link", it)
	case info.Master != 0 && info.Kind != "bridge":
		return refuse("%sis a port of a bridge or bond; name that one as the parent", it)
	case !info.Up:
		return refuse("%sis down; set it up first (ip link set %s up)", it, base)
	case n.set.MTU > info.MTU:
		return fmt.Errorf("option mtu=\"%d\": the MTU of parent %s is %d; want no more", n.set.MTU, base, info.MTU)
	}
	return nil
}
