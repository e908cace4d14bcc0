package link

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// segment adds a VXLAN to what a world wants and has.
func (w *world) segment() {
	v := VXLAN{
		Name: "fwx1", Master: "fwb1", Alias: Mark(me, "n1", ""), MAC: mac("02:00:00:00:00:0c"),
		VNI: 1 << 23, Port: 4789, Local: netip.MustParseAddr("192.0.2.1"), MTU: 1450,
	}
	w.want = append(w.want, v)
	w.have.links = append(w.have.links, linkState{
		index: 9, name: "fwx1", kind: "vxlan", alias: v.Alias, group: newMarks(me).group, mac: v.MAC, mtu: 1450, up: true, master: 2,
		port: &portState{guard: true, suppress: true}, inet6: &inet6State{disabled: true},
		vxlan: vxlanState{vni: v.VNI, port: v.Port, local: v.Local, checksum: true},
	})
}

func TestPlanVXLAN(t *testing.T) {
	remote := neighbourAt{2, netip.MustParseAddr("172.30.0.77")}
	for name, c := range map[string]struct {
		do   func(w *world)
		want string
	}{
		"as wanted":    {func(*world) {}, ""},
		"missing":      {func(w *world) { w.remove("fwx1") }, "make vxlan fwx1 to fwb1: was missing"},
		"not wanted":   {func(w *world) { w.want = w.want[:len(w.want)-1] }, "remove link fwx1: belonged to nothing"},
		"somebody's":   {func(w *world) { l := w.link("fwx1"); l.alias, l.group = "", 0 }, "make vxlan fwx1 to fwb1: was somebody else's"},
		"another's":    {func(w *world) { w.link("fwx1").alias = Mark(me, "n2", "") }, "make vxlan fwx1 to fwb1: was another network's"},
		"leaving":      {func(w *world) { w.remove("fwx1"); w.have.leaving["fwx1"] = true }, ""},
		"VNI":          {func(w *world) { w.link("fwx1").vxlan.vni = 7 }, "make vxlan fwx1 to fwb1: VNI was 7"},
		"UDP port":     {func(w *world) { w.link("fwx1").vxlan.port = 8472 }, "make vxlan fwx1 to fwb1: UDP port was 8472"},
		"learns":       {func(w *world) { w.link("fwx1").vxlan.learning = true }, "make vxlan fwx1 to fwb1: learned"},
		"no checksums": {func(w *world) { w.link("fwx1").vxlan.checksum = false }, "make vxlan fwx1 to fwb1: UDP checksums were off"},
		"floods":       {func(w *world) { w.link("fwx1").port.floods = true }, "make vxlan fwx1 to fwb1: its port flooded"},
		"multicast":    {func(w *world) { w.link("fwx1").port.groups.multicast = true }, "make vxlan fwx1 to fwb1: its port flooded"},
		"broadcast":    {func(w *world) { w.link("fwx1").port.groups.broadcast = true }, "make vxlan fwx1 to fwb1: its port flooded"},
		"suppress":     {func(w *world) { w.link("fwx1").port.suppress = false }, "make vxlan fwx1 to fwb1: neigh_suppress was off"},
		"no port":      {func(w *world) { w.link("fwx1").master = 0 }, "make vxlan fwx1 to fwb1: was no port of fwb1"},
		"MAC and down": {func(w *world) { l := w.link("fwx1"); l.mac, l.up = mac("02:00:00:00:00:0d"), false }, "make vxlan fwx1 to fwb1: was down, MAC address was 02:00:00:00:00:0d"},
		"a neighbour":  {func(w *world) { w.have.neighbours[remote] = "02:00:00:00:00:07" }, "remove neighbour 172.30.0.77 on fwb1: belonged to nothing"},
		"others' hosts": {func(w *world) {
			w.have.neighbours[remote] = "02:00:00:00:00:07"
			b := w.want[0].(Bridge)
			b.Remote = true
			w.want[0] = b
		}, ""},
	} {
		w := newWorld()
		w.segment()
		c.do(w)
		var got []string
		for _, s := range plan("", w.want, w.have, newMarks(me)) {
			act := "make "
			if s.remove {
				act = "remove "
			}
			got = append(got, act+s.object.String()+": "+s.what)
		}
		if text := strings.Join(got, "\n"); text != c.want {
			t.Errorf("%s:\n got %s\nwant %s", name, text, c.want)
		}
	}
}

// The messages of a list may be cut anywhere: none is read beyond its end.
func FuzzRemoteList(f *testing.F) {
	message := func(kind uint16, data []byte) []byte {
		b := binary.NativeEndian.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(data)))
		b = binary.NativeEndian.AppendUint16(b, kind)
		return append(append(b, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0), data...)
	}
	header := []byte{unix.AF_BRIDGE, 0, 0, 0, 9, 0, 0, 0, unix.NUD_NOARP, 0, unix.NTF_SELF, 0}
	entry := append(append(append([]byte{}, header...), 10, 0, unix.NDA_LLADDR, 0, 2, 0, 0, 0, 0, 1, 0, 0), 8, 0, unix.NDA_DST, 0, 192, 0, 2, 7)
	whole := append(message(unix.RTM_NEWNEIGH, entry), message(unix.NLMSG_DONE, []byte{0, 0, 0, 0})...)
	f.Add(whole)
	f.Add(whole[:30])
	f.Add([]byte{255, 255, 255, 255, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		seen := 0
		last, err := messages(b, 1, func(msg []byte) {
			seen++
			if e, ok := parseRemoteEntry(msg, 9); ok && e.Host.IsValid() && len(e.Host.AsSlice()) != 4 && len(e.Host.AsSlice()) != 16 {
				t.Errorf("%+v", e)
			}
			if n, ok := parseRemoteIP(msg, 9); ok && !n.IP.IsValid() {
				t.Errorf("%+v", n)
			}
		})
		if string(b) == string(whole) && (seen != 1 || !last || err != nil) {
			t.Errorf("%d messages, last %t, %v", seen, last, err)
		}
	})
}

func TestRemoteEntry(t *testing.T) {
	header := func(state, flags byte) []byte {
		return []byte{unix.AF_BRIDGE, 0, 0, 0, 9, 0, 0, 0, state, 0, flags, 0, 10, 0, unix.NDA_LLADDR, 0, 2, 0, 0, 0, 0, 1, 0, 0}
	}
	for name, c := range map[string]struct {
		msg  []byte
		port int
		ok   bool
		want RemoteEntry
	}{
		"VXLAN's":        {append(header(unix.NUD_NOARP, unix.NTF_SELF), 8, 0, unix.NDA_DST, 0, 192, 0, 2, 7), 9, true, RemoteEntry{RemoteMAC{MAC{2, 0, 0, 0, 0, 1}, netip.MustParseAddr("192.0.2.7")}, false}},
		"bridge's":       {header(unix.NUD_NOARP, 0), 9, true, RemoteEntry{RemoteMAC{MAC: MAC{2, 0, 0, 0, 0, 1}}, true}},
		"another port's": {header(unix.NUD_NOARP, 0), 8, false, RemoteEntry{}},
		"the port's own": {header(unix.NUD_PERMANENT, 0), 9, false, RemoteEntry{}},
		"short":          {header(unix.NUD_NOARP, 0)[:8], 9, false, RemoteEntry{}},
	} {
		if got, ok := parseRemoteEntry(c.msg, c.port); ok != c.ok || ok && got != c.want {
			t.Errorf("%s: %+v, %t; want %+v, %t", name, got, ok, c.want, c.ok)
		}
	}
}
