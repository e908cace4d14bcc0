package link

import (
	"fmt"
	"strings"
	"testing"
)

// TestPlanVLAN: what is done about the link of a VLAN, and a macvlan on it, by
// what the kernel holds.
func TestPlanVLAN(t *testing.T) {
	m := newMarks(me)
	v := VLAN{Name: "eth1.40", Parent: "eth1", ID: 40, Alias: Mark(me, "eth1.40", "")}
	on := Macvlan{Name: "fwi1", Parent: "eth1.40", Mode: MacvlanBridge, Alias: Mark(me, "e1", "")}
	eth1 := linkState{index: 2, name: "eth1", up: true, mtu: 1500}
	good := linkState{index: 3, peer: 2, name: "eth1.40", kind: "vlan", vlan: 40, alias: v.Alias, group: m.group, up: true, inet6: &inet6State{disabled: true}}
	fwi1 := linkState{index: 4, peer: 3, name: "fwi1", kind: "macvlan", macvlan: 4, alias: on.Alias, group: m.group}
	change := func(l linkState, f func(*linkState)) linkState { f(&l); return l }
	const make40, makeOn = "vlan eth1.40 on eth1: ", "macvlan fwi1 on eth1.40: "
	for name, c := range map[string]struct {
		links []linkState
		want  []string
	}{
		"all there":       {[]linkState{eth1, good, fwi1}, nil},
		"nothing":         {nil, nil},
		"missing":         {[]linkState{eth1}, []string{make40 + "was missing", makeOn + "was missing"}},
		"parent gone":     {[]linkState{good, fwi1}, nil}, // the kernel takes them with it
		"down":            {[]linkState{eth1, change(good, func(l *linkState) { l.up = false }), fwi1}, []string{make40 + "was down"}},
		"down with eth1":  {[]linkState{change(eth1, func(l *linkState) { l.up = false }), change(good, func(l *linkState) { l.up = false }), fwi1}, nil},
		"another VLAN":    {[]linkState{eth1, change(good, func(l *linkState) { l.vlan = 41 }), fwi1}, []string{make40 + "was VLAN 41"}},
		"on another link": {[]linkState{eth1, change(good, func(l *linkState) { l.peer = 9 }), fwi1}, []string{make40 + "was not on eth1"}},
		"alias":           {[]linkState{eth1, change(good, func(l *linkState) { l.alias = "x" }), fwi1}, []string{make40 + `alias was "x"`}},
		"IPv6":            {[]linkState{eth1, change(good, func(l *linkState) { l.inet6 = &inet6State{} }), fwi1}, []string{make40 + "spoke IPv6"}},
		"the host's own":  {[]linkState{eth1, change(good, func(l *linkState) { l.alias, l.group, l.up = "", 0, false }), fwi1}, nil},
		"somebody else's": {[]linkState{eth1, change(good, func(l *linkState) { l.alias, l.group, l.kind = "", 0, "bridge" }), fwi1}, []string{make40 + "was somebody else's"}},
	} {
		var got []string
		for _, s := range plan("", Set{v, on}, state{links: c.links}, m) {
			got = append(got, fmt.Sprintf("%s: %s", s.object, s.what))
		}
		if strings.Join(got, "; ") != strings.Join(c.want, "; ") {
			t.Errorf("%s:\n got %q\nwant %q", name, got, c.want)
		}
	}
	have := state{links: []linkState{eth1, good, fwi1}}
	if steps := plan("", nil, have, m); len(steps) != 1 || !steps[0].remove || steps[0].object.String() != "link eth1.40" {
		t.Errorf("orphans: %v, want the VLAN, which takes what is on it with it", steps)
	}
}

// TestPlanIPvlan: an ipvlan that waits beside its parent has its mode and flag,
// and no MAC address of its own.
func TestPlanIPvlan(t *testing.T) {
	m := newMarks(me)
	want := Macvlan{Name: "fwi1", Parent: "eth1", IPvlan: IPvlan{IPvlanL3, IPvlanPrivate}, Alias: Mark(me, "e1", "")}
	eth1 := linkState{index: 2, name: "eth1", up: true, mtu: 1500, mac: mac("02:00:00:00:00:09")}
	for name, c := range map[string]struct {
		kind string
		is   ipvlanState
		want string
	}{
		"as it should be": {"ipvlan", ipvlanState{1, 1}, ""},
		"another mode":    {"ipvlan", ipvlanState{0, 1}, "was in another mode"},
		"another flag":    {"ipvlan", ipvlanState{1, 0}, "was in another mode"},
		"a macvlan":       {"macvlan", ipvlanState{}, "was a macvlan"},
	} {
		l := linkState{index: 4, peer: 2, name: "fwi1", kind: c.kind, ipvlan: c.is, alias: want.Alias, group: m.group, mac: eth1.mac}
		got := ""
		for _, s := range plan("", Set{want}, state{links: []linkState{eth1, l}}, m) {
			got += s.what
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
