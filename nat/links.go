package nat

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A hostLink is what matters here of a link.
type hostLink struct {
	index, master int
	name, kind    string // kind is "" for a card: rtnetlink's IFLA_INFO_KIND
	alias         string
}

// skipStatistics asks for links without their counters: RTEXT_FILTER_SKIP_STATS of
// linux/rtnetlink.h.
const skipStatistics = 1 << 3

// hostLinks lists the links of this network namespace. Of a thousand, all that the
// kernel can tell of each takes ten times as long to get and to read.
func hostLinks() (out []hostLink, err error) {
	request := nl.NewNetlinkRequest(unix.RTM_GETLINK, unix.NLM_F_DUMP)
	request.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	request.AddData(nl.NewRtAttr(unix.IFLA_EXT_MASK, nl.Uint32Attr(skipStatistics)))
	err = request.ExecuteIter(unix.NETLINK_ROUTE, unix.RTM_NEWLINK, func(message []byte) bool {
		if l, ok := readHostLink(message); ok {
			out = append(out, l)
		}
		return true
	})
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("nat: list links: %w", err)
	}
	return out, nil
}

// readHostLink reads an RTM_NEWLINK message: rtnetlink(7).
func readHostLink(message []byte) (l hostLink, ok bool) {
	if len(message) < unix.SizeofIfInfomsg {
		return l, false
	}
	l.index = int(nl.DeserializeIfInfomsg(message).Index)
	text := func(value []byte) string { return string(bytes.TrimRight(value, "\x00")) }
	forEachAttribute(message[unix.SizeofIfInfomsg:], func(kind uint16, value []byte) {
		switch kind {
		case unix.IFLA_IFNAME:
			l.name = text(value)
		case unix.IFLA_IFALIAS:
			l.alias = text(value)
		case unix.IFLA_MASTER:
			if len(value) >= 4 {
				l.master = int(nl.NativeEndian().Uint32(value))
			}
		case unix.IFLA_LINKINFO:
			forEachAttribute(value, func(kind uint16, value []byte) {
				if kind == unix.IFLA_INFO_KIND {
					l.kind = text(value)
				}
			})
		}
	})
	return l, l.name != ""
}

// forEachAttribute goes through netlink attributes, as far as they are whole.
func forEachAttribute(all []byte, f func(kind uint16, value []byte)) {
	for len(all) >= unix.SizeofRtAttr {
		size := int(nl.NativeEndian().Uint16(all))
		if size < unix.SizeofRtAttr || size > len(all) {
			return
		}
		f(nl.NativeEndian().Uint16(all[2:])&nl.NLA_TYPE_MASK, all[unix.SizeofRtAttr:size])
		all = all[min((size+unix.RTA_ALIGNTO-1)&^(unix.RTA_ALIGNTO-1), len(all)):]
	}
}
