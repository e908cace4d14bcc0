package nftables

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"fairway/nat"
)

func port(proto uint8, hostIP string, hostPort, targetPort uint16) nat.Port {
	p := nat.Port{Proto: proto, HostPort: hostPort, Target: netip.MustParseAddr("172.30.1.2"), TargetPort: targetPort}
	if hostIP != "" {
		p.HostIP = netip.MustParseAddr(hostIP)
	}
	return p
}

func ports(first, last, shift int) (out []nat.Port) {
	for p := first; p <= last; p++ {
		out = append(out, port(6, "", uint16(p), uint16(p+shift)))
	}
	return out
}

// TestEndpoint: which sets a port goes to, and how many elements it takes.
func TestEndpoint(t *testing.T) {
	for _, c := range []struct {
		name  string
		ports []nat.Port
		want  map[string]int
	}{
		{"none", nil, map[string]int{}},
		{"one", ports(80, 80, 0), map[string]int{"ports4": 1}},
		{"the same twice", append(ports(80, 80, 0), ports(80, 80, 0)...), map[string]int{"ports4": 1}},
		{"0.0.0.0", []nat.Port{port(17, "0.0.0.0", 53, 53)}, map[string]int{"ports4": 1}},
		{"one address", []nat.Port{port(6, "192.0.2.1", 80, 80)}, map[string]int{"bound4": 1}},
		{"loopback", []nat.Port{port(6, "127.0.0.1", 80, 80)}, map[string]int{"bound4": 1, "loopback4": 1}},
		{"routed", []nat.Port{port(6, "", 0, 80)}, map[string]int{"direct4": 1}},
		{"a short range", ports(8000, 8000+leastRange-2, 0), map[string]int{"ports4": leastRange - 1}},
		{"a range", ports(20000, 29999, 0), map[string]int{"ranges4_tcp": 2}},
		{"a range to the end", ports(60000, 65535, 0), map[string]int{"ranges4_tcp": 1}},
		{"a shifted range", ports(8000, 8099, 1000), map[string]int{"ports4": 100}},
		{"a range with a hole", append(ports(8000, 8099, 0), ports(8101, 8101, 0)...), map[string]int{"ports4": 1, "ranges4_tcp": 2}},
		{"a range on one address", func() []nat.Port {
			out := ports(8000, 8099, 0)
			for i := range out {
				out[i].HostIP = netip.MustParseAddr("192.0.2.1")
			}
			return out
		}(), map[string]int{"bound4": 100}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFill()
			f.endpoint(&nat.Endpoint{ID: "e1", Ports: c.ports})
			got := map[string]int{}
			for e := range f.elements {
				got[e.set]++
			}
			if d := cmp.Diff(c.want, got); d != "" || f.contested {
				t.Errorf("contested %v, elements by set:\n%s", f.contested, d)
			}
		})
	}
}

// TestRulesAreConstant: networks and endpoints make no chain and no rule,
// unless a bridge is shared.
func TestRulesAreConstant(t *testing.T) {
	var s nat.State
	for i := range 100 {
		id := fmt.Sprintf("%016d", i)
		s.Networks = append(s.Networks, nat.Network{ID: id, Link: fmt.Sprintf("fw%d", i), Families: []nat.Family{
			{Subnet: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i), 0, 0}), 24), Mode: nat.ModeNAT, Masquerade: true},
		}})
		s.Endpoints = append(s.Endpoints, nat.Endpoint{ID: id, Ports: ports(1000+i, 1000+i, 1)})
	}
	f, own := render(s, nat.Around{}, defaultMarks())
	if always := (need{}).chains(defaultMarks()); !sameChains(own, always, "x") {
		t.Errorf("100 networks made chains of their own: %v", own)
	}
	// Docker's two bridges; per network bridges, home, within, into, from, to, leaving (2), unroutable (2) and a port.
	if want := 2 + 100*11; len(f.elements) != want {
		t.Errorf("%d elements, want %d", len(f.elements), want)
	}
	if _, own = render(s, nat.Around{Uplinks: map[string]bool{"fw7": true}}, defaultMarks()); len(own) != 4+2 {
		t.Errorf("a shared bridge has %d chains, want within, into, from and to of its own, and two base chains", len(own))
	}
}

