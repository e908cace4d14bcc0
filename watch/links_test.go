package watch

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

func linkMessage(t testing.TB, kind, index int, link string, up bool, sort string, master uint32) netlink.Message {
	t.Helper()
	header := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(header[4:], uint32(index))
	if up {
		binary.NativeEndian.PutUint32(header[8:], unix.IFF_UP)
	}
	info, err := netlink.MarshalAttributes([]netlink.Attribute{name(unix.IFLA_INFO_KIND, sort)})
	if err != nil {
		t.Fatal(err)
	}
	attributes := []netlink.Attribute{name(unix.IFLA_IFNAME, link), {Type: unix.IFLA_LINKINFO | unix.NLA_F_NESTED, Data: info}}
	if master != 0 {
		attributes = append(attributes, netlink.Attribute{Type: unix.IFLA_MASTER, Data: binary.NativeEndian.AppendUint32(nil, master)})
	}
	return message(t, kind, header, attributes...)
}

func newLink(t testing.TB, index int, link string, up bool, sort string, master uint32) netlink.Message {
	t.Helper()
	return linkMessage(t, unix.RTM_NEWLINK, index, link, up, sort, master)
}

func addressMessage(t testing.TB, kind int, index uint32, address string) netlink.Message {
	t.Helper()
	p := netip.MustParsePrefix(address)
	header := binary.NativeEndian.AppendUint32([]byte{unix.AF_INET, byte(p.Bits()), 0, 0}, index)
	return message(t, kind, header, netlink.Attribute{Type: unix.IFA_LOCAL, Data: p.Addr().AsSlice()})
}

// TestLinks gives notifications in turn and wants the last to count or not, and
// a look to be right afterwards or not. Bridge fwb1 and its port fwv1 are
// wanted.
func TestLinks(t *testing.T) {
	bridge := func(up bool) netlink.Message { return newLink(t, 1, "fwb1", up, "bridge", 0) }
	port := func(up bool, master uint32) netlink.Message { return newLink(t, 2, "fwv1", up, "veth", master) }
	gone := func(index int, link, sort string) netlink.Message {
		return linkMessage(t, unix.RTM_DELLINK, index, link, false, sort, 0)
	}
	leftBridge := linkMessage(t, unix.RTM_DELLINK, 2, "fwv1", true, "veth", 1)
	leftBridge.Data[0] = unix.AF_BRIDGE
	const address = "10.99.0.1/24"
	tests := map[string]struct {
		messages    []netlink.Message
		counts, due bool
	}{
		"as they must be":            {[]netlink.Message{bridge(true), port(true, 1)}, false, false},
		"bridge gone":                {[]netlink.Message{bridge(true), gone(1, "fwb1", "bridge")}, true, true},
		"bridge down":                {[]netlink.Message{bridge(true), bridge(false)}, true, true},
		"bridge made, step by step":  {[]netlink.Message{bridge(false), bridge(true)}, false, false},
		"port gone":                  {[]netlink.Message{port(true, 1), gone(2, "fwv1", "veth")}, true, true},
		"port down":                  {[]netlink.Message{port(false, 1)}, true, true},
		"port without master":        {[]netlink.Message{port(true, 0)}, true, true},
		"port made, step by step":    {[]netlink.Message{port(false, 0), port(false, 1), port(true, 1)}, false, false},
		"port made anew":             {[]netlink.Message{gone(2, "fwv1", "veth"), newLink(t, 3, "fwv1", true, "veth", 1)}, false, false},
		"renamed":                    {[]netlink.Message{port(true, 1), newLink(t, 2, "other", true, "veth", 1)}, true, true},
		"message of the bridge's":    {[]netlink.Message{leftBridge}, false, false},
		"end for a container moved":  {[]netlink.Message{gone(3, "fwi1", "veth")}, false, false},
		"other's link":               {[]netlink.Message{gone(4, "eth0", "")}, false, false},
		"address gone":               {[]netlink.Message{bridge(true), addressMessage(t, unix.RTM_DELADDR, 1, address)}, true, true},
		"another's address":          {[]netlink.Message{newLink(t, 4, "eth0", true, "", 0), addressMessage(t, unix.RTM_DELADDR, 4, address)}, false, false},
		"address of unknown link":    {[]netlink.Message{addressMessage(t, unix.RTM_DELADDR, 9, address)}, false, false},
		"address gone and back":      {[]netlink.Message{bridge(true), addressMessage(t, unix.RTM_DELADDR, 1, address), addressMessage(t, unix.RTM_NEWADDR, 1, address)}, false, false},
		"policy rule gone":           {[]netlink.Message{message(t, unix.RTM_DELRULE, make([]byte, 12))}, true, true},
		"harm, and then other links": {[]netlink.Message{gone(1, "fwb1", "bridge"), newLink(t, 4, "eth0", true, "", 0)}, false, true},
	}
	for what, test := range tests {
		t.Run(what, func(t *testing.T) {
			l := newLinks(func(link string) bool { return link == "fwb1" || link == "fwv1" }, nobody)
			var counts bool
			for _, m := range test.messages {
				counts = l.read(m)
			}
			if counts != test.counts {
				t.Errorf("the last message counts: %v, want %v", counts, test.counts)
			}
			if due := l.take(); due != test.due {
				t.Errorf("a look is due: %v, want %v", due, test.due)
			}
			if l.take() {
				t.Error("a look is due after the look")
			}
		})
	}
}

