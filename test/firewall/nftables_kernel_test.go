//go:build kernel

package firewall

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"fairway/nat"
)

// TestReconcileNftables: whatever is done to the table, one Reconcile makes it
// right, says so, and a second one finds nothing and writes nothing.
func TestReconcileNftables(t *testing.T) {
	tampers := []struct {
		name, command string // in a shell
		want          string // what the first repair says; "": nothing of ours is touched
	}{
		{"nothing", "true", ""},
		{"accepts gone", "iptables -F DOCKER-USER", "jump from DOCKER-USER to FAIRWAY-ACCEPT was missing"},
		{"flush ruleset", "nft flush ruleset", "table was missing"},
		{"table deleted", "nft delete table inet fairway", "table was missing"},
		{"table flushed", "nft flush table inet fairway", "had other rules (0, want"},
		{"chain flushed", "nft flush chain inet fairway to-nat", "chain to-nat had other rules (0, want 4)"},
		{"base chain deleted", "nft flush chain inet fairway nat-output; nft delete chain inet fairway nat-output", "chain nat-output was missing"},
		{"policy changed", "nft 'chain inet fairway filter-forward { policy drop; }'", "chain filter-forward was hooked in as"},
		{"foreign rule", "nft insert rule inet fairway filter-forward accept", "chain filter-forward had other rules (4, want 3)"},
		{"foreign chain", "nft add chain inet fairway mine", "chain mine was not wanted"},
		{"foreign set", "nft 'add set inet fairway mine { type ipv4_addr; }'", "set mine was not wanted"},
		{"rule replaced", "nft replace rule inet fairway internal handle $(nft -a list chain inet fairway internal | sed -n 's/.*handle //p' | tail -1) accept",
			"chain internal had other rules (1, want 1)"},
		{"port deleted", "nft 'delete element inet fairway ports4 { tcp . 8080 }'", "set ports4 lacked 1 elements, had 0 others and 0 with another value"},
		{"port changed", "nft 'delete element inet fairway ports4 { tcp . 8080 }; add element inet fairway ports4 { tcp . 8080 : 172.30.1.3 . 80 }'",
			"set ports4 lacked 0 elements, had 0 others and 1 with another value"},
		{"foreign port", "nft 'add element inet fairway ports4 { tcp . 22 : 172.30.1.3 . 80 }'", "set ports4 lacked 0 elements, had 1 others"},
		{"range deleted", "nft 'delete element inet fairway ranges4_udp { 20000-20099 }'", "set ranges4_udp lacked 2 elements"},
		{"network opened", "nft 'delete element inet fairway to { ipv4 . \"fwa\" }'", "set to lacked 1 elements"},
		{"subnet deleted", "nft 'delete element inet fairway leaving4 { 172.30.1.0/24 }'", "set leaving4 lacked 2 elements"},
		{"another table", "nft add table inet theirs", ""},
	}
	w := newWorld(t, viaOpen)
	w.docker(t, engines[0])
	fw := w.firewall(t)
	a, b := networks()
	a1, b1 := endpoints()
	for p := uint16(20000); p < 20100; p++ {
		a1.Ports = append(a1.Ports, nat.Port{Proto: 17, HostPort: p, Target: a1.IPv4, TargetPort: p})
	}
	s := nat.State{Networks: []nat.Network{a, b}, Endpoints: []nat.Endpoint{a1, b1}}
	fw.apply(t, s)
	for _, tamper := range tampers {
		t.Run(tamper.name, func(t *testing.T) {
			w.host.run(t, "sh", "-c", tamper.command)
			repairs := fw.reconcile(t, s)
			if tamper.want == "" && len(repairs) > 0 || tamper.want != "" && (len(repairs) == 0 || !strings.Contains(repairs[0].What, tamper.want)) {
				t.Errorf("Reconcile repaired %q, want %q first", repairs, tamper.want)
			}
			before := w.generation(t)
			if again := fw.reconcile(t, s); len(again) != 0 {
				t.Errorf("a second Reconcile repaired %v", again)
			}
			if after := w.generation(t); after != before {
				t.Errorf("a Reconcile with nothing to repair wrote: generation %s, then %s", before, after)
			}
		})
	}
	check(t, w.common())
	w.dump(t)
}

// generation counts the transactions in the host's nftables (NFTA_GEN_ID): each
// one makes it larger.
func (w *world) generation(t *testing.T) (id string) {
	t.Helper()
	w.host.do(func() {
		c, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		out, err := c.Execute(netlink.Message{
			Header: netlink.Header{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETGEN, Flags: netlink.Request},
			Data:   []byte{unix.AF_UNSPEC, unix.NFNETLINK_V0, 0, 0},
		})
		if err != nil || len(out) == 0 {
			t.Errorf("read generation: %v", err)
			return
		}
		id = fmt.Sprintf("%x", out[0].Data[8:12]) // the first attribute
	})
	return id
}