// TestEmpty: endpoints without ports and others' bridges need no table.
func TestEmpty(t *testing.T) {
	s := nat.State{Endpoints: []nat.Endpoint{{ID: "e"}}}
	if f, _ := render(s, nat.Around{Foreign: []string{"virbr0"}, Lookalikes: []string{"br-lan"}}, defaultMarks()); !f.empty() {
		t.Errorf("an endpoint without ports needs %v", f.elements)
	}
	s.Endpoints[0].Ports = ports(80, 80, 0)
	if f, _ := render(s, nat.Around{}, defaultMarks()); f.empty() {
		t.Error("an endpoint with a port needs nothing")
	}
}

// TestContested: two endpoints with one port are noticed, and the lower ID wins.
func TestContested(t *testing.T) {
	a, b := nat.Endpoint{ID: "a", Ports: ports(80, 80, 1)}, nat.Endpoint{ID: "b", Ports: ports(80, 80, 2)}
	for _, s := range [][]nat.Endpoint{{a, b}, {b, a}} {
		f, _ := render(nat.State{Endpoints: s}, nat.Around{}, defaultMarks())
		v := f.elements[element{set: "ports4", key: string(protoPort(6, 80))}]
		if !f.contested || v.comment != "a" {
			t.Errorf("contested %v, held by %q; want true and a", f.contested, v.comment)
		}
	}
}

// TestMessages: a change of many elements is one transaction of messages that
// are not too long, deletions first.
func TestMessages(t *testing.T) {
	var sent []netlink.Message
	conn, err := nftables.New(nftables.WithTestDial(func(req []netlink.Message) ([]netlink.Message, error) {
		sent = append(sent, req...)
		var acks []netlink.Message
		for _, m := range req {
			if m.Header.Flags&netlink.Acknowledge != 0 {
				acks = append(acks, netlink.Message{Header: netlink.Header{Type: netlink.Error, Sequence: m.Header.Sequence, PID: m.Header.PID}, Data: make([]byte, 20)})
			}
		}
		return acks, nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	old, now := newFill(), newFill()
	old.endpoint(&nat.Endpoint{ID: "old", Ports: ports(80, 80, 1)})
	now.endpoint(&nat.Endpoint{ID: "e1e1e1e1e1e1e1e1", Ports: ports(1000, 2999, 1)})
	if err := sendElements(conn, inetTable(), difference(old.elements, now.elements)); err != nil {
		t.Fatal(err)
	}
	_ = conn.Flush() // the answers of a test's socket don't matter
	var kinds []int
	for _, m := range sent {
		kinds = append(kinds, int(m.Header.Type)&0xff)
		if len(m.Data) > 65535 {
			t.Errorf("a message of %d bytes", len(m.Data))
		}
	}
	want := []int{unix.NFNL_MSG_BATCH_BEGIN, unix.NFT_MSG_DELSETELEM}
	for range 2000 / perMessage {
		want = append(want, unix.NFT_MSG_NEWSETELEM)
	}
	want = append(want, unix.NFNL_MSG_BATCH_END)
	if d := cmp.Diff(want, kinds); d != "" {
		t.Error(d)
	}
}

// TestVerdicts: what we write of a verdict is what we read of it.
func TestVerdicts(t *testing.T) {
	f, _ := render(nat.State{Networks: []nat.Network{{ID: "n", Link: "fwa", Families: []nat.Family{
		{Subnet: netip.MustParsePrefix("10.0.0.0/24"), Mode: nat.ModeNAT, Masquerade: true},
	}}}}, nat.Around{}, defaultMarks())
	for e, v := range f.elements {
		if verdictMap(e.set) == (v.verdict == "") && !e.end {
			t.Errorf("set %s: verdict %q", e.set, v.verdict)
		}
		if v.verdict != "" && parseVerdict(v.verdict).Kind == 0 {
			t.Errorf("set %s: verdict %q is drop", e.set, v.verdict)
		}
	}
	names := map[string]bool{}
	for _, c := range allChains() {
		names[c.name] = true
	}
	for v := range maps.Values(f.elements) {
		if v.verdict != "" && v.verdict != "accept" && !names[parseVerdict(v.verdict).Chain] {
			t.Errorf("verdict %q: no such chain in %v", v.verdict, slices.Sorted(maps.Keys(names)))
		}
	}
}

func defaultMarks() nat.Marks {
	m, _ := nat.MarksOf(nat.DefaultMask)
	return m
}

// allChains returns the chains that don't depend on what networks there are.
func allChains() []chain {
	return append(chains(defaultMarks()), need{internal: true, carried: true}.chains(defaultMarks())...)
}
