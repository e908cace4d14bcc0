package link

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// dump writes attributes as text: type=bytes, and nested ones in brackets.
func dump(b []byte, nested map[string]int, path string) string {
	var out []string
	_ = each(b, func(t uint16, v []byte) {
		at := fmt.Sprintf("%s/%d", path, t)
		if skip, ok := nested[at]; ok && len(v) > skip {
			out = append(out, fmt.Sprintf("%d[%s]", t, dump(v[skip:], nested, at)))
			return
		}
		out = append(out, fmt.Sprintf("%d=%x", t, v))
	})
	return strings.Join(out, " ")
}

var nested = map[string]int{
	"/18": 0, "/18/2": 0, "/18/2/1": unix.SizeofIfInfomsg, // LINKINFO, its DATA, VETH_INFO_PEER
	"/18/5": 0, // SLAVE_DATA
}

func linkText(req *nl.NetlinkRequest) string {
	b := req.Serialize()[unix.SizeofNlMsghdr:]
	info := nl.DeserializeIfInfomsg(b)
	return fmt.Sprintf("type %d flags %x index %d change %x: %s", req.Type, req.Flags, info.Index, info.Change,
		dump(b[unix.SizeofIfInfomsg:], nested, ""))
}

// The messages as the kernel gets them: types of attributes are those of
// linux/if_link.h.
func TestLinkRequests(t *testing.T) {
	v := Veth{
		Name: "fwv1", Peer: "fwi1", PeerMAC: mac("02:00:00:00:00:01"), MTU: 1400, Alias: "m", Isolated: true,
	}
	hostMAC := ""
	made := linkText(newVeth(v, 7, 0x40000002, "fwi1", 9))
	if i := strings.Index(made, " 1=fe"); i > 0 {
		hostMAC = made[i+3 : i+15]
	}
	for _, c := range []struct{ name, got, want string }{
		{"veth", made, "type 16 flags 601 index 0 change 0: 3=6677763100 31=01000000 32=01000000 27=02000040 1=" + hostMAC +
			" 4=78050000 10=07000000 18[1=76657468 2[1[3=6677693100 31=01000000 32=01000000 27=02000040 1=020000000001 4=78050000 28=09000000]]]"},
		{"port", linkText(setPort(5, v.Alias, v.portFlags())), "type 16 flags 1 index 5 change 1: 20=6d 18[4=627269646765 5[8=00 33=01 4=00 5=01]]"},
		{"bridge", linkText(newBridge(Bridge{Name: "b", MAC: mac("02:00:00:00:00:02"), MTU: 1400}, 6)),
			"type 16 flags 601 index 0 change 0: 3=6200 27=06000000 1=020000000002 18[1=627269646765 2[1=00000000 5=00000000]]"},
		{"set by name", linkText(setLink(0, "x", linkChange{alias: "m", up: true})), "type 19 flags 1 index 0 change 1: 3=7800 20=6d"},
		{"set by index", linkText(setLink(3, "", linkChange{mac: mac("02:00:00:00:00:02"), mtu: 1400, master: 4, group: 5})),
			"type 19 flags 1 index 3 change 0: 1=020000000002 4=78050000 10=04000000 27=05000000"},
		{"group", linkText(delGroup(5)), "type 17 flags 1 index 0 change 0: 27=05000000"},
	} {
		if c.got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, c.got, c.want)
		}
	}
}

func TestAddressRequests(t *testing.T) {
	for _, c := range []struct{ prefix, want string }{
		{"172.30.0.1/20", "0214000000000003 2=ac1e0001 1=ac1e0001 4=ac1e0fff"},
		{"172.30.0.1/31", "021f000000000003 2=ac1e0001 1=ac1e0001"}, // RFC 3021: no broadcast
		{"172.30.0.1/32", "0220000000000003 2=ac1e0001 1=ac1e0001"},
		{"fd00::1/64", "0a40020000000003 2=fd000000000000000000000000000001 1=fd000000000000000000000000000001"},
	} {
		b := addressRequest(unix.RTM_NEWADDR, exclusive, 0x03000000, netip.MustParsePrefix(c.prefix), false).Serialize()[unix.SizeofNlMsghdr:]
		if got := fmt.Sprintf("%x %s", b[:8], dump(b[8:], nil, "")); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.prefix, got, c.want)
		}
	}
}

func TestMarks(t *testing.T) {
	m := newMarks(me)
	for _, c := range []struct {
		alias     string
		group     uint32
		ours, isE bool
	}{
		{Mark(me, "e", ""), 0, true, true},
		{Mark(me, "e", "web"), m.group, true, true},
		{Mark(me, "ee", ""), m.group, true, false},
		{"", m.group, true, true},
		{"", m.group | 1, true, true},
		{"x", m.group, true, true},
		{"", 0, false, true},
		{Mark("ffff0000", "e", ""), m.group, false, true},
	} {
		l := linkState{alias: c.alias, group: c.group}
		if m.ours(l) != c.ours || m.isFor(l, Mark(me, "e", "db")) != c.isE {
			t.Errorf("%q in group %d: ours %t, for e %t", c.alias, c.group, m.ours(l), m.isFor(l, Mark(me, "e", "db")))
		}
	}
	if g := int32(m.group); g <= 1<<30-1 || g&1 != 0 {
		t.Errorf("group %d: want an even number that nobody chooses by hand", g)
	}
}

func TestKernelError(t *testing.T) {
	code := unix.ENODEV
	data := nl.Uint32Attr(uint32(-int32(code)))
	data = append(data, make([]byte, unix.SizeofNlMsghdr)...)
	m := syscall.NetlinkMessage{Header: syscall.NlMsghdr{Flags: unix.NLM_F_CAPPED}, Data: data}
	if err := kernelError(m); !errors.Is(err, unix.ENODEV) || err.Error() != "no such device" {
		t.Errorf("%v", err)
	}
	m.Data = append(m.Data, attr(int(unix.NLMSGERR_ATTR_MSG), []byte("No such link\x00")).Serialize()...)
	m.Header.Flags |= unix.NLM_F_ACK_TLVS
	if err := kernelError(m); !errors.Is(err, unix.ENODEV) || err.Error() != "no such device (No such link)" {
		t.Errorf("%v", err)
	}
	for n := range m.Data { // short ones
		_ = kernelError(syscall.NetlinkMessage{Header: m.Header, Data: slices.Clone(m.Data[:n])})
	}
}

func TestUndisturbed(t *testing.T) {
	tries := 0
	err := undisturbed(func() error {
		if tries++; tries < 4 {
			return fmt.Errorf("dump: %w", netlink.ErrDumpInterrupted)
		}
		return nil
	})
	if err != nil || tries != 4 {
		t.Errorf("%v after %d tries", err, tries)
	}
	if err := undisturbed(func() error { return netlink.ErrDumpInterrupted }); !errors.Is(err, netlink.ErrDumpInterrupted) {
		t.Errorf("a dump that is always disturbed: %v", err)
	}
}

func FuzzParseLink(f *testing.F) {
	f.Add(newVeth(Veth{Name: "fwv1", Peer: "fwi1", MTU: 1400}, 1, 2, "fwi1", -1).Serialize()[unix.SizeofNlMsghdr:])
	f.Add(setPort(3, "x", Veth{}.portFlags()).Serialize()[unix.SizeofNlMsghdr:])
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := parseLink(b)
		if err == nil && len(l.name) > len(b) {
			t.Errorf("%+v", l)
		}
	})
}