// TestBehindItsBack: the next change of an endpoint finds out that the table is
// not as left, and makes all of it right.
func TestBehindItsBack(t *testing.T) {
	for _, command := range []string{"nft flush ruleset", "nft delete table inet fairway", "nft flush map inet fairway ports4"} {
		t.Run(command, func(t *testing.T) {
			w, fw, s := start(t, viaOpen, nil)
			w.host.run(t, "sh", "-c", command)
			moved := s.Endpoints[0]
			moved.Ports = append(moved.Ports[1:len(moved.Ports):len(moved.Ports)], port(6, "", 8088, "172.30.1.2:80"))
			fw.apply(t, nat.State{Endpoints: []nat.Endpoint{moved}})
			s.Endpoints[0] = moved
			if r := fw.reconcile(t, nat.State{Networks: s.Networks, Endpoints: s.Endpoints}); len(r) > 0 && !strings.HasPrefix(r[0].What, "ip") {
				t.Errorf("Reconcile repaired %v", r)
			}
			check(t, []probe{
				{"new port", w.lan, "tcp", "192.0.2.1:8088", "a1 192.0.2.2"},
				{"the other network's", w.lan, "tcp", "192.0.2.1:8090", "b1 192.0.2.2"},
				{"old port", w.lan, "tcp", "192.0.2.1:8080", ""},
			})
		})
	}
}

// TestRefusedChange: a change that the kernel refuses in its middle leaves the
// table as it was, and the firewall of use.
func TestRefusedChange(t *testing.T) {
	w, fw, s := start(t, viaNftables, nil)
	before := w.table(t)
	// The subnet overlaps that of network a: an interval map can't hold both.
	bad := s.Networks[1]
	bad.ID, bad.Link = "cccccccccccccccc", "fwc"
	bad.Families = append([]nat.Family{}, s.Networks[0].Families[0])
	bad.Families[0].Subnet = netip.MustParsePrefix("172.30.1.128/25")
	e := s.Endpoints[1]
	e.ID, e.Ports = "c1c1c1c1c1c1c1c1", []nat.Port{port(6, "", 8099, "172.30.1.130:80")}
	var err error
	w.host.do(func() {
		err = fw.f.Apply(t.Context(), nat.State{Networks: []nat.Network{bad}, Endpoints: []nat.Endpoint{e}})
	})
	if err == nil {
		t.Fatal("a subnet within another was taken")
	}
	if after := w.table(t); after != before {
		t.Errorf("a refused change (%v) left\n%s\nof\n%s", err, after, before)
	}
	if r := fw.reconcile(t, s); len(r) != 0 {
		t.Errorf("Reconcile after a refused change repaired %v", r)
	}
	check(t, w.common())
}

// TestOtherBackend: a daemon that starts with the other backend takes over, and
// nothing of the first is left.
func TestOtherBackend(t *testing.T) {
	w, _, s := start(t, viaIptables, nil)
	w.kind = viaNftables
	fw := w.firewall(t)
	if r := fw.reconcile(t, s); len(r) == 0 {
		t.Error("nothing of the other backend was repaired")
	}
	check(t, w.common())
	for _, gone := range []string{"FAIRWAY-DNAT", "FAIRWAY-FORWARD", "FAIRWAY-RAW", "FAIRWAY-SNAT"} {
		if strings.Contains(w.ours(t), gone) {
			t.Errorf("%s is left", gone)
		}
	}
	if r := fw.reconcile(t, nat.State{}); len(r) == 0 {
		t.Error("Reconcile to nothing repaired nothing")
	}
	if left := w.ours(t); left != "" {
		t.Errorf("left:\n%s", left)
	}
	w.dump(t)
}

// TestSteps: an endpoint's change is one transaction, and a repeated one none.
func TestSteps(t *testing.T) {
	host := newNamespace(t, "host")
	a, _ := networks()
	a1, _ := endpoints()
	for p := uint16(20000); p < 22000; p++ { // many messages
		a1.Ports = append(a1.Ports, nat.Port{Proto: 6, HostPort: p, Target: a1.IPv4, TargetPort: 80})
	}
	host.do(func() {
		var steps []string
		fw, err := viaNftables.make(context.Background(), "test1", func(s string) { steps = append(steps, s) })
		if err != nil {
			t.Error(err)
			return
		}
		for _, step := range []struct {
			do   func() error
			want string
		}{
			{func() error { return fw.Apply(t.Context(), nat.State{Networks: []nat.Network{a}}) }, "nftables.table"},
			{func() error { return fw.Apply(t.Context(), nat.State{Endpoints: []nat.Endpoint{a1}}) }, "nftables.elements"},
			{func() error { return fw.Apply(t.Context(), nat.State{Endpoints: []nat.Endpoint{a1}}) }, ""},
			{func() error { return fw.Remove(t.Context(), nat.State{Endpoints: []nat.Endpoint{a1}}) }, "nftables.elements"},
			{func() error { return fw.Remove(t.Context(), nat.State{Networks: []nat.Network{a}}) }, "nftables.table"},
		} {
			steps = nil
			if err := step.do(); err != nil {
				t.Error(err)
			}
			if got := strings.Join(steps, " "); got != step.want {
				t.Errorf("steps %q, want %q", got, step.want)
			}
		}
	})
}
