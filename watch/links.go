package watch

import (
	"encoding/binary"
	"net/netip"
	"sync"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// links reads notifications of links and addresses, and remembers what of ours
// is not as it must be by the last one about it: links come up step by step.
type links struct {
	wanted, parent func(link string) bool

	mu    sync.Mutex
	names map[int32]string // of the host's links, by index
	up    map[int32]bool
	harm  map[thing]bool // what is missing or down
	all   bool           // there may be more than harm: something was missed
}

// A thing is a link, or with ip an address on it.
type thing struct {
	link string
	ip   netip.Prefix
}

func newLinks(wanted, parent func(string) bool) *links {
	return &links{wanted: wanted, parent: parent, names: map[int32]string{}, up: map[int32]bool{}, harm: map[thing]bool{}}
}

// missed is to be called when notifications were lost.
func (l *links) missed() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = true
}

// take reports whether there is harm to what is wanted still, and forgets it.
func (l *links) take() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	any := l.all
	for t := range l.harm {
		any = any || l.wanted(t.link) || l.parent(t.link)
	}
	l.all = false
	clear(l.harm)
	return any
}

// read reports whether m says that something of ours came to harm.
func (l *links) read(m netlink.Message) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch m.Header.Type {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		return l.link(m.Header.Type == unix.RTM_DELLINK, m.Data)
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		return l.address(m.Header.Type == unix.RTM_DELADDR, m.Data)
	case unix.RTM_DELRULE: // they are few, and not told apart
		l.all = true
		return true
	}
	return false
}

// otherOrder reports whether a policy rule went, or one came that isn't ours: it
// may be before ours.
func otherOrder(m netlink.Message, ours uint8) bool {
	switch m.Header.Type {
	case unix.RTM_DELRULE:
		return true
	case unix.RTM_NEWRULE:
		const header = 12 // struct fib_rule_hdr of linux/fib_rules.h
		p := attribute(m.Data[min(header, len(m.Data)):], unix.FRA_PROTOCOL)
		return len(p) != 1 || p[0] != ours
	}
	return false
}

// link reads struct ifinfomsg, see rtnetlink(7).
func (l *links) link(gone bool, data []byte) bool {
	if len(data) < unix.SizeofIfInfomsg || data[0] != unix.AF_UNSPEC {
		return false // of a bridge's port: it comes again as a link
	}
	index := int32(binary.NativeEndian.Uint32(data[4:]))
	up := binary.NativeEndian.Uint32(data[8:])&unix.IFF_UP != 0
	attributes := data[unix.SizeofIfInfomsg:]
	name := text(attributes, unix.IFLA_IFNAME)
	before, known := l.names[index]
	renamed := known && before != name && l.note(thing{link: before}, true)
	wasUp := l.up[index]
	if gone {
		delete(l.names, index)
		delete(l.up, index)
	} else {
		l.names[index], l.up[index] = name, up
	}
	if l.parent(name) || known && before != name && l.parent(before) {
		if gone || !known || before != name || wasUp != up {
			l.harm[thing{link: name}] = true
			if known {
				l.harm[thing{link: before}] = true
			}
			return true
		}
		if !l.wanted(name) {
			return false
		}
	}
	kind := text(attribute(attributes, unix.IFLA_LINKINFO), unix.IFLA_INFO_KIND)
	bridge := kind == "bridge" || kind == "dummy" || kind == "ifb" // or what stands for one: see link.Isle
	port := attribute(attributes, unix.IFLA_MASTER) != nil
	return l.note(thing{link: name}, gone || !up || !bridge && !port) || renamed
}

// address reads struct ifaddrmsg.
func (l *links) address(gone bool, data []byte) bool {
	if len(data) < unix.SizeofIfAddrmsg {
		return false
	}
	link, ok := l.names[int32(binary.NativeEndian.Uint32(data[4:]))]
	if !ok {
		return false
	}
	attributes := data[unix.SizeofIfAddrmsg:]
	raw := attribute(attributes, unix.IFA_LOCAL)
	if raw == nil {
		raw = attribute(attributes, unix.IFA_ADDRESS)
	}
	ip, ok := netip.AddrFromSlice(raw)
	if !ok {
		return false
	}
	return l.note(thing{link, netip.PrefixFrom(ip, int(data[1]))}, gone)
}

// note remembers whether a thing came to harm, and reports it if so.
func (l *links) note(t thing, harmed bool) bool {
	if !harmed || !l.wanted(t.link) {
		delete(l.harm, t)
		return false
	}
	l.harm[t] = true
	return true
}
