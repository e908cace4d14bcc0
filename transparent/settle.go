package transparent

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

// Settle decides what the record of a new network leaves open, and refuses a
// parent that can't be one. With MTU 0 the containers' interfaces have that of
// the bridge, as it is when they are made.
func Settle(ctx context.Context, host Host, n *store.Network) error {
	v, err := New("", *n)
	if err != nil {
		return err
	}
	n.Link, n.Adopted, n.MTU = v.set.Parent, true, v.set.MTU
	info, err := host.Link(ctx, n.Namespace, n.Link)
	if err != nil && !errors.Is(err, unix.ENODEV) {
		return err
	}
	return v.checkParent(info, err == nil)
}

// checkParent says what keeps a link from being the bridge; nil for nothing.
func (n Network) checkParent(info link.Info, there bool) error {
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("option parent=%q: %s", n.set.Parent, fmt.Sprintf(format, args...))
	}
	switch {
	case !there:
		return refuse("there is no such link on this host")
	case info.Kind != "bridge":
		return refuse("is a %s; want a bridge (for the LAN of a network card: mode=macvlan)", info.Kind)
	case !info.Up:
		return refuse("is down; set it up first (ip link set %s up)", n.set.Parent)
	case !n.set.VLANs.IsZero() && !info.VLANAware:
		name := "trunk"
		if n.set.VLANs.Access != 0 {
			name = "vlan"
		}
		return fmt.Errorf("option %s=%q: bridge %s isn't VLAN-aware: its vlan_filtering is off", name, n.Options[name], n.set.Parent)
	case n.set.MTU > info.MTU:
		return fmt.Errorf("option mtu=\"%d\": the MTU of bridge %s is %d; want no more", n.set.MTU, n.set.Parent, info.MTU)
	}
	return nil
}

// Waits says what keeps the bridge from serving, as the host has it now; "" for
// nothing.
func (n Network) Waits(info link.Info, there bool) string {
	switch {
	case !there:
		return "waits for " + n.Link
	case info.Kind != "bridge":
		return fmt.Sprintf("waits for bridge %s: there is a %s", n.Link, cmp.Or(info.Kind, "link"))
	case !info.Up:
		return n.Link + " is down"
	case !n.set.VLANs.IsZero() && !info.VLANAware:
		return "bridge " + n.Link + " isn't VLAN-aware any more"
	}
	return ""
}
