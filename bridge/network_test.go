package bridge

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"fairway/link"
	"fairway/nat"
	"fairway/store"
)

func view(t *testing.T, n store.Network) Network {
	t.Helper()
	v, err := New("i", n)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func text(set link.Set) string {
	var out []string
	for _, o := range set {
		out = append(out, o.String())
	}
	return strings.Join(out, "; ")
}

func TestLinks(t *testing.T) {
	adopted := v4(with(label+"bridge.name", "br0"))
	adopted.Link, adopted.Adopted = "br0", true
	owned := adopted
	owned.AdoptedAddresses = []netip.Prefix{netip.MustParsePrefix("172.20.0.1/24")}
	routed := adopted
	routed.AdoptedSysctls = map[string]string{"net/ipv4/conf/br0/route_localnet": "1"}
	for n, want := range map[*store.Network]string{&adopted: "0", &routed: "1"} {
		set := view(t, *n).Links()
		if s, ok := set[len(set)-1].(link.Sysctl); !ok || s.Reset != want {
			t.Errorf("%+v: want it to be reset to %s", set[len(set)-1], want)
		}
	}
	const localnet = "; sysctl net/ipv4/conf/fwb1/src_valid_mark=1; sysctl net/ipv4/conf/fwb1/route_localnet=1"
	for name, c := range map[string]struct {
		n    store.Network
		want string
	}{
		"plain":                  {v4(nil), "bridge fwb1; address 172.20.0.1/24 on fwb1" + localnet},
		"dual":                   {dual(v4(nil)), "bridge fwb1; address 172.20.0.1/24 on fwb1; address fd00:20::1/64 on fwb1" + localnet},
		"internal":               {internal(v4(nil)), "bridge fwb1; address 172.20.0.1/24 on fwb1"},
		"isolated":               {internal(v4(with(label+"bridge.gateway_mode_ipv4", "isolated"))), "bridge fwb1"},
		"inhibited":              {v4(with(label+"bridge.inhibit_ipv4", "true")), "bridge fwb1" + localnet},
		"inhibited is IPv4 only": {dual(v4(with(label+"bridge.inhibit_ipv4", "true"))), "bridge fwb1; address fd00:20::1/64 on fwb1" + localnet},
		"host's bridge":          {adopted, "bridge br0; address 172.20.0.1/24 on br0; sysctl net/ipv4/conf/br0/src_valid_mark=1; sysctl net/ipv4/conf/br0/route_localnet=1"},
		"its address stays":      {owned, "bridge br0; sysctl net/ipv4/conf/br0/src_valid_mark=1; sysctl net/ipv4/conf/br0/route_localnet=1"},
	} {
		if got := text(view(t, c.n).Links()); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, c.want)
		}
	}
}

func TestFirewall(t *testing.T) {
	for name, c := range map[string]struct {
		n    store.Network
		want nat.Family
	}{
		"plain":         {v4(nil), nat.Family{Mode: nat.ModeNAT, Masquerade: true}},
		"internal":      {internal(v4(nil)), nat.Family{Mode: nat.ModeNAT}},
		"not disguised": {v4(with(label+"bridge.enable_ip_masquerade", "false")), nat.Family{Mode: nat.ModeNAT}},
		"routed":        {v4(with(label+"bridge.gateway_mode_ipv4", "routed")), nat.Family{Mode: nat.Routed}},
		"unprotected":   {v4(with(label+"bridge.gateway_mode_ipv4", "nat-unprotected")), nat.Family{Mode: nat.Unprotected, Masquerade: true}},
		"snat":          {v4(with("snat", "192.0.2.1")), nat.Family{Mode: nat.ModeNAT, Masquerade: true, SNAT: netip.MustParseAddr("192.0.2.1")}},
	} {
		c.want.Subnet, c.want.Gateway = c.n.Subnets[0].Prefix, c.n.Subnets[0].Gateway
		if got := view(t, c.n).Firewall().Families; len(got) != 1 || got[0] != c.want {
			t.Errorf("%s:\n got %+v\nwant %+v", name, got, c.want)
		}
	}
}

