package macvlan

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"fairway/link"
	"fairway/store"
)

// findParent settles which link the endpoints' are on, and which VLANs have to be
// made for it, since they aren't there or since fairway made them for another
// network. It returns the link of the host that is at the bottom, with the MTU
// that counts.
func (n Network) findParent(ctx context.Context, host Host, to *store.Network) (base string, info link.Info, err error) {
	base, to.Link, to.VLANs = n.set.Parent, n.set.Parent, nil
	mtu := 0 // of the VLAN that is there, at most its parent's
	if n.set.VLAN != 0 {
		v := store.VLAN{Link: vlanName(n.set.Parent, n.set.VLAN), Parent: n.set.Parent, ID: n.set.VLAN}
		to.Link = v.Link
		made, info, err := n.isOwn(ctx, host, v)
		if err != nil || !made {
			return v.Link, info, err
		}
		to.VLANs, mtu = []store.VLAN{v}, info.MTU
	}
	for {
		info, err = host.Link(ctx, n.Namespace, base)
		missing := errors.Is(err, unix.ENODEV)
		if err != nil && !missing {
			return base, info, err
		}
		if !missing && !(info.Ours && info.Kind == "vlan") {
			if mtu != 0 {
				info.MTU = min(info.MTU, mtu)
			}
			slices.Reverse(to.VLANs)
			return base, info, nil
		}
		v, ok := splitVLAN(base)
		if !ok {
			return base, info, n.noParent(base, missing)
		}
		if !missing && mtu == 0 {
			mtu = info.MTU
		}
		to.VLANs = append(to.VLANs, v)
		base = v.Parent
	}
}

// isOwn reports whether the link of a VLAN of the option vlan is fairway's to
// make. The host's own one is used as it is.
func (n Network) isOwn(ctx context.Context, host Host, v store.VLAN) (made bool, info link.Info, err error) {
	info, err = host.Link(ctx, n.Namespace, v.Link)
	if errors.Is(err, unix.ENODEV) || err == nil && info.Ours {
		return true, info, nil
	}
	if err != nil {
		return false, info, err
	}
	parent, err := host.Link(ctx, n.Namespace, v.Parent)
	if err != nil && !errors.Is(err, unix.ENODEV) {
		return false, info, err
	}
	if info.Kind != "vlan" || info.VLAN != v.ID || info.Parent != parent.Index {
		return false, info, fmt.Errorf("option vlan=\"%d\": link %s is there and is not VLAN %d of %s", v.ID, v.Link, v.ID, v.Parent)
	}
	return false, info, nil
}

// noParent says that a link isn't there and can't be made.
func (n Network) noParent(base string, missing bool) error {
	const begin = "option parent=%q: "
	switch _, tag, dotted := cutTag(base); {
	case !missing: // the link of option vlan, under a name of ours
		return fmt.Errorf(begin+"is fairway's own; name the link that it is on, and vlan", n.set.Parent)
	case base != n.set.Parent:
		return fmt.Errorf(begin+"there is no link %s on this host to make it on", n.set.Parent, base)
	case dotted && tag != "" && strings.Trim(tag, "0123456789") == "":
		return fmt.Errorf(begin+"there is no such link on this host, and %s is no VLAN; want 1 to 4094", n.set.Parent, tag)
	}
	return fmt.Errorf(begin+"there is no such link on this host", n.set.Parent)
}

// splitVLAN reads a name like eth0.40 or eth0.100.40: VLAN 40 of what stands
// before the last dot.
func splitVLAN(name string) (v store.VLAN, ok bool) {
	parent, tag, _ := cutTag(name)
	id, err := strconv.Atoi(tag)
	if err != nil || parent == "" || id < 1 || id > 4094 || strconv.Itoa(id) != tag {
		return v, false
	}
	return store.VLAN{Link: name, Parent: parent, ID: id}, true
}

// cutTag cuts a name at its last dot.
func cutTag(name string) (parent, tag string, dotted bool) {
	i := strings.LastIndexByte(name, '.')
	if i < 0 {
		return name, "", false
	}
	return name[:i], name[i+1:], true
}

// vlanName returns the name of the link of a VLAN: eth0.40, or one of ours where
// that is longer than the kernel takes (IFNAMSIZ of linux/if.h).
func vlanName(parent string, id int) string {
	const longest, digest = 15, 5 // bytes
	name := parent + "." + strconv.Itoa(id)
	if len(name) > longest {
		sum := sha256.Sum256([]byte(name))
		name = "fwl" + hex.EncodeToString(sum[:digest])
	}
	return name
}
