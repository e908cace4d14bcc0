package link

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

const me = "0123abcd"

// A world is a kernel that holds just what is wanted, for cases to disturb.
type world struct {
	want Set
	have state
}

func newWorld() *world {
	m := newMarks(me)
	b := Bridge{Name: "fwb1", Alias: Mark(me, "n1", ""), MAC: mac("02:00:00:00:00:0b"), MTU: 1500}
	v := Veth{
		Name: "fwv1", Peer: "fwi1", PeerMAC: mac("02:00:00:00:00:01"), MTU: 1500, Master: "fwb1",
		Alias: Mark(me, "e1", "web"),
	}
	ip := netip.MustParseAddr("172.30.0.2")
	subnet := netip.MustParsePrefix("172.30.0.1/24")
	return &world{
		want: Set{
			b, Address{Link: "fwb1", Prefix: subnet}, Sysctl{Path: "net/ipv4/conf/fwb1/route_localnet", Value: "1"},
			v, Neighbour{Link: "fwb1", IP: ip, MAC: v.PeerMAC},
		},
		have: state{
			links: []linkState{
				{index: 1, name: "lo", up: true, mtu: 65536},
				{
					index: 2, name: "fwb1", kind: "bridge", alias: b.Alias, group: m.group, mac: b.MAC, mtu: 1500, up: true,
					bridge: &bridgeState{}, inet6: &inet6State{disabled: true},
				},
				{
					index: 3, peer: 4, name: "fwi1", kind: "veth", alias: v.Alias, group: m.group, mac: v.PeerMAC, mtu: 1500,
				},
				{
					index: 4, peer: 3, name: "fwv1", kind: "veth", alias: v.Alias, group: m.group, mac: mac("fe:00:00:00:00:01"),
					mtu: 1500, up: true, master: 2, port: &portState{guard: true}, inet6: &inet6State{disabled: true},
				},
			},
			addresses:  map[addressAt]int{{2, subnet}: 0, {1, netip.MustParsePrefix("127.0.0.1/8")}: 0},
			neighbours: map[neighbourAt]string{{2, ip}: v.PeerMAC.String()},
			fdb:        map[int]map[string]bool{4: {v.PeerMAC.String(): true}},
			sysctls:    map[string]string{"net/ipv4/conf/fwb1/route_localnet": "1"},
			leaving:    map[string]bool{},
			alive:      map[string]bool{"/run/ns/1": true},
		},
	}
}

func (w *world) link(name string) *linkState {
	for i := range w.have.links {
		if w.have.links[i].name == name {
			return &w.have.links[i]
		}
	}
	panic(name)
}

func (w *world) remove(names ...string) {
	w.have.links = slices.DeleteFunc(w.have.links, func(l linkState) bool { return slices.Contains(names, l.name) })
}

// veth changes the pair that is wanted.
func (w *world) veth(change func(*Veth)) {
	for i, o := range w.want {
		if v, ok := o.(Veth); ok {
			change(&v)
			w.want[i] = v
		}
	}
}

