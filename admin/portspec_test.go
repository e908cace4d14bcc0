package admin

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"fairway/store"
)

// shown writes what a port was read as.
func shown(all []store.PortBinding) string {
	var out []string
	for _, p := range all {
		host := "*"
		if p.HostIP.IsValid() {
			host = p.HostIP.String()
		}
		out = append(out, fmt.Sprintf("%s|%d-%d|%d/%d", host, p.HostPort, p.HostPortEnd, p.Port, p.Proto))
	}
	return strings.Join(out, " ")
}

func TestParsePorts(t *testing.T) {
	for _, c := range []struct{ text, add, remove string }{
		{"80", "", "*|80-0|0/6"},
		{"127.0.0.1:80", "", "127.0.0.1|80-0|0/6"},
		{"[::1]:80/udp", "", "::1|80-0|0/17"},
		{"8000-8002", "", "*|8000-8002|0/6"},
		{"8080:80", "*|8080-0|80/6", "*|8080-0|80/6"},
		{"8080:80/udp", "*|8080-0|80/17", "*|8080-0|80/17"},
		{"9:9/sctp", "*|9-0|9/132", "*|9-0|9/132"},
		{"0.0.0.0:1:65535", "0.0.0.0|1-0|65535/6", "0.0.0.0|1-0|65535/6"},
		{"[fd00::1]:8080:80", "fd00::1|8080-0|80/6", "fd00::1|8080-0|80/6"},
		{"8000-8002:80", "*|8000-8002|80/6", "*|8000-8002|80/6"},
		{"8000-8001:90-91", "*|8000-0|90/6 *|8001-0|91/6", "*|8000-0|90/6 *|8001-0|91/6"},
		{"8000-8000:80", "*|8000-0|80/6", "*|8000-0|80/6"},
		{"", "", ""},
		{":80", "", ""},
		{"80:", "", ""},
		{"0:80", "", ""},
		{"80:0", "", ""},
		{"65536:80", "", ""},
		{"+80:80", "", ""},
		{"80:http", "", ""},
		{"80:80/", "", ""},
		{"80:80/TCP", "", ""},
		{"80:80:80", "", ""},
		{"::1:80:80", "", ""},
		{"[::1]80:80", "", ""},
		{"[1.2.3.4]:80:80", "", ""},
		{"[::ffff:1.2.3.4]:80:80", "", ""},
		{"[fe80::1%eth0]:80:80", "", ""},
		{"1.2.3:80:80", "", ""},
		{"host.example:80:80", "", ""},
		{"8001-8000:80", "", ""},
		{"8000-8002:80-81", "", ""},
		{"80:80-81", "", ""},
		{"1-2-3:80", "", ""},
	} {
		for name, f := range map[string]struct {
			parse func(string) ([]store.PortBinding, error)
			want  string
		}{"add": {ParseAdd, c.add}, "remove": {ParseRemove, c.remove}} {
			got, err := f.parse(c.text)
			if shown(got) != f.want || (err == nil) != (f.want != "") {
				t.Errorf("%s %q: %q, %v; want %q", name, c.text, shown(got), err, f.want)
			}
		}
	}
}

// What is accepted is a port that can be published, and says what was written.
func FuzzParsePorts(f *testing.F) {
	for _, s := range []string{"8080:80", "[::1]:1-3:80/udp", "1.2.3.4:5-6:7-8/sctp", "80", "1-65535:1-65535"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, parse := range []func(string) ([]store.PortBinding, error){ParseAdd, ParseRemove} {
			all, err := parse(text)
			if err != nil {
				if strings.ContainsAny(err.Error(), "\n\x1b") {
					t.Errorf("%q: a message of several lines, or with controls: %q", text, err)
				}
				continue
			}
			for _, p := range all {
				if p.HostPort == 0 || p.HostPortEnd != 0 && p.HostPortEnd <= p.HostPort || p.IP != (netip.Addr{}) ||
					p.HostIP.Is4In6() || p.HostIP.Zone() != "" {
					t.Errorf("%q: %+v", text, p)
				}
			}
			if len(all) == 0 || len(all) > 65535 {
				t.Errorf("%q: %d ports", text, len(all))
			}
		}
	})
}