// What no record wants any more when the look would be, needs none.
func TestLinksNotWantedAnyMore(t *testing.T) {
	wanted := true
	l := newLinks(func(string) bool { return wanted }, nobody)
	if !l.read(linkMessage(t, unix.RTM_DELLINK, 1, "fwb1", false, "bridge", 0)) {
		t.Fatal("a link that is gone doesn't count")
	}
	wanted = false
	if l.take() {
		t.Error("a look is due for a link that nobody wants")
	}
	l.missed()
	if !l.take() {
		t.Error("no look is due though something was missed")
	}
}

func nobody(string) bool { return false }

// A parent is somebody else's link: it is looked at when it comes and goes, not
// with each link that is made on it.
func TestParents(t *testing.T) {
	l := newLinks(nobody, func(link string) bool { return link == "eth1" })
	for i, c := range []struct {
		gone  bool
		index int
		name  string
		up    bool
		want  bool
	}{
		{false, 7, "eth1", true, true}, // new
		{false, 7, "eth1", true, false},
		{false, 7, "eth1", false, true},
		{false, 7, "eth1", false, false},
		{false, 7, "eth1", true, true},
		{false, 8, "eth2", true, false},
		{false, 7, "eth9", true, true}, // renamed
		{false, 7, "eth9", true, false},
		{false, 8, "eth1", true, true}, // the other takes its name
		{true, 8, "eth1", true, true},
		{true, 7, "eth9", true, false},
	} {
		kind := unix.RTM_NEWLINK
		if c.gone {
			kind = unix.RTM_DELLINK
		}
		if got := l.read(linkMessage(t, kind, c.index, c.name, c.up, "veth", 0)); got != c.want {
			t.Errorf("%d: %+v: harm %t", i, c, got)
		}
		if took := l.take(); took != c.want {
			t.Errorf("%d: %+v: a look would be taken: %t", i, c, took)
		}
	}
}

func TestOtherOrder(t *testing.T) {
	rule := func(protocol byte) []byte {
		return append(make([]byte, 12), 5, 0, unix.FRA_PROTOCOL, 0, protocol, 0, 0, 0)
	}
	for name, c := range map[string]struct {
		m    netlink.Message
		want bool
	}{
		"ours":             {message(t, unix.RTM_NEWRULE, rule(102)), false},
		"another's":        {message(t, unix.RTM_NEWRULE, rule(3)), true},
		"nobody's":         {message(t, unix.RTM_NEWRULE, make([]byte, 12)), true},
		"cut short":        {message(t, unix.RTM_NEWRULE, make([]byte, 4)), true},
		"one that is gone": {message(t, unix.RTM_DELRULE, rule(102)), true},
		"no rule":          {message(t, unix.RTM_NEWADDR, rule(3)), false},
	} {
		if got := otherOrder(c.m, 102); got != c.want {
			t.Errorf("%s: %t, want %t", name, got, c.want)
		}
	}
}