func TestAttachment(t *testing.T) {
	e := store.Endpoint{
		ID: "e1", MAC: "02:00:00:00:00:01", HostLink: "fwv1", Inside: "fwi1",
		IPv4: netip.MustParsePrefix("172.20.0.2/24"), IPv6: netip.MustParsePrefix("fd00:20::2/64"),
	}
	safe := view(t, dual(v4(nil))).Attachment(e)
	if got, want := text(safe), "veth fwv1 to fwb1; neighbour 172.20.0.2 on fwb1; neighbour fd00:20::2 on fwb1"; got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
	if v := safe[0].(link.Veth); v.Learning || v.Isolated || !v.Hairpin || v.MTU != 1500 || v.Alias != "fairway:i:e1" {
		t.Errorf("%+v: want no learning, not isolated, hairpin, MTU 1500, the mark", v)
	}
	learning := view(t, v4(with("antispoof", "false", label+"bridge.enable_icc", "false"))).Attachment(e)
	if v := learning[0].(link.Veth); len(learning) != 1 || !v.Learning || !v.Isolated {
		t.Errorf("%+v: want learning, isolated, and no neighbours", learning)
	}
	e.Options = with("antispoof", "true")
	if v := view(t, v4(with("antispoof", "false"))).Attachment(e)[0].(link.Veth); v.Learning {
		t.Error("the endpoint's option did not win over the network's")
	}
}

func TestInside(t *testing.T) {
	e := store.Endpoint{MAC: "02:00:00:00:00:01", IPv4: netip.MustParsePrefix("172.20.0.2/24"), IPv6: netip.MustParsePrefix("fd00:20::2/64")}
	aux := v4(nil)
	aux.Subnets[0].Aux = map[string]netip.Addr{"DefaultGatewayIPv4": netip.MustParseAddr("172.20.0.9")}
	for name, c := range map[string]struct {
		n    store.Network
		want string
	}{
		"plain":     {v4(nil), "{eth [172.20.0.2/24] [172.20.0.1] []}"},
		"dual":      {dual(v4(nil)), "{eth [172.20.0.2/24 fd00:20::2/64] [172.20.0.1 fd00:20::1] []}"},
		"internal":  {internal(v4(nil)), "{eth [172.20.0.2/24] [] []}"},
		"aux":       {aux, "{eth [172.20.0.2/24] [172.20.0.9] []}"},
		"none":      {v4(with("gateway", "none")), "{eth [172.20.0.2/24] [] []}"},
		"by docker": {v4(with("publish_by", "docker")), "{eth [172.20.0.2/24] [] []}"},
		"routes":    {v4(with("routes", "10.0.0.0/8 via 172.20.0.9", label+"container_iface_prefix", "net")), "{net [172.20.0.2/24] [172.20.0.1] [{10.0.0.0/8 172.20.0.9}]}"},
	} {
		in := view(t, c.n).Inside(e)
		if got := fmt.Sprintf("{%v %v %v %v}", in.Prefix, in.Addresses, in.Gateways, in.Routes); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, c.want)
		}
	}
}

func TestBindings(t *testing.T) {
	e := store.Endpoint{IPv4: netip.MustParsePrefix("172.20.0.2/24"), IPv6: netip.MustParsePrefix("fd00:20::2/64")}
	port := func(host string) store.PortBinding {
		b := store.PortBinding{Proto: 6, HostPort: 8080, Port: 80}
		if host != "" {
			b.HostIP = netip.MustParseAddr(host)
		}
		return b
	}
	for name, c := range map[string]struct {
		n    store.Network
		want store.PortBinding
		out  string
	}{
		"everywhere":          {dual(v4(nil)), port(""), "0.0.0.0:8080->172.20.0.2:80 [::]:8080->fd00:20::2:80"},
		"one address":         {dual(v4(nil)), port("192.0.2.1"), "192.0.2.1:8080->172.20.0.2:80"},
		"IPv6 loopback":       {dual(v4(nil)), port("::1"), "[::1]:8080->fd00:20::2:80"},
		"default binding":     {dual(v4(with(label+"bridge.host_binding_ipv4", "127.0.0.1"))), port(""), "127.0.0.1:8080->172.20.0.2:80"},
		"unspecified default": {dual(v4(with(label+"bridge.host_binding_ipv4", "0.0.0.0"))), port(""), "0.0.0.0:8080->172.20.0.2:80 [::]:8080->fd00:20::2:80"},
		"routed":              {v4(with(label+"bridge.gateway_mode_ipv4", "routed")), port("192.0.2.1"), "invalid AddrPort->172.20.0.2:80"},
		"IPv6 routed":         {dual(v4(with(label+"bridge.gateway_mode_ipv6", "routed"))), port(""), "0.0.0.0:8080->172.20.0.2:80 invalid AddrPort->fd00:20::2:80"},
		"no such family":      {v4(nil), port("2001:db8::1"), "publish port 80 on 2001:db8::1: the container has no address of that family"},
		"internal":            {internal(v4(nil)), port(""), ""},
		"by docker":           {v4(with("publish_by", "docker")), port(""), ""},
	} {
		var got []string
		bindings, err := view(t, c.n).Bindings(e, c.want)
		for _, b := range bindings {
			got = append(got, fmt.Sprintf("%s->%s:%d", netip.AddrPortFrom(b.HostIP, b.HostPort), b.IP, b.Port))
		}
		if err != nil {
			got = append(got, err.Error())
		}
		if out := strings.Join(got, " "); out != c.out {
			t.Errorf("%s:\n got %s\nwant %s", name, out, c.out)
		}
	}
}

