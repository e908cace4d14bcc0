package link

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A linkState is what the kernel says of a link.
type linkState struct {
	index, mtu, master int
	// peer is the index of the other end of a pair, or of the parent of a macvlan,
	// ipvlan or VLAN. It
	// counts in this namespace, unless the end is elsewhere.
	peer      int
	elsewhere bool
	name      string
	kind      string // "bridge", "veth", "macvlan", "ipvlan", "vlan"; "" for hardware
	alias     string
	mac       net.HardwareAddr
	group     uint32
	up        bool
	port      *portState   // of a bridge
	vlans     vlanFlags    // of a port, where they were asked for
	bridge    *bridgeState // of a bridge itself
	snoop     snoopState   // likewise
	macvlan   int          // mode of a macvlan: see macvlanModes
	ipvlan    ipvlanState  // of an ipvlan
	vlan      int          // ID of a VLAN
	vxlan     vxlanState   // of a VXLAN
	inet6     *inet6State  // nil: no IPv6 here
}

// portState is what a port does; floods: it gets frames of unknown destination.
type portState struct {
	learning, isolated, hairpin, guard, forwarding, suppress, floods bool

	groups groupState
}

type bridgeState struct {
	stp, vlan    bool
	forwardDelay int
}

// ipvlanState is the kernel's numbers, see ipvlanModes and ipvlanFlags.
type ipvlanState struct{ mode, flag int }

type inet6State struct{ disabled, acceptRA bool }

// link reads a link; unix.ENODEV if there is none.
func (k *socket) link(name string) (linkState, error) {
	data, err := k.one(getLink(name))
	if err != nil {
		return linkState{}, err
	}
	return parseLink(data)
}

