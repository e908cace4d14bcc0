package bridge

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"fairway/link"
	"fairway/store"
)

// Host is what Settle asks of the host.
type Host interface {
	// Link describes a link; unix.ENODEV if there is none.
	Link(ctx context.Context, namespace, name string) (link.Info, error)
	// Sysctl is the value below /proc/sys of a namespace, without white space
	// around it; unix.ENOENT if there is none.
	Sysctl(ctx context.Context, namespace, path string) (string, error)
	// UplinkMTU is the MTU of the route by which the host reaches the outside,
	// in bytes.
	UplinkMTU(ctx context.Context) (int, error)
}

// Settle decides what the record of a new network leaves open: whether the
// bridge is there already, its MAC address and MTU. The record's Link is a
// free name for the bridge, if the user names none.
func Settle(ctx context.Context, host Host, n *store.Network) error {
	v, err := New("", *n)
	if err != nil {
		return err
	}
	if v.set.Name != "" {
		n.Link = v.set.Name
		if err := adopt(ctx, host, v, n); err != nil {
			return err
		}
	}
	if !n.Adopted {
		n.MAC = link.RandomMAC().String()
	}
	n.MTU = v.set.MTU
	if n.MTU == 0 {
		n.MTU, err = host.UplinkMTU(ctx)
	}
	return err
}

// adopt makes use of the bridge that the user named, if it is there.
func adopt(ctx context.Context, host Host, v Network, n *store.Network) error {
	info, err := host.Link(ctx, n.Namespace, n.Link)
	switch {
	case errors.Is(err, unix.ENODEV):
		return nil
	case err != nil:
		return err
	case info.Kind != "bridge":
		return fmt.Errorf("option com.docker.network.bridge.name=%q: is a %s; want a bridge, or a name that is free", n.Link, info.Kind)
	}
	n.Adopted = true
	for _, s := range n.Subnets {
		if p := netip.PrefixFrom(s.Gateway, s.Prefix.Bits()); v.onBridge(s) && slices.Contains(info.Addresses, p) {
			n.AdoptedAddresses = append(n.AdoptedAddresses, p)
		}
	}
	n.AdoptedSysctls, err = sysctlsOf(ctx, host, v.on(*n))
	return err
}

// on returns the network with another record.
func (n Network) on(r store.Network) Network { n.Network = r; return n }

// sysctlsOf returns what the sysctls that a network wants are now.
func sysctlsOf(ctx context.Context, host Host, v Network) (map[string]string, error) {
	var now map[string]string
	for _, o := range v.Links() {
		s, ok := o.(link.Sysctl)
		if !ok {
			continue
		}
		value, err := host.Sysctl(ctx, s.Namespace, s.Path)
		if err != nil {
			return nil, err
		}
		if now == nil {
			now = map[string]string{}
		}
		now[s.Path] = value
	}
	return now, nil
}
