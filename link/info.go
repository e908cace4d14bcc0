package link

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// An Info describes a link.
type Info struct {
	Name      string
	Kind      string // "bridge", "veth", …; "device" for hardware
	Index     int
	MTU       int // bytes
	MAC       net.HardwareAddr
	Alias     string
	Up        bool
	Master    int  // index of the bridge or bond that it is a port of; 0 for none
	Parent    int  // index of the link that a VLAN, macvlan or ipvlan is on; 0 for none in this namespace
	VLAN      int  // ID of a VLAN; 0 for any other link
	Ours      bool // made by this instance
	VLANAware bool // a bridge that looks at its frames' VLANs (vlan_filtering)
	Addresses []netip.Prefix
}

// Link describes a link. One that is not there, or is about to be removed, is
// unix.ENODEV.
func (c *Conn) Link(_ context.Context, namespace, name string) (Info, error) {
	info, err := c.info(namespace, name)
	if err != nil {
		return Info{}, fmt.Errorf("link: read %s: %w", name, err)
	}
	return info, nil
}

func (c *Conn) info(namespace, name string) (Info, error) {
	if c.queue.isPending(namespace, name) {
		return Info{}, unix.ENODEV
	}
	s, done, err := c.in(namespace)
	if err != nil {
		return Info{}, err
	}
	defer done()
	l, err := s.fast.link(name)
	if err != nil {
		return Info{}, err
	}
	all, err := s.addresses()
	if err != nil {
		return Info{}, err
	}
	info := Info{Name: l.name, Kind: cmp.Or(l.kind, "device"), Index: l.index, MTU: l.mtu, MAC: l.mac, Alias: l.alias, Up: l.up, Master: l.master, VLAN: l.vlan, Ours: c.ours(l), VLANAware: l.bridge != nil && l.bridge.vlan}
	if l.kind != "veth" && !l.elsewhere {
		info.Parent = l.peer
	}
	for a := range all {
		if a.link == l.index {
			info.Addresses = append(info.Addresses, a.prefix)
		}
	}
	return info, nil
}