// A container without IPv6 is published there by its IPv4 address, where the host
// translates at all; and the firewall has no part in that.
func TestBindingsWithoutIPv6(t *testing.T) {
	e := store.Endpoint{IPv4: netip.MustParsePrefix("172.20.0.2/24")}
	for name, c := range map[string]struct {
		n     store.Network
		proto uint8
		host  string
		want  string
	}{
		"everywhere":          {v4(nil), 6, "", "0.0.0.0 ::"},
		"on a dual network":   {dual(v4(nil)), 17, "", "0.0.0.0 ::"},
		"IPv6 loopback":       {v4(nil), 6, "::1", "::1"},
		"IPv4 only":           {v4(nil), 6, "0.0.0.0", "0.0.0.0"},
		"default binding":     {v4(with(label+"bridge.host_binding_ipv4", "127.0.0.1")), 6, "", "127.0.0.1"},
		"sctp":                {v4(nil), 132, "", "0.0.0.0"},
		"sctp on IPv6":        {v4(nil), 132, "::1", "publish port 80 on ::1: the container has no address of that family"},
		"IPv6 routed":         {dual(v4(with(label+"bridge.gateway_mode_ipv6", "routed"))), 6, "", "0.0.0.0"},
		"IPv4 routed":         {v4(with(label+"bridge.gateway_mode_ipv4", "routed")), 6, "", "invalid IP"},
		"internal":            {internal(v4(nil)), 6, "::1", ""},
		"published by Docker": {v4(with("publish_by", "docker")), 6, "", ""},
	} {
		want := store.PortBinding{Proto: c.proto, HostPort: 8080, Port: 80}
		if c.host != "" {
			want.HostIP = netip.MustParseAddr(c.host)
		}
		v := view(t, c.n)
		bindings, err := v.Bindings(e, want)
		var got []string
		for _, b := range bindings {
			got = append(got, b.HostIP.String())
			if b.IP != e.IPv4.Addr() || b.Port != 80 || b.HostPort != 8080 && b.HostIP.IsValid() {
				t.Errorf("%s: %+v", name, b)
			}
		}
		if err != nil {
			got = append(got, err.Error())
		}
		if out := strings.Join(got, " "); out != c.want {
			t.Errorf("%s:\n got %s\nwant %s", name, out, c.want)
		}
		e := e
		e.Published = bindings
		for _, p := range v.EndpointFirewall(e).Ports {
			if p.HostIP.Is6() {
				t.Errorf("%s: the firewall is to translate %s to %s", name, p.HostIP, p.Target)
			}
		}
	}
}

