package iptables

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCanonical(t *testing.T) {
	same := []string{
		`-s 172.30.1.2/32 ! -i fwa -p tcp -m comment --comment "fairway:1a" -m tcp --dport 80 -m conntrack --ctstate RELATED,ESTABLISHED -j DROP`,
		`! -i fwa -s 172.30.1.2 -p 6 --dport 80 -m conntrack --ctstate ESTABLISHED,RELATED -m comment --comment fairway:1a -j DROP`,
	}
	if a, b := canonical(same[0]), canonical(same[1]); a != b {
		t.Errorf("two ways to write a rule differ:\n%s\n%s", a, b)
	}
	for _, other := range []string{
		`-s 172.30.1.2/32 -i fwa -p tcp -m comment --comment "fairway:1a" -m tcp --dport 80 -m conntrack --ctstate RELATED,ESTABLISHED -j DROP`,
		`-s 172.30.1.2/31 ! -i fwa -p tcp -m comment --comment "fairway:1a" -m tcp --dport 80 -m conntrack --ctstate RELATED,ESTABLISHED -j DROP`,
		`-s 172.30.1.2/32 ! -i fwa -p tcp -m comment --comment "fairway:1a" -m tcp --dport 80 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`,
		`-s 172.30.1.2/32 ! -i fwa -p tcp -m comment --comment "fairway:1b" -m tcp --dport 80 -m conntrack --ctstate RELATED,ESTABLISHED -j DROP`,
		`-s 172.30.1.2/32 ! -i fwa -p tcp -m comment --comment "fairway:1a" -m tcp --dport 80 -j DROP`,
	} {
		if canonical(other) == canonical(same[0]) {
			t.Errorf("another rule is taken for the same: %s", other)
		}
	}
}

func TestTokens(t *testing.T) {
	got := tokens(`-m comment --comment "a \"b\" \\ c"  -j X`)
	if want := []string{"-m", "comment", "--comment", `a "b" \ c`, "-j", "X"}; !slices.Equal(got, want) {
		t.Errorf("tokens: %q, want %q", got, want)
	}
}

func TestParseSave(t *testing.T) {
	got, err := parseSave([]byte(`# Generated
# Table ` + "`mangle'" + ` is incompatible, use 'nft' tool.
*filter
:FORWARD DROP [3:4]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
[1:2] -A FORWARD -i docker0 -j ACCEPT
COMMIT
`))
	if err != nil {
		t.Fatal(err)
	}
	want := saved{"filter": {"FORWARD": {"-j DOCKER-USER", "-i docker0 -j ACCEPT"}, "DOCKER-USER": nil}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for _, bad := range []string{"-A FORWARD -j DROP\n", "*filter\nnonsense\nCOMMIT\n", "COMMIT\n:X - [0:0]\n"} {
		if _, err := parseSave([]byte(bad)); err == nil {
			t.Errorf("parseSave(%q): no error", bad)
		}
	}
}

// FuzzParseSave: no ruleset makes the reader panic, and what it read it finds
// equal to itself, rule by rule.
func FuzzParseSave(f *testing.F) {
	f.Add([]byte("*nat\n:FAIRWAY-DNAT - [0:0]\n-A FAIRWAY-DNAT -p tcp --dport 80 -j DNAT --to-destination 1.2.3.4:80\nCOMMIT\n"))
	f.Add([]byte("*filter\n-A FORWARD -m comment --comment \"fairway:x\\\"\" -j FAIRWAY-FORWARD\nCOMMIT\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		s, err := parseSave(in)
		if err != nil {
			return
		}
		want := ruleset{}
		for table, chains := range s {
			for name, rules := range chains {
				c := chain{table: table, name: name}
				for i, r := range rules {
					c.rules = append(c.rules, rule{i, r})
					_, _ = target(r), comment(r)
				}
				if missing, extra := difference(rules, c.rules); missing+extra != 0 {
					t.Errorf("chain %q of %q differs from itself by %d+%d", name, table, missing, extra)
				}
				want.chains = append(want.chains, c)
			}
		}
		compare(s, want, "x")
	})
}
