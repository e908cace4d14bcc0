package driver

import (
	"fmt"
	"slices"

	"fairway/store"
)

// uplink is the link of the host that n waits for: its parent or, where that is a
// VLAN of fairway's, the one that the VLAN is on.
func (n network) uplink() string {
	if len(n.VLANs) > 0 {
		return n.VLANs[0].Parent
	}
	return n.Link
}

// hasVLAN reports whether a link is one that is made for n.
func (n network) hasVLAN(link string) bool {
	return slices.ContainsFunc(n.VLANs, func(v store.VLAN) bool { return v.Link == link })
}

// waitsFor says that n can't have a VLAN made, since network o has that link of
// the host's own for its parent, and it is missing just now; nil if it can.
func (n network) waitsFor(o network) error {
	if o.onParent() && n.hasVLAN(o.Link) && !o.hasVLAN(o.Link) {
		return fmt.Errorf("option parent=%q: network %s waits for link %s, which was not fairway's to make: make it yourself", n.Link, o.title(), o.Link)
	}
	return nil
}