// Where the host decides who may reach a port, the firewall translates none: it
// brings back the answers of the addresses that have some.
func TestHostFirewall(t *testing.T) {
	const publish = "host-firewall"
	own := map[string]string{"publish": publish}
	for name, c := range map[string]struct {
		n       store.Network
		options map[string]string
		carried string
		ports   int
	}{
		"network":             {dual(v4(with("publish", publish))), nil, "[172.20.0.2 fd00:20::2]", 0},
		"endpoint":            {dual(v4(nil)), own, "[172.20.0.2 fd00:20::2]", 0},
		"endpoint of a list":  {dual(v4(with("publish", "10.0.0.0/8"))), own, "[172.20.0.2 fd00:20::2]", 0},
		"endpoint says other": {dual(v4(with("publish", publish))), map[string]string{"publish": "all"}, "[]", 4},
		"neither":             {dual(v4(nil)), nil, "[]", 4},
	} {
		v := view(t, c.n)
		e := store.Endpoint{
			IPv4: netip.MustParsePrefix("172.20.0.2/24"), IPv6: netip.MustParsePrefix("fd00:20::2/64"), MAC: "02:42:ac:14:00:02",
			Options: c.options,
		}
		if err := v.CheckEndpoint(e); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, proto := range []uint8{6, 17} {
			bindings, err := v.Bindings(e, store.PortBinding{Proto: proto, HostPort: 8080, Port: 80})
			if err != nil {
				t.Fatal(err)
			}
			e.Published = append(e.Published, bindings...)
		}
		f := v.EndpointFirewall(e)
		if got := fmt.Sprint(f.Carried); got != c.carried || len(f.Ports) != c.ports {
			t.Errorf("%s: carried %s and %d ports, want %s and %d", name, got, len(f.Ports), c.carried, c.ports)
		}
		_, err := v.Bindings(e, store.PortBinding{Proto: 132, HostPort: 8080, Port: 80})
		if want := "publish port 80/sctp: not with publish=host-firewall: want tcp or udp"; c.ports == 0 && (err == nil || err.Error() != want) || c.ports > 0 && err != nil {
			t.Errorf("%s: sctp: %v, want %s", name, err, want)
		}
	}
}

// host is a host with these links.
type host map[string]link.Info

func (h host) Link(_ context.Context, _, name string) (link.Info, error) {
	if i, ok := h[name]; ok {
		return i, nil
	}
	return link.Info{}, unix.ENODEV
}

func (h host) Sysctl(_ context.Context, _, path string) (string, error) {
	switch path {
	case "net/ipv4/conf/br0/route_localnet":
		return "1", nil
	case "net/ipv4/conf/br0/src_valid_mark":
		return "0", nil
	}
	return "", unix.ENOENT
}

func (h host) UplinkMTU(context.Context) (int, error) { return 1450, nil }

func TestSettle(t *testing.T) {
	h := host{"eth0": {Kind: "device"}, "br0": {Kind: "bridge", Addresses: []netip.Prefix{netip.MustParsePrefix("172.20.0.1/24")}}}
	n := v4(nil)
	n.MTU = 0
	if err := Settle(t.Context(), h, &n); err != nil || n.MTU != 1450 || n.MAC == "" || n.Link != "fwb1" || n.Adopted {
		t.Errorf("%+v, %v: want the uplink's MTU, a MAC, a bridge of ours", n, err)
	}
	n = v4(with(label+"bridge.name", "br0", "mtu", "1400"))
	if err := Settle(t.Context(), h, &n); err != nil || n.MTU != 1400 || n.MAC != "" || n.Link != "br0" || !n.Adopted || len(n.AdoptedAddresses) != 1 {
		t.Errorf("%+v, %v: want the host's bridge with its address", n, err)
	}
	if got := n.AdoptedSysctls["net/ipv4/conf/br0/route_localnet"]; got != "1" || len(n.AdoptedSysctls) != 2 {
		t.Errorf("%v: want its route_localnet and src_valid_mark as they were", n.AdoptedSysctls)
	}
	n = v4(with(label+"bridge.name", "br7"))
	if err := Settle(t.Context(), h, &n); err != nil || n.Link != "br7" || n.Adopted {
		t.Errorf("%+v, %v: want a bridge of ours by that name", n, err)
	}
	n = v4(with(label+"bridge.name", "eth0"))
	want := `option com.docker.network.bridge.name="eth0": is a device; want a bridge, or a name that is free`
	if err := Settle(t.Context(), h, &n); err == nil || err.Error() != want {
		t.Errorf("\n got %v\nwant %s", err, want)
	}
}