// links reads all links of the namespace.
func (s *space) links() (out []linkState, err error) {
	err = undisturbed(func() error {
		out = nil
		req, _ := linkRequest(unix.RTM_GETLINK, unix.NLM_F_DUMP, 0)
		req.AddData(attr(unix.IFLA_EXT_MASK, u32(skipStats)))
		msgs, err := s.list.dump(req, unix.RTM_NEWLINK)
		if err != nil {
			return err
		}
		for _, m := range msgs {
			l, err := parseLink(m)
			if err != nil {
				return err
			}
			out = append(out, l)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	return out, nil
}

// undisturbed repeats a dump that something changed under, since half a truth
// must not be acted on.
func undisturbed(dump func() error) (err error) {
	const attempts = 20
	for i := range attempts {
		if err = dump(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			return err
		}
		time.Sleep(time.Duration(i) * time.Millisecond)
	}
	return err
}

// parseLink reads a message of kind RTM_NEWLINK, see rtnetlink(7) and
// linux/if_link.h.
func parseLink(msg []byte) (linkState, error) {
	if len(msg) < unix.SizeofIfInfomsg {
		return linkState{}, fmt.Errorf("link message: %w", unix.EBADMSG)
	}
	info := nl.DeserializeIfInfomsg(msg)
	l := linkState{index: int(info.Index), up: info.Flags&unix.IFF_UP != 0}
	err := each(msg[unix.SizeofIfInfomsg:], func(t uint16, v []byte) {
		switch t {
		case unix.IFLA_IFNAME:
			l.name = unix.ByteSliceToString(v)
		case unix.IFLA_IFALIAS:
			l.alias = unix.ByteSliceToString(v)
		case unix.IFLA_ADDRESS:
			l.mac = append(net.HardwareAddr(nil), v...)
		case unix.IFLA_MTU:
			l.mtu = number(v)
		case unix.IFLA_MASTER:
			l.master = number(v)
		case unix.IFLA_LINK:
			l.peer = number(v)
		case unix.IFLA_LINK_NETNSID:
			l.elsewhere = true
		case unix.IFLA_GROUP:
			l.group = uint32(number(v))
		case unix.IFLA_LINKINFO:
			l.parseInfo(v)
		case unix.IFLA_AF_SPEC:
			l.parseFamilies(v)
		}
	})
	return l, err
}

func (l *linkState) parseInfo(b []byte) {
	var data, slave []byte
	var slaveKind string
	_ = each(b, func(t uint16, v []byte) {
		switch t {
		case nl.IFLA_INFO_KIND:
			l.kind = unix.ByteSliceToString(v)
		case nl.IFLA_INFO_DATA:
			data = v
		case nl.IFLA_INFO_SLAVE_KIND:
			slaveKind = unix.ByteSliceToString(v)
		case nl.IFLA_INFO_SLAVE_DATA:
			slave = v
		}
	})
	if l.kind == "bridge" {
		l.bridge = &bridgeState{}
		_ = each(data, func(t uint16, v []byte) {
			switch t {
			case unix.IFLA_BR_FORWARD_DELAY:
				l.bridge.forwardDelay = number(v)
			case unix.IFLA_BR_STP_STATE:
				l.bridge.stp = number(v) != 0
			case unix.IFLA_BR_VLAN_FILTERING:
				l.bridge.vlan = number(v) != 0
			}
			l.snoop.parse(t, v)
		})
	}
	_ = each(data, func(t uint16, v []byte) {
		switch {
		case l.kind == "macvlan" && t == nl.IFLA_MACVLAN_MODE:
			l.macvlan = number(v)
		case l.kind == "ipvlan" && t == nl.IFLA_IPVLAN_MODE:
			l.ipvlan.mode = number(v)
		case l.kind == "ipvlan" && t == nl.IFLA_IPVLAN_FLAG:
			l.ipvlan.flag = number(v)
		case l.kind == "vlan" && t == nl.IFLA_VLAN_ID:
			l.vlan = number(v)
		case l.kind == "vxlan":
			l.vxlan.parse(t, v)
		}
	})
	if slaveKind == "bridge" {
		l.port = &portState{}
		_ = each(slave, func(t uint16, v []byte) {
			switch t {
			case unix.IFLA_BRPORT_LEARNING:
				l.port.learning = number(v) != 0
			case unix.IFLA_BRPORT_ISOLATED:
				l.port.isolated = number(v) != 0
			case unix.IFLA_BRPORT_MODE:
				l.port.hairpin = number(v) != 0
			case unix.IFLA_BRPORT_GUARD:
				l.port.guard = number(v) != 0
			case unix.IFLA_BRPORT_NEIGH_SUPPRESS:
				l.port.suppress = number(v) != 0
			case unix.IFLA_BRPORT_UNICAST_FLOOD:
				l.port.floods = number(v) != 0
			case unix.IFLA_BRPORT_STATE:
				l.port.forwarding = number(v) == 3 // BR_STATE_FORWARDING, linux/if_bridge.h
			}
			l.port.groups.parse(t, v)
		})
	}
}

// The places of sysctls in IFLA_INET6_CONF: linux/ipv6.h, enum DEVCONF_*.
const (
	devconfAcceptRA    = 3
	devconfDisableIPv6 = 26
)

func (l *linkState) parseFamilies(b []byte) {
	_ = each(b, func(t uint16, v []byte) {
		if t != unix.AF_INET6 {
			return
		}
		_ = each(v, func(t uint16, v []byte) {
			if t == unix.IFLA_INET6_CONF && len(v) >= 4*(devconfDisableIPv6+1) {
				l.inet6 = &inet6State{
					disabled: number(v[4*devconfDisableIPv6:][:4]) != 0,
					acceptRA: number(v[4*devconfAcceptRA:][:4]) != 0,
				}
			}
		})
	})
}

// each calls f with every attribute in b. (nl.ParseRouteAttr panics when the
// last one is cut short.)
func each(b []byte, f func(t uint16, v []byte)) error {
	for len(b) >= unix.SizeofRtAttr {
		n, t := int(nl.NativeEndian().Uint16(b)), nl.NativeEndian().Uint16(b[2:])
		if n < unix.SizeofRtAttr || n > len(b) {
			return fmt.Errorf("attribute of %d bytes in %d: %w", n, len(b), unix.EBADMSG)
		}
		f(t&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER), b[unix.SizeofRtAttr:n])
		b = b[min((n+unix.RTA_ALIGNTO-1)&^(unix.RTA_ALIGNTO-1), len(b)):]
	}
	return nil
}

// number reads an attribute of 1, 2 or 4 bytes; 0 for any other.
func number(v []byte) int {
	switch len(v) {
	case 1:
		return int(v[0])
	case 2:
		return int(nl.NativeEndian().Uint16(v))
	case 4:
		return int(nl.NativeEndian().Uint32(v))
	}
	return 0
}
