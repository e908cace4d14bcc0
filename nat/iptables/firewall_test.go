package iptables

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"fairway/nat"
)

func newTestFirewall(f *fake) *Firewall {
	opts, _ := nat.Options{Instance: "1a2b3c"}.Complete() // nothing is wrong with it
	return newFirewall(opts, f, func(map[string]bool) (nat.Around, error) { return nat.Around{}, nil }, nil)
}

func withNetwork(t *testing.T, f *fake) *Firewall {
	t.Helper()
	fw := newTestFirewall(f)
	if err := fw.Apply(t.Context(), nat.State{Networks: []nat.Network{testNetwork("aaaaaaaaaaaaaaaa", "fwa")}}); err != nil {
		t.Fatal(err)
	}
	f.calls = nil
	return fw
}

// TestCost: an endpoint costs no program without ports, and one run a family
// with them; what is there already costs nothing.
func TestCost(t *testing.T) {
	f := newFake()
	fw := withNetwork(t, f)
	v4, v6 := testPort(6, "", 80, "172.30.1.2:80"), testPort(6, "", 80, "[2001:db8:a::2]:80")
	for _, c := range []struct {
		name   string
		ports  []nat.Port
		remove bool
		want   []string
	}{
		{"no ports", nil, false, nil},
		{"IPv4", []nat.Port{v4}, false, []string{"iptables-restore"}},
		{"the same again", []nat.Port{v4}, false, nil},
		{"IPv6 too", []nat.Port{v4, v6}, false, []string{"ip6tables-restore"}},
		{"removed", nil, true, []string{"iptables-restore", "ip6tables-restore"}},
		{"removed again", nil, true, nil},
		{"both at once", []nat.Port{v4, v6}, false, []string{"iptables-restore", "ip6tables-restore"}},
		{"unpublished", nil, false, []string{"iptables-restore", "ip6tables-restore"}},
	} {
		f.calls = nil
		do := fw.Apply
		if c.remove {
			do = fw.Remove
		}
		if err := do(t.Context(), nat.State{Endpoints: []nat.Endpoint{testEndpoint(c.ports...)}}); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if !slices.Equal(f.calls, c.want) {
			t.Errorf("%s: ran %v, want %v", c.name, f.calls, c.want)
		}
	}
	f.calls = nil
	if err := fw.Apply(t.Context(), nat.State{Networks: []nat.Network{testNetwork("aaaaaaaaaaaaaaaa", "fwa")}}); err != nil || len(f.calls) != 0 {
		t.Errorf("the same network again: %v, ran %v", err, f.calls)
	}
}

