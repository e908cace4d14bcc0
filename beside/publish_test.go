package beside

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"fairway/store"
)

func network(host ...string) store.Network {
	n := store.Network{ID: "n1", Subnets: []store.Subnet{
		{Prefix: netip.MustParsePrefix("192.0.2.0/24")}, {Prefix: netip.MustParsePrefix("2001:db8::/64")},
	}}
	for _, a := range host {
		n.HostLink, n.HostAddresses = "fws1", append(n.HostAddresses, netip.MustParseAddr(a))
	}
	return n
}

func endpoint(ips ...string) (e store.Endpoint) {
	for _, ip := range ips {
		if p := netip.MustParsePrefix(ip); p.Addr().Is6() {
			e.IPv6 = p
		} else {
			e.IPv4 = p
		}
	}
	return e
}

// asked is -p HOST:FIRST[-LAST]:PORT.
func asked(host string, first, last, port uint16) store.PortBinding {
	p := store.PortBinding{Proto: 6, HostPort: first, HostPortEnd: last, Port: port}
	if host != "" {
		p.HostIP = netip.MustParseAddr(host)
	}
	return p
}

func TestBindings(t *testing.T) {
	four, both := endpoint("192.0.2.9/24"), endpoint("192.0.2.9/24", "2001:db8::9/64")
	internal := network()
	internal.Internal = true
	for _, c := range []struct {
		name string
		n    store.Network
		e    store.Endpoint
		ask  store.PortBinding
		want string // HOST:PORT>TARGET, or own:PORT>TARGET
	}{
		{"own", network(), four, asked("", 8080, 0, 80), "own:8080>192.0.2.9:80"},
		{"both families", network(), both, asked("", 8080, 0, 80), "own:8080>192.0.2.9:80 own:8080>[2001:db8::9]:80"},
		{"any port", network(), four, asked("", 0, 0, 80), "own:80>192.0.2.9:80"},
		{"range", network(), four, asked("", 8080, 8090, 80), "own:8080>192.0.2.9:80"},
		{"all of IPv4", network(), both, asked("0.0.0.0", 8080, 0, 80), "own:8080>192.0.2.9:80"},
		{"all of IPv6", network(), both, asked("::", 8080, 0, 80), "own:8080>[2001:db8::9]:80"},
		{"its address", network("192.0.2.200"), four, asked("192.0.2.9", 8080, 0, 80), "own:8080>192.0.2.9:80"},
		{"the host's", network(), four, asked("192.0.2.10", 8080, 0, 80), ""},
		{"loopback", network(), four, asked("127.0.0.1", 8080, 0, 80), ""},
		{"internal", internal, four, asked("", 8080, 0, 80), ""},
		{"host", network("192.0.2.200"), four, asked("0.0.0.0", 8080, 0, 80), "own:8080>192.0.2.9:80 0.0.0.0:8080>192.0.2.9:80"},
		{"host and its IPv6", network("192.0.2.200"), four, asked("", 8080, 0, 80), "own:8080>192.0.2.9:80 0.0.0.0:8080>192.0.2.9:80 [::]:8080>192.0.2.9:80"},
		{"host range", network("192.0.2.200"), four, asked("0.0.0.0", 8080, 8090, 80), "own:8080>192.0.2.9:80 0.0.0.0:8080-8090>192.0.2.9:80"},
		{"host loopback", network("192.0.2.200"), four, asked("127.0.0.1", 8080, 0, 80), "127.0.0.1:8080>192.0.2.9:80"},
		{"host, IPv4 alone", network("192.0.2.200"), both, asked("", 8080, 0, 80), "own:8080>192.0.2.9:80 0.0.0.0:8080>192.0.2.9:80 own:8080>[2001:db8::9]:80"},
		{"host, both", network("192.0.2.200", "2001:db8::200"), both, asked("", 8080, 0, 80), "own:8080>192.0.2.9:80 0.0.0.0:8080>192.0.2.9:80 own:8080>[2001:db8::9]:80 [::]:8080>[2001:db8::9]:80"},
	} {
		var got []string
		e := c.e
		for _, b := range Bindings(c.n, c.e, c.ask) {
			where, port := "own", fmt.Sprint(b.HostPort)
			if b.HostIP.IsValid() {
				where = strings.TrimSuffix(netip.AddrPortFrom(b.HostIP, 0).String(), ":0")
			}
			if b.HostPortEnd != 0 {
				port += fmt.Sprint("-", b.HostPortEnd)
			}
			if b.OnItsOwn() != (where == "own") {
				t.Errorf("%s: %+v: OnItsOwn %t", c.name, b, b.OnItsOwn())
			}
			got = append(got, where+":"+port+">"+netip.AddrPortFrom(b.IP, b.Port).String())
			e.Published = append(e.Published, b)
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, s, c.want)
		}
		for _, p := range Inside(e) {
			if p.HostIP != p.Target || p.HostPort == p.TargetPort {
				t.Errorf("%s: translated in the sandbox: %s", c.name, p)
			}
		}
		for _, p := range EndpointFirewall(c.n, e).Ports {
			if !p.HostIP.IsValid() || p.HostIP.Is6() != p.Target.Is6() {
				t.Errorf("%s: translated on the host: %s", c.name, p)
			}
		}
	}
}
