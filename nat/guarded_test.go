package nat

import (
	"fmt"
	"net"
	"strings"
	"testing"
)

func TestParseSenders(t *testing.T) {
	for text, want := range map[string]string{
		"172.30.0.9":                              "{[] [172.30.0.9] []}",
		"fd00::9, 172.30.0.9,172.30.0.9/32":       "{[] [172.30.0.9 fd00::9] []}",
		"::ffff:172.30.0.9":                       "{[] [172.30.0.9] []}",
		"10.8.1.0/24,10.8.0.0/16,fd00:8::/48":     "{[] [] [10.8.0.0/16 fd00:8::/48]}",
		"0.0.0.0/0,10.0.0.0/8,10.8.0.0/24,::/0":   "{[] [] [0.0.0.0/0 ::/0]}",
		"10.9.0.0/16,10.8.0.0/16":                 "{[] [] [10.8.0.0/16 10.9.0.0/16]}",
		"00:00:5e:00:01:05,00:00:5E:00:01:05":     "{[00:00:5e:00:01:05] [] []}",
		"fd00::/127,00:00:5e:00:01:05,fd00::/128": "{[00:00:5e:00:01:05] [fd00::] [fd00::/127]}",
	} {
		if s, err := ParseSenders(text); err != nil || fmt.Sprint(s) != want {
			t.Errorf("%s: %v, %v; want %s", text, s, err, want)
		}
	}
	for _, text := range []string{
		"", ",", "172.30.0.9,", "172.30.0.9 172.30.0.10", "0.0.0.0", "::", "224.0.0.1", "ff02::1", "fe80::1%eth0", "10.8.0.1/24",
		"01:00:5e:00:00:05", "00:00:5e:00:01", "10.8.0.0/33", "web",
	} {
		if s, err := ParseSenders(text); err == nil {
			t.Errorf("%q is taken: %v", text, s)
		}
	}
}

// FuzzParseSenders: what is taken can be written again and means the same.
func FuzzParseSenders(f *testing.F) {
	f.Add("172.30.0.9,10.8.0.0/16,fd00::/8,00:00:5e:00:01:05")
	f.Add("::ffff:1.2.3.0/120,::/0")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSenders(text)
		if err != nil {
			return
		}
		again, err := ParseSenders(strings.Trim(strings.NewReplacer(" ", ",", "[", "", "]", "", "{", "", "}", "").Replace(fmt.Sprint(s)), ","))
		if err != nil || fmt.Sprint(again) != fmt.Sprint(s) {
			t.Errorf("%q: %v, then %v, %v", text, s, again, err)
		}
		for i, p := range s.Prefixes {
			if p != p.Masked() || p.IsSingleIP() || i > 0 && p.Overlaps(s.Prefixes[i-1]) {
				t.Errorf("%q: prefixes %v", text, s.Prefixes)
			}
		}
	})
}

func TestLinkLocal(t *testing.T) {
	if got := LinkLocal(net.HardwareAddr{0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde}).String(); got != "fe80::3656:78ff:fe9a:bcde" { // RFC 4291 appendix A
		t.Error(got)
	}
}
