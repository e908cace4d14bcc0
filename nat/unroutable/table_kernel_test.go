//go:build kernel

package unroutable

import (
	"net/netip"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/sirupsen/logrus/hooks/test"
	"github.com/vishvananda/netns"

	"fairway/nat"
)

// host moves the test to a network namespace of its own, for good.
func host(t testing.TB) {
	t.Helper()
	runtime.LockOSThread() // never unlocked: the thread ends with the test
	h, err := netns.New()
	if err != nil {
		t.Fatalf("network namespace: %v (the kernel tests need root)", err)
	}
	t.Cleanup(func() { h.Close() })
	run(t, "ip link set lo up")
}

func run(t testing.TB, command string) string {
	t.Helper()
	out, err := exec.Command("sh", "-c", command).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return string(out)
}

// dump is all rules and all routes that are unreachable or ours. Two rules have the same
// priority, in any order.
func dump(t *testing.T) string {
	t.Helper()
	return run(t, `for family in -4 -6; do
		ip $family rule | sort
		ip $family route show table all type unreachable
		ip $family route show table all type local proto 102
	done`)
}

func twoFamilies() nat.Network {
	return nat.Network{ID: "n", Link: "fwb1", Families: []nat.Family{
		{Subnet: netip.MustParsePrefix("172.30.1.0/24"), Mode: nat.ModeNAT},
		{Subnet: netip.MustParsePrefix("2001:db8:a::/64"), Mode: nat.Routed},
	}}
}

const others = `
	ip rule add fwmark 0xca6c/0xffffffff lookup 51820 priority 4500
	ip -6 rule add fwmark 0x80000/0xff0000 lookup main priority 5210
	ip route add unreachable 198.51.100.0/24 table 51820
	ip route add unreachable 203.0.113.0/24 table 4000`

// TestTable: what is taken away comes back and is told, numbers can change, and
// in the end there is what was there before.
func TestTable(t *testing.T) {
	host(t)
	run(t, others)
	before := dump(t)
	networks := []nat.Network{twoFamilies()}
	table := newTable(t, Options{Options: nat.Options{Instance: "test1"}})
	for range 2 {
		if err := table.Apply(t.Context(), networks); err != nil {
			t.Fatal(err)
		}
	}
	whole := dump(t)
	for _, want := range []string{
		"4000:\tfrom all iif lo goto 4002", "4001:\tfrom all fwmark 0/0x10000000 lookup 4000", "4002:\tfrom all nop",
		"4001:\tfrom all fwmark 0x20000000/0x20000000 lookup 4001", "local default dev lo table 4001",
		"unreachable 172.30.1.0/24 table 4000", "unreachable 2001:db8:a::/64 dev lo table 4000",
	} {
		if !strings.Contains(whole, want) {
			t.Errorf("%q is missing in\n%s", want, whole)
		}
	}
	for command, repairs := range map[string]int{
		"true":                                                         0,
		"ip rule del priority 4000":                                    1,
		"ip -6 rule del priority 4001":                                 1,
		"ip rule flush protocol 102":                                   4,
		"ip -6 route flush table 4001 proto 102":                       1,
		"ip route flush table 4000 proto 102":                          1,
		"ip rule add lookup main priority 4001 protocol 102":           1,
		"ip route add unreachable 10.9.0.0/16 table 4000 protocol 102": 1,
	} {
		run(t, command)
		found, err := table.Reconcile(t.Context(), networks)
		if err != nil || len(found) != repairs {
			t.Errorf("%s: repaired %v, %v; want %d repairs", command, found, err, repairs)
		}
		if now := dump(t); now != whole {
			t.Errorf("%s: Reconcile left\n%s, want\n%s", command, now, whole)
		}
	}
	moved := newTable(t, Options{Options: nat.Options{Instance: "test1", Marks: nat.Marks{Reach: 0x8000, Carry: 0x10000}}, Priority: 700})
	if _, err := moved.Reconcile(t.Context(), networks); err != nil {
		t.Fatal(err)
	}
	if now := dump(t); !strings.Contains(now, "701:\tfrom all fwmark 0/0x8000 lookup 700") || strings.Contains(now, "400") && strings.Contains(now, "4001:") {
		t.Errorf("with other numbers\n%s", now)
	}
	for range 2 {
		if err := moved.Remove(t.Context(), networks); err != nil {
			t.Fatal(err)
		}
	}
	if now := dump(t); now != before {
		t.Errorf("removal left\n%s, want\n%s", now, before)
	}
}

// TestBefore: a rule that is added without a priority gets before ours, and ours
// go before it again, in its family, as long as it is there.
func TestBefore(t *testing.T) {
	host(t)
	networks := []nat.Network{twoFamilies()}
	table := newTable(t, Options{Options: nat.Options{Instance: "test1"}})
	reconcile := func() {
		t.Helper()
		for range 2 {
			if _, err := table.Reconcile(t.Context(), networks); err != nil {
				t.Fatal(err)
			}
		}
	}
	reconcile()
	usual := dump(t)
	for range 2 {
		run(t, "ip rule add lookup main suppress_prefixlength 0; ip rule add not fwmark 51820 lookup 51820")
		reconcile()
		now := run(t, "ip rule")
		for _, want := range []string{
			"3995:\tfrom all iif lo goto 3997", "3996:\tfrom all fwmark 0/0x10000000 lookup 4000", "3997:\tfrom all nop",
			"3998:\tnot from all fwmark 0xca6c lookup 51820", "3999:\tfrom all lookup main suppress_prefixlength 0",
		} {
			if !strings.Contains(now, want) {
				t.Errorf("%q is missing in\n%s", want, now)
			}
		}
		if strings.Contains(now, "4002:") || !strings.Contains(run(t, "ip -6 rule"), "4002:") {
			t.Errorf("the rules are\n%s", dump(t))
		}
		run(t, "ip rule del lookup main suppress_prefixlength 0; ip rule del not fwmark 51820 lookup 51820")
		reconcile()
		if now := dump(t); now != usual {
			t.Errorf("without it\n%s, want\n%s", now, usual)
		}
	}
}

// TestClashes: one line for each rule of another's that ours don't go with.
func TestClashes(t *testing.T) {
	host(t)
	run(t, others)
	log, lines := test.NewNullLogger()
	for range 2 { // said once
		table := newTable(t, Options{Options: nat.Options{Instance: "test1", Log: log}})
		for range 2 {
			if _, err := table.Reconcile(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(lines.AllEntries()); n != 1 || !strings.Contains(lines.LastEntry().Message, "203.0.113.0/24") {
			t.Errorf("%d lines, want one on the route in our table: %v", n, lines.LastEntry())
		}
		lines.Reset()
	}
	run(t, `ip rule add fwmark 0x30000000/0xf0000000 lookup 7 priority 100
		ip -6 rule add from 2001:db8::1 lookup 8 priority 4001`)
	if _, err := newTable(t, Options{Options: nat.Options{Instance: "test1", Log: log}}).Reconcile(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range lines.AllEntries() {
		all = append(all, e.Message)
	}
	text := strings.Join(all, "\n")
	if len(all) != 3 || !strings.Contains(text, "ip rule 100 looks at bits 0x30000000") || !strings.Contains(text, "ip6 rule 4001 has the priority") {
		t.Errorf("reported\n%s", text)
	}
}

func newTable(t testing.TB, o Options) *Table {
	t.Helper()
	table, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return table
}
