package link

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// PortVLANs are the VLANs of a VLAN-aware bridge that a port takes part in (IEEE
// 802.1Q, bridge(8)). The zero value leaves the port those that the bridge gives
// to every new one.
type PortVLANs struct {
	// Access is the VLAN of frames without a tag, both ways: the port's PVID; 0
	// for none: such frames are dropped.
	Access uint16
	Tagged []VLANRange // in order, apart from each other and from Access
}

// A VLANRange is the VLANs from First to Last.
type VLANRange struct{ First, Last uint16 }

// IsZero reports whether the port's VLANs are left to the bridge.
func (v PortVLANs) IsZero() bool { return v.Access == 0 && len(v.Tagged) == 0 }

// String returns the VLANs as in "40 untagged, 10-20, 30".
func (v PortVLANs) String() string { return v.byID().String() }

// byID returns what the kernel holds for the port then.
func (v PortVLANs) byID() vlanFlags {
	out := vlanFlags{}
	for _, r := range v.Tagged {
		for id := int(r.First); id <= int(r.Last); id++ {
			out[uint16(id)] = 0
		}
	}
	if v.Access != 0 {
		out[v.Access] = nl.BRIDGE_VLAN_INFO_PVID | nl.BRIDGE_VLAN_INFO_UNTAGGED
	}
	return out
}

// vlanFlags are the VLANs of a port with their flags, BRIDGE_VLAN_INFO_* in
// linux/if_bridge.h.
type vlanFlags map[uint16]uint16

func (f vlanFlags) String() string {
	var out []string
	for _, id := range slices.Sorted(maps.Keys(f)) {
		word := fmt.Sprint(id)
		switch f[id] & (nl.BRIDGE_VLAN_INFO_PVID | nl.BRIDGE_VLAN_INFO_UNTAGGED) {
		case nl.BRIDGE_VLAN_INFO_PVID | nl.BRIDGE_VLAN_INFO_UNTAGGED:
			word += " untagged"
		case nl.BRIDGE_VLAN_INFO_PVID:
			word += " untagged inwards"
		case nl.BRIDGE_VLAN_INFO_UNTAGGED:
			word += " untagged outwards"
		}
		out = append(out, word)
	}
	if len(out) == 0 {
		return "none"
	}
	return strings.Join(out, ", ")
}

const lastPortVLAN = 4094 // IEEE 802.1Q: 4095 is reserved

// setVLANs asks for just these VLANs on a port. Those that the bridge gave it
// go: the kernel takes ones in its stride that aren't there.
func setVLANs(port int, v PortVLANs) []*nl.NetlinkRequest {
	gone := vlanRequest(unix.RTM_DELLINK, port, vlanRange(VLANRange{1, lastPortVLAN}, 0))
	var infos [][]byte
	if v.Access != 0 {
		infos = append(infos, vlanInfo(v.Access, nl.BRIDGE_VLAN_INFO_PVID|nl.BRIDGE_VLAN_INFO_UNTAGGED))
	}
	for _, r := range v.Tagged {
		infos = append(infos, vlanRange(r, 0)...)
	}
	return []*nl.NetlinkRequest{gone, vlanRequest(unix.RTM_SETLINK, port, infos)}
}

func vlanRange(r VLANRange, flags uint16) [][]byte {
	if r.First == r.Last {
		return [][]byte{vlanInfo(r.First, flags)}
	}
	return [][]byte{
		vlanInfo(r.First, flags|nl.BRIDGE_VLAN_INFO_RANGE_BEGIN), vlanInfo(r.Last, flags|nl.BRIDGE_VLAN_INFO_RANGE_END),
	}
}

// vlanInfo is a struct bridge_vlan_info.
func vlanInfo(id, flags uint16) []byte { return append(nl.Uint16Attr(flags), nl.Uint16Attr(id)...) }

func vlanRequest(kind, port int, infos [][]byte) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(kind, 0)
	msg := nl.NewIfInfomsg(unix.AF_BRIDGE)
	msg.Index = int32(port)
	req.AddData(msg)
	spec := attr(unix.IFLA_AF_SPEC, nil)
	for _, i := range infos {
		spec.AddRtAttr(nl.IFLA_BRIDGE_VLAN_INFO, i)
	}
	req.AddData(spec)
	return req
}

const compressedVLANs = 1 << 2 // RTEXT_FILTER_BRVLAN_COMPRESSED, linux/rtnetlink.h

// portVLANs reads the VLANs of all ports of bridges, by the port's index.
func (s *space) portVLANs() (out map[int]vlanFlags, err error) {
	err = undisturbed(func() error {
		out = map[int]vlanFlags{}
		req := nl.NewNetlinkRequest(unix.RTM_GETLINK, unix.NLM_F_DUMP)
		req.AddData(nl.NewIfInfomsg(unix.AF_BRIDGE))
		req.AddData(attr(unix.IFLA_EXT_MASK, u32(compressedVLANs)))
		msgs, err := s.list.dump(req, unix.RTM_NEWLINK)
		if err != nil {
			return err
		}
		for _, m := range msgs {
			if index, f, err := parseVLANs(m); err != nil {
				return err
			} else if len(f) > 0 {
				out[index] = f
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list VLANs of ports: %w", err)
	}
	return out, nil
}

// parseVLANs reads a message of kind RTM_NEWLINK of the bridge family.
func parseVLANs(msg []byte) (index int, f vlanFlags, err error) {
	if len(msg) < unix.SizeofIfInfomsg {
		return 0, nil, fmt.Errorf("link message: %w", unix.EBADMSG)
	}
	f = vlanFlags{}
	var first uint16
	err = each(msg[unix.SizeofIfInfomsg:], func(t uint16, v []byte) {
		if t != unix.IFLA_AF_SPEC {
			return
		}
		_ = each(v, func(t uint16, v []byte) {
			if t != nl.IFLA_BRIDGE_VLAN_INFO || len(v) < 4 {
				return
			}
			flags, id := uint16(number(v[:2])), uint16(number(v[2:4]))
			if flags&nl.BRIDGE_VLAN_INFO_RANGE_BEGIN != 0 {
				first = id
				return
			}
			if flags&nl.BRIDGE_VLAN_INFO_RANGE_END == 0 {
				first = id
			}
			for i := int(first); i <= int(min(id, lastPortVLAN)); i++ {
				f[uint16(i)] = flags & (nl.BRIDGE_VLAN_INFO_PVID | nl.BRIDGE_VLAN_INFO_UNTAGGED)
			}
		})
	})
	return int(nl.DeserializeIfInfomsg(msg).Index), f, err
}
