package option

import (
	"strings"
	"testing"
)

func table(mtu *int, icc *bool) Table {
	return Table{
		{Name: "mtu", Allowed: "bytes from 68 to 65535", Set: Int(mtu, 68, 65535)},
		{Name: "com.docker.network.bridge.enable_icc", Allowed: "true or false", Set: Bool(icc)},
	}
}

func TestParseRefusals(t *testing.T) {
	for _, c := range []struct {
		name  string
		pairs map[string]string
		want  string
	}{
		{"letter for digit", map[string]string{"mtu": "9O00"}, `option mtu="9O00": want bytes from 68 to 65535`},
		{"too small", map[string]string{"mtu": "67"}, `option mtu="67": want bytes from 68 to 65535`},
		{"typo", map[string]string{"mtuu": "1"}, `option mtuu="1": unknown; nearest is "mtu"`},
		{"short name", map[string]string{"enable_ic": "1"}, `option enable_ic="1": unknown; nearest is "com.docker.network.bridge.enable_icc"`},
		{"first by name", map[string]string{"zz": "1", "mtu": ""}, `option mtu="": want bytes from 68 to 65535`},
		{"control characters", map[string]string{"m\x1bu": "1"}, `option m?u="1": unknown; nearest is "mtu"`},
		{"long", map[string]string{"mtu" + strings.Repeat("x", 500): "1"}, `option mtu` + strings.Repeat("x", 77) + `…="1": unknown; nearest is "mtu"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var mtu int
			var icc bool
			err := table(&mtu, &icc).Parse(c.pairs)
			if err == nil || err.Error() != c.want {
				t.Errorf("Parse(%v):\n got %v\nwant %s", c.pairs, err, c.want)
			}
		})
	}
}

func TestParseAccepts(t *testing.T) {
	var mtu int
	icc := true
	err := table(&mtu, &icc).Parse(map[string]string{"mtu": "9000", "com.docker.network.bridge.enable_icc": "0"})
	if err != nil || mtu != 9000 || icc {
		t.Errorf("mtu %d, icc %t, error %v; want 9000, false, none", mtu, icc, err)
	}
}

func TestIsLinkName(t *testing.T) {
	for name, want := range map[string]bool{
		"br0": true, "eth0.40": true, "a-b_c": true, "123456789012345": true,
		"": false, ".": false, "..": false, "1234567890123456": false, "a/b": false, "a b": false,
		"a:b": false, "a\x00": false, "-j": false, "br*": false, "ü": false, "fw+": false, "all": false, "default": false,
	} {
		if got := IsLinkName(name); got != want {
			t.Errorf("IsLinkName(%q) = %t", name, got)
		}
	}
}