func TestPlan(t *testing.T) {
	group := newMarks(me).group
	for _, c := range []struct {
		name string
		do   func(w *world)
		want string // steps, one a line
	}{
		{"as wanted", func(*world) {}, ""},
		{"nothing there", func(w *world) {
			w.remove("fwb1", "fwv1", "fwi1")
			w.have.addresses, w.have.neighbours, w.have.sysctls, w.have.fdb = nil, nil, nil, nil
		}, `
			make bridge fwb1: was missing
			make address 172.30.0.1/24 on fwb1: was missing with its link
			make sysctl net/ipv4/conf/fwb1/route_localnet=1: was missing
			make veth fwv1 to fwb1: was missing
			make neighbour 172.30.0.2 on fwb1: was missing with its link`},
		{"nothing wanted", func(w *world) { w.want = nil }, `
			remove link fwb1: belonged to nothing
			remove link fwi1: belonged to nothing`},
		{"orphans among others", func(w *world) {
			w.have.links = append(w.have.links,
				linkState{index: 10, name: "fwv2", kind: "veth", alias: Mark(me, "e2", ""), elsewhere: true, peer: 3},
				linkState{index: 11, name: "fwv3", kind: "veth", group: group, elsewhere: true},
				linkState{index: 12, name: "fwv4", kind: "veth", group: group | 1, elsewhere: true},
				linkState{index: 13, name: "fwv5", kind: "veth", alias: Mark("ffff", "e", ""), elsewhere: true},
				linkState{index: 14, name: "fwv6", kind: "veth"},
				linkState{index: 15, name: "fwv7", kind: "veth", group: group, alias: "somebody's"},
				linkState{index: 16, name: "mine", kind: "bridge", alias: Mark(me, "n2", "")},
			)
		}, `
			remove link fwv2: belonged to nothing
			remove link fwv3: belonged to nothing
			remove link fwv4: belonged to nothing
			remove link fwv7: belonged to nothing
			remove link mine: belonged to nothing`},
		{"an orphan that is going", func(w *world) {
			w.have.links = append(w.have.links, linkState{index: 10, name: "fwv2", kind: "veth", alias: Mark(me, "e2", "")})
			w.have.leaving["fwv2"] = true
		}, ""},
		{"peer under another name", func(w *world) { w.link("fwi1").name = "eth0" }, ""},
		{"container's name", func(w *world) { w.veth(func(v *Veth) { v.Alias = Mark(me, "e1", "db") }) }, `
			make veth fwv1 to fwb1: alias was "fairway:0123abcd:e1:web", the container's end: alias was "fairway:0123abcd:e1:web"`},
		{"another endpoint's pair", func(w *world) { w.link("fwv1").alias = Mark(me, "e9", "") }, `
			make veth fwv1 to fwb1: was another endpoint's`},
		{"somebody else's link", func(w *world) { w.link("fwv1").alias, w.link("fwv1").group = "x", 0 }, `
			make veth fwv1 to fwb1: was somebody else's`},
		{"no mark yet", func(w *world) { w.link("fwv1").alias = "" }, `
			make veth fwv1 to fwb1: alias was ""`},
		{"another alias", func(w *world) { w.link("fwv1").alias = "x" }, `
			make veth fwv1 to fwb1: alias was "x"`},
		{"another instance's alias", func(w *world) { w.link("fwv1").alias = Mark("ffff", "e1", "") }, `
			make veth fwv1 to fwb1: was somebody else's`},
		{"port", func(w *world) {
			l := w.link("fwv1")
			l.up, l.mtu, l.inet6.disabled, *l.port = false, 1400, false, portState{learning: true, isolated: true, hairpin: true}
			w.have.fdb = nil
		}, `
			make veth fwv1 to fwb1: MTU was 1400, was down, spoke IPv6, learning was true, isolated was true, hairpin was true, BPDU guard was off, had no static FDB entry`},
		{"no port", func(w *world) { w.link("fwv1").master, w.link("fwv1").port = 0, nil }, `
			make veth fwv1 to fwb1: was no port of fwb1`},
		{"somebody else's in the bridge's place", func(w *world) {
			l := w.link("fwb1")
			l.alias, l.group = "", 0
			w.link("fwv1").master = 0
			w.have.addresses, w.have.neighbours, w.have.sysctls = nil, nil, map[string]string{"net/ipv4/conf/fwb1/route_localnet": "0"}
		}, `
			make bridge fwb1: was somebody else's`},
		{"two endpoints with one MAC address", func(w *world) {
			v, l := w.want[3].(Veth), *w.link("fwv1")
			v.Name, v.Peer, v.Alias = "fwv2", "fwi2", Mark(me, "e2", "")
			l.name, l.index, l.peer, l.elsewhere, l.alias = "fwv2", 10, 11, true, v.Alias
			w.want, w.have.links = append(w.want, v), append(w.have.links, l)
		}, ""},
		{"learning port", func(w *world) {
			w.veth(func(v *Veth) { v.Learning = true })
			w.link("fwv1").port.learning = true
			w.have.fdb = nil
		}, ""},
		{"peer", func(w *world) { w.link("fwi1").mac, w.link("fwi1").mtu = mac("02:00:00:00:00:99"), 9000 }, `
			make veth fwv1 to fwb1: the container's end: MTU was 9000, the container's end: MAC address was 02:00:00:00:00:99`},
		{"peer in its sandbox", func(w *world) {
			w.remove("fwi1")
			w.link("fwv1").elsewhere = true
			w.veth(func(v *Veth) { v.Sandbox = "/run/ns/1" })
		}, ""},
		{"pair lost, sandbox lives", func(w *world) {
			w.remove("fwi1", "fwv1")
			w.veth(func(v *Veth) { v.Sandbox = "/run/ns/1" })
		}, `
			make veth fwv1 to fwb1: was missing`},
		{"pair lost with its sandbox", func(w *world) {
			w.remove("fwi1", "fwv1")
			w.veth(func(v *Veth) { v.Sandbox = "/run/ns/2" })
		}, ""},
		{"pair half made in its sandbox", func(w *world) {
			w.remove("fwi1")
			l := w.link("fwv1")
			l.elsewhere, l.alias, l.up = true, "", false
			w.veth(func(v *Veth) { v.Sandbox = "/run/ns/1" })
		}, `
			make veth fwv1 to fwb1: was half made`},
		{"pair that is going", func(w *world) {
			w.remove("fwi1", "fwv1")
			w.have.leaving["fwv1"] = true
		}, ""},
		{"bridge", func(w *world) {
			l := w.link("fwb1")
			l.up, l.mtu, l.mac = false, 1400, mac("02:00:00:00:00:99")
			*l.bridge = bridgeState{stp: true, vlan: true, forwardDelay: 1500}
			*l.inet6 = inet6State{acceptRA: true}
		}, `
			make bridge fwb1: MTU was 1400, was down, MAC address was 02:00:00:00:00:99, spanning tree was on, forward delay was 1500, VLAN filtering was on, router advertisements were accepted, disable_ipv6 was 0`},
		{"removal that was not finished", func(w *world) { w.link("fwv1").group |= 1 }, fmt.Sprintf(`
			make veth fwv1 to fwb1: group was %d`, group|1)},
		{"addresses", func(w *world) {
			w.have.addresses = map[addressAt]int{
				{2, netip.MustParsePrefix("172.30.0.9/24")}: 0,
				{2, netip.MustParsePrefix("fe80::1/64")}:    0,
				{1, netip.MustParsePrefix("127.0.0.1/8")}:   0,
			}
		}, `
			make address 172.30.0.1/24 on fwb1: was missing`},
		{"neighbours", func(w *world) {
			w.have.neighbours = map[neighbourAt]string{
				{2, netip.MustParseAddr("172.30.0.2")}:   "02:00:00:00:00:66",
				{2, netip.MustParseAddr("172.30.0.9")}:   "02:00:00:00:00:66",
				{1, netip.MustParseAddr("172.30.0.9")}:   "02:00:00:00:00:66",
				{2, netip.MustParseAddr("198.51.100.9")}: "02:00:00:00:00:66", // an operator's
				{2, netip.MustParseAddr("fd00::9")}:      "02:00:00:00:00:66", // the bridge has no subnet of this family
			}
		}, `
			remove neighbour 172.30.0.9 on fwb1: belonged to nothing
			remove neighbour fd00::9 on fwb1: belonged to nothing
			make neighbour 172.30.0.2 on fwb1: MAC address was 02:00:00:00:00:66`},
		{"sysctl", func(w *world) { w.have.sysctls["net/ipv4/conf/fwb1/route_localnet"] = "0" }, `
			make sysctl net/ipv4/conf/fwb1/route_localnet=1: was 0`},
		{"adopted bridge", func(w *world) {
			b := w.want[0].(Bridge)
			b.Adopted = true
			w.want[0] = b
			l := w.link("fwb1")
			l.alias, l.group, l.mtu, l.up, l.bridge.stp = "", 0, 9000, false, true
			w.have.addresses[addressAt{2, netip.MustParsePrefix("10.0.0.1/8")}] = 0
			w.have.neighbours[neighbourAt{2, netip.MustParseAddr("10.0.0.2")}] = "02:00:00:00:00:66"
		}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld()
			c.do(w)
			var got []string
			for _, s := range plan("", w.want, w.have, newMarks(me)) {
				verb := map[bool]string{true: "remove", false: "make"}[s.remove]
				got = append(got, fmt.Sprintf("%s %s: %s", verb, s.object, s.what))
			}
			var want []string
			for line := range strings.Lines(c.want) {
				if line = strings.TrimSpace(line); line != "" {
					want = append(want, line)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}