// TestIPv4Only: hosts without IPv6 networks pay for one family.
func TestIPv4Only(t *testing.T) {
	f := newFake()
	fw := newTestFirewall(f)
	n := testNetwork("aaaaaaaaaaaaaaaa", "fwa")
	n.Families = n.Families[:1]
	if _, err := fw.Reconcile(t.Context(), nat.State{}); err != nil {
		t.Fatal(err)
	}
	f.calls = nil
	if err := fw.Apply(t.Context(), nat.State{Networks: []nat.Network{n}}); err != nil {
		t.Fatal(err)
	}
	if want := []string{"iptables-save", "iptables-restore"}; !slices.Equal(f.calls, want) {
		t.Errorf("Apply of an IPv4 network ran %v, want %v", f.calls, want)
	}
	both := testNetwork("aaaaaaaaaaaaaaaa", "fwa")
	for _, s := range []nat.State{{Networks: []nat.Network{both}}, {Networks: []nat.Network{n}}} {
		if err := fw.Apply(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	if left := dump(f.tables["ip6"]); strings.Contains(left, "FAIRWAY") {
		t.Errorf("a network that is not IPv6 any more left\n%s", left)
	}
}

// TestApplyFailsClean: what one family did before the other failed is undone.
func TestApplyFailsClean(t *testing.T) {
	f := newFake()
	fw := withNetwork(t, f)
	before := f.rules()
	both := testEndpoint(testPort(6, "", 80, "172.30.1.2:80"), testPort(6, "", 80, "[2001:db8:a::2]:80"))
	f.fail = "ip6tables-restore"
	err := fw.Apply(t.Context(), nat.State{Endpoints: []nat.Endpoint{both}})
	if err == nil {
		t.Fatal("Apply with a failing program: no error")
	}
	f.fail = ""
	if after := f.rules(); after != before {
		t.Errorf("failed Apply left:\n%s", cmp.Diff(before, after))
	}
	if err := fw.Apply(t.Context(), nat.State{Endpoints: []nat.Endpoint{both}}); err != nil {
		t.Errorf("Apply afterwards: %v", err)
	}
}

// TestApplyCancelled: a deadline that passes in the middle leaves nothing.
// TestReconcileFails: what was wanted counts all the same: the next change
// doesn't take it for nothing and remove the rules of all other networks.
func TestReconcileFails(t *testing.T) {
	f := newFake()
	withNetwork(t, f)
	before := f.rules()
	all := nat.State{Networks: []nat.Network{testNetwork("aaaaaaaaaaaaaaaa", "fwa")}}
	more := nat.State{Networks: []nat.Network{testNetwork("bbbbbbbbbbbbbbbb", "fwb")}}

	fw := newTestFirewall(f) // the next daemon
	f.fail = "iptables-save"
	if _, err := fw.Reconcile(t.Context(), all); err == nil {
		t.Fatal("no error")
	}
	f.fail = ""
	if err := fw.Apply(t.Context(), more); err != nil {
		t.Fatal(err)
	}
	if err := fw.Remove(t.Context(), more); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, f.rules()); diff != "" {
		t.Errorf("a network came and went, others' rules (-before +after):\n%s", diff)
	}
}

func TestApplyCancelled(t *testing.T) {
	f := newFake()
	fw := withNetwork(t, f)
	before := f.rules()
	ctx, cancel := context.WithCancel(t.Context())
	f.hook = cancel
	err := fw.Apply(ctx, nat.State{Endpoints: []nat.Endpoint{testEndpoint(allPorts()...)}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Apply: %v, want context.Canceled", err)
	}
	if after := f.rules(); after != before {
		t.Errorf("cancelled Apply left:\n%s", cmp.Diff(before, after))
	}
	if err := fw.Apply(ctx, nat.State{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Apply with a dead context: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	fw := newTestFirewall(newFake())
	network := func(vary func(*nat.Network)) nat.State {
		n := testNetwork("n1", "fwa")
		vary(&n)
		return nat.State{Networks: []nat.Network{n}}
	}
	for _, c := range []struct {
		want string
		put  nat.State
	}{
		{`nat: network n1: nat: link "fwa+": want`, network(func(n *nat.Network) { n.Link = "fwa+" })},
		{`nat: network n1: nat: link "eth0 -j ACCEPT": want`, network(func(n *nat.Network) { n.Trusted = []string{"eth0 -j ACCEPT"} })},
		{`nat: network n1: gateway mode "nap": unknown`, network(func(n *nat.Network) { n.Families[0].Mode = "nap" })},
		{"nat: network n1: a family without a subnet", network(func(n *nat.Network) { n.Families = []nat.Family{{}} })},
		{"nat: endpoint e1e1e1e1e1e1e1e1: published port 80: protocol 1", nat.State{Endpoints: []nat.Endpoint{testEndpoint(testPort(1, "", 80, "172.30.1.2:80"))}}},
		{"nat: endpoint e1e1e1e1e1e1e1e1: published port [::1]:80->172.30.1.2:80/tcp: host address", nat.State{Endpoints: []nat.Endpoint{testEndpoint(testPort(6, "::1", 80, "172.30.1.2:80"))}}},
	} {
		if err := fw.Apply(t.Context(), c.put); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("Apply: %v, want %q …", err, c.want)
		}
	}
	fw.no6 = errors.New("the kernel has no IPv6")
	if err := fw.Apply(t.Context(), network(func(*nat.Network) {})); err == nil || err.Error() != "iptables: network n1: IPv6: the kernel has no IPv6" {
		t.Errorf("Apply of an IPv6 network without IPv6: %v", err)
	}
	v4only := network(func(n *nat.Network) { n.Families = n.Families[:1] })
	if err := fw.Apply(t.Context(), v4only); err != nil {
		t.Errorf("Apply of an IPv4 network without IPv6: %v", err)
	}
}

// TestRace: somebody takes a rule away between reading and writing.
func TestRace(t *testing.T) {
	f := newFake()
	fw := withNetwork(t, f)
	forward := f.tables["ip"]["filter"]["FORWARD"]
	f.tables["ip"]["filter"]["FORWARD"] = slices.Concat(forward, []string{"-j RETURN"}, forward) // to be deleted
	f.hook = func() {
		if f.calls[len(f.calls)-1] == "iptables-restore" {
			f.tables["ip"]["filter"]["FORWARD"] = nil
			f.hook = nil
		}
	}
	n := testNetwork("bbbbbbbbbbbbbbbb", "fwb")
	if err := fw.Apply(t.Context(), nat.State{Networks: []nat.Network{n}}); err != nil {
		t.Fatal(err)
	}
	if r, err := fw.Reconcile(t.Context(), fw.want.State()); err != nil || len(r) != 0 {
		t.Errorf("Reconcile afterwards: %v, repaired %v", err, r)
	}
}

// TestParallel: calls from everywhere end in the state that they say.
func TestParallel(t *testing.T) {
	f := newFake()
	fw := withNetwork(t, f)
	empty := f.rules()
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			e := testEndpoint(testPort(6, "", uint16(8000+i), "172.30.1.2:80"))
			e.ID += strconv.Itoa(i)
			n := testNetwork("n"+strconv.Itoa(i), "fw"+strconv.Itoa(i))
			s := nat.State{Networks: []nat.Network{n}, Endpoints: []nat.Endpoint{e}}
			for range 3 {
				if err := errors.Join(fw.Apply(t.Context(), s), fw.Remove(t.Context(), s)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if left := f.rules(); left != empty {
		t.Errorf("left: %s", cmp.Diff(empty, left))
	}
}

// TestReconcileAnything: from any mess in the tables, one Reconcile gets to
// what is wanted, a second one writes nothing, and foreign rules stay as they
// were, in their order.
func TestReconcileAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := newFake()
		ctx := context.Background()
		want := nat.State{Networks: []nat.Network{testNetwork("aaaaaaaaaaaaaaaa", "fwa")}, Endpoints: []nat.Endpoint{testEndpoint(allPorts()...)}}
		if rapid.Bool().Draw(t, "docker") {
			f.tables["ip"]["filter"]["DOCKER-USER"] = []string{"-j RETURN"}
			f.tables["ip"]["filter"]["FORWARD"] = []string{"-j DOCKER-USER"}
		}
		if err := newTestFirewall(f).Apply(ctx, want); err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(0, 12).Draw(t, "tampers") {
			tamper(t, f.tables[rapid.SampledFrom([]string{"ip", "ip6"}).Draw(t, "family")])
		}
		if rapid.Bool().Draw(t, "second network") {
			want.Networks = append(want.Networks, testNetwork("bbbbbbbbbbbbbbbb", "fwb"))
		}
		foreign := foreignRules(f)
		fw := newTestFirewall(f)
		if _, err := fw.Reconcile(ctx, want); err != nil {
			t.Fatal(err)
		}
		f.calls = nil
		repairs, err := fw.Reconcile(ctx, want)
		if err != nil || len(repairs) != 0 || slices.Contains(f.calls, "iptables-restore") {
			t.Fatalf("a second Reconcile: %v, repaired %v, ran %v", err, repairs, f.calls)
		}
		if now := foreignRules(f); !slices.Equal(now, foreign) {
			t.Fatalf("foreign rules changed: %s", cmp.Diff(foreign, now))
		}
		clean := newFake()
		if docker, ok := f.tables["ip"]["filter"]["DOCKER-USER"]; ok {
			clean.tables["ip"]["filter"]["DOCKER-USER"] = docker
		}
		if err := newTestFirewall(clean).Apply(ctx, want); err != nil {
			t.Fatal(err)
		}
		for _, family := range []string{"ip", "ip6"} {
			for table, chains := range clean.tables[family] {
				for name, rules := range chains {
					got := f.tables[family][table][name]
					if name == chainRaw || name == chainDNAT { // in any order
						slices.Sort(rules)
						slices.Sort(got)
					}
					if strings.HasPrefix(name, chainPrefix) && !slices.Equal(rules, got) {
						t.Fatalf("%s %s %s: %s", family, table, name, cmp.Diff(rules, got))
					}
				}
			}
		}
	})
}

// tamper does one thing that somebody else might.
func tamper(t *rapid.T, s saved) {
	table := rapid.SampledFrom([]string{"raw", "mangle", "nat", "filter"}).Draw(t, "table")
	name := rapid.SampledFrom(slices.Sorted(maps.Keys(s[table]))).Draw(t, "chain")
	rules := s[table][name]
	switch rapid.SampledFrom([]string{"add", "delete", "flush", "swap", "double"}).Draw(t, "tamper") {
	case "add":
		at := rapid.IntRange(0, len(rules)).Draw(t, "at")
		s[table][name] = slices.Insert(rules, at, rapid.SampledFrom([]string{
			"-j RETURN", "-s 198.51.100.0/24 -j DROP", "-j DOCKER-USER", `-m comment --comment "fairway:other" -j DROP`,
		}).Draw(t, "rule"))
	case "delete":
		if len(rules) > 0 {
			at := rapid.IntRange(0, len(rules)-1).Draw(t, "at")
			s[table][name] = slices.Delete(rules, at, at+1)
		}
	case "flush":
		s[table][name] = nil
	case "swap":
		if len(rules) > 1 {
			rules[0], rules[len(rules)-1] = rules[len(rules)-1], rules[0]
		}
	case "double":
		if len(rules) > 0 {
			s[table][name] = append(rules, rules[0])
		}
	}
}

// foreignRules returns the rules of chains that are not ours, in order, but
// for our jumps.
func foreignRules(f *fake) (out []string) {
	for _, family := range []string{"ip", "ip6"} {
		for _, table := range slices.Sorted(maps.Keys(f.tables[family])) {
			for _, name := range slices.Sorted(maps.Keys(f.tables[family][table])) {
				if strings.HasPrefix(name, chainPrefix) {
					continue
				}
				for _, r := range f.tables[family][table][name] {
					if !marked(r, "1a2b3c") {
						out = append(out, family+" "+table+" "+name+" "+r)
					}
				}
			}
		}
	}
	return out
}
