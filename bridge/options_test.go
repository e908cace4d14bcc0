package bridge

import (
	"net/netip"
	"strings"
	"testing"

	"fairway/store"
)

// v4 is a network record with one IPv4 subnet and these options.
func v4(options map[string]string) store.Network {
	return store.Network{
		ID: "n1", Mode: "bridge", IPv4: true, Link: "fwb1", MTU: 1500, Options: options,
		Subnets: []store.Subnet{{Prefix: netip.MustParsePrefix("172.20.0.0/24"), Gateway: netip.MustParseAddr("172.20.0.1")}},
	}
}

func internal(n store.Network) store.Network { n.Internal = true; return n }

func dual(n store.Network) store.Network {
	n.IPv6 = true
	n.Subnets = append(n.Subnets, store.Subnet{Prefix: netip.MustParsePrefix("fd00:20::/64"), Gateway: netip.MustParseAddr("fd00:20::1")})
	return n
}

func with(kv ...string) map[string]string {
	out := map[string]string{}
	for i := 0; i < len(kv); i += 2 {
		out[kv[i]] = kv[i+1]
	}
	return out
}

const label = "com.docker.network."

// Each refusal is one line that names the option, the value, what is allowed.
func TestRefusals(t *testing.T) {
	aux := v4(with("gateway", "none"))
	aux.Subnets[0].Aux = map[string]netip.Addr{"DefaultGatewayIPv4": netip.MustParseAddr("172.20.0.9")}
	auxOutside := v4(nil)
	auxOutside.Subnets[0].Aux = map[string]netip.Addr{"DefaultGatewayIPv4": netip.MustParseAddr("172.21.0.9")}
	twice := v4(nil)
	twice.Subnets = append(twice.Subnets, store.Subnet{Prefix: netip.MustParsePrefix("172.21.0.0/24")})
	for name, c := range map[string]struct {
		n    store.Network
		want string
	}{
		"typo":                   {v4(with("mtuu", "1500")), `option mtuu="1500": unknown; nearest is "mtu"`},
		"typo of Docker's":       {v4(with(label+"bridge.enable_ic", "true")), `option com.docker.network.bridge.enable_ic="true": unknown; nearest is "com.docker.network.bridge.enable_icc"`},
		"mtu":                    {v4(with("mtu", "9O00")), `option mtu="9O00": want bytes from 68 to 65535`},
		"icc":                    {v4(with(label+"bridge.enable_icc", "maybe")), `option com.docker.network.bridge.enable_icc="maybe": want true or false`},
		"mode":                   {v4(with(label+"bridge.gateway_mode_ipv4", "open")), `option com.docker.network.bridge.gateway_mode_ipv4="open": want nat, nat-unprotected, routed or isolated`},
		"isolated":               {v4(with(label+"bridge.gateway_mode_ipv4", "isolated")), `option com.docker.network.bridge.gateway_mode_ipv4="isolated": allowed only with --internal`},
		"routed internal":        {internal(v4(with(label+"bridge.gateway_mode_ipv4", "routed"))), `option com.docker.network.bridge.gateway_mode_ipv4="routed": not allowed with --internal; want nat or isolated`},
		"snat internal":          {internal(v4(with("snat", "192.0.2.1"))), `option snat="192.0.2.1": not allowed with --internal`},
		"snat family":            {v4(with("snat", "2001:db8::1")), `option snat="2001:db8::1": want an IPv4 address`},
		"snat6 without":          {v4(with("snat6", "2001:db8::1")), `option snat6="2001:db8::1": not allowed without IPv6`},
		"snat routed":            {v4(with("snat", "192.0.2.1", label+"bridge.gateway_mode_ipv4", "routed")), `option com.docker.network.bridge.gateway_mode_ipv4="routed": not allowed with a source address for outgoing packets (snat)`},
		"synonyms":               {v4(with("mtu", "1400", label+"driver.mtu", "1500")), `option mtu="1400": not allowed with com.docker.network.driver.mtu="1500", which means the same`},
		"default bridge":         {v4(with(label+"bridge.default_bridge", "true")), `option com.docker.network.bridge.default_bridge="true": want false: docker0 stays Docker's`},
		"bridge name":            {v4(with(label+"bridge.name", "a/../b")), `option com.docker.network.bridge.name="a/../b": want the name of a link: at most 15 letters, digits, - _ . @`},
		"prefix":                 {v4(with(label+"container_iface_prefix", "averylongprefix")), `option com.docker.network.container_iface_prefix="averylongprefix": want at most 12 letters, digits, - _ .`},
		"trusted":                {v4(with(label+"bridge.trusted_host_interfaces", "eth0:")), `option com.docker.network.bridge.trusted_host_interfaces="eth0:": want names of links, separated by :`},
		"routes":                 {v4(with("routes", "10.0.0.0/8 by 172.20.0.9")), `option routes="10.0.0.0/8 by 172.20.0.9": want CIDR via ADDRESS, …`},
		"next hop":               {v4(with("routes", "10.0.0.0/8 via 172.21.0.9")), `option routes="10.0.0.0/8 via 172.21.0.9": next hop 172.21.0.9 is in no subnet of the network`},
		"default route":          {v4(with("routes", "0.0.0.0/0 via 172.20.0.9")), `option routes="0.0.0.0/0 via 172.20.0.9": want CIDR via ADDRESS, …`},
		"gateway":                {v4(with("gateway", "172.20.0.9")), `option gateway="172.20.0.9": want none`},
		"aux, no gateway":        {aux, `option gateway="none": not allowed with aux-address DefaultGatewayIPv4`},
		"aux outside":            {auxOutside, `aux-address DefaultGatewayIPv4=172.21.0.9: want an address in 172.20.0.0/24`},
		"two subnets":            {twice, `subnet 172.21.0.0/24: a bridge network has at most one a family`},
		"ipv6 label":             {v4(with(label+"enable_ipv6", "true")), `option com.docker.network.enable_ipv6="true": not allowed when the network is made with the opposite`},
		"mtu for IPv6":           {dual(v4(with("mtu", "1000"))), `option mtu="1000": want at least 1280 bytes with IPv6 (RFC 8200)`},
		"publish internal":       {internal(v4(with("publish_by", "docker"))), `option publish_by="docker": not allowed with --internal`},
		"publish, no gw":         {v4(with("publish_by", "docker", "gateway", "none")), `option publish_by="docker": not allowed with gateway=none`},
		"clients":                {v4(with("publish", "10.0.0.0/8;eth0")), `option publish="10.0.0.0/8;eth0": want all, loopback, host-firewall, or a list of CIDR prefixes, addresses and iface:NAME`},
		"clients, Docker":        {v4(with("publish", "loopback", "publish_by", "docker")), `option publish="loopback": not allowed with publish_by=docker: Docker's rules decide then`},
		"host firewall, routed":  {v4(with("publish", "host-firewall", label+"bridge.gateway_mode_ipv4", "routed")), `option publish="host-firewall": not allowed with gateway mode routed, where ports of the host have no part`},
		"host firewall, trusted": {v4(with("publish", "host-firewall", label+"bridge.trusted_host_interfaces", "eth1")), `option publish="host-firewall": not allowed with com.docker.network.bridge.trusted_host_interfaces: what is routed doesn't pass the host's INPUT rules`},
		"host firewall, Docker":  {v4(with("publish", "host-firewall", "publish_by", "docker")), `option publish="host-firewall": not allowed with publish_by=docker: Docker's rules decide then`},
		"host firewall and more": {v4(with("publish", "host-firewall,10.0.0.0/8")), `option publish="host-firewall,10.0.0.0/8": want all, loopback, host-firewall, or a list of CIDR prefixes, addresses and iface:NAME`},
		"clients, open":          {v4(with("publish", "10.1.0.0/16", label+"bridge.gateway_mode_ipv4", "nat-unprotected")), `option publish="10.1.0.0/16": not allowed with gateway mode nat-unprotected, where every port can be reached`},
		"senders":                {v4(with("allow_addresses", "172.20.0.9,")), `option allow_addresses="172.20.0.9,": want a list of addresses, prefixes and MAC addresses, separated by ,`},
		"senders, gateway":       {v4(with("allow_addresses", "172.20.0.9,172.20.0.1/32")), `option allow_addresses: not allowed with 172.20.0.1: is the network's gateway`},
		"adverts":                {v4(with(label+"advertise_addr_nmsgs", "4")), `option com.docker.network.advertise_addr_nmsgs="4": want a number from 0 to 3`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New("i", c.n)
			if err == nil || err.Error() != c.want {
				t.Errorf("\n got %v\nwant %s", err, c.want)
			}
		})
	}
}

// Every option has a value that is accepted, and a meaning to print.
func TestTableIsWhole(t *testing.T) {
	good := with("mode", "bridge", "mtu", "9000", "routes", "10.0.0.0/8 via 172.20.0.9, fd00:8::/64 via fd00:20::9", "gateway", "none",
		"snat", "192.0.2.1", "snat6", "2001:db8::1", "publish_by", "fairway", "publish", "10.0.0.0/8,iface:eth0", "antispoof", "false",
		"allow_addresses", "172.20.0.9, 10.8.0.0/16, fd00:8::/64, 00:00:5e:00:01:05",
		label+"bridge.name", "br.40", label+"bridge.enable_ip_masquerade", "0", label+"bridge.gateway_mode_ipv4", "nat",
		label+"bridge.gateway_mode_ipv6", "nat", label+"bridge.enable_icc", "false", label+"bridge.inhibit_ipv4", "true",
		label+"bridge.host_binding_ipv4", "127.0.0.1", label+"bridge.default_bridge", "false", label+"bridge.trusted_host_interfaces", "eth0:wg0",
		label+"driver.mtu", "9000", label+"container_iface_prefix", "net", label+"host_ipv4", "192.0.2.1", label+"host_ipv6", "2001:db8::1",
		label+"enable_ipv4", "true", label+"enable_ipv6", "true", label+"advertise_addr_nmsgs", "0", label+"advertise_addr_ms", "100")
	if _, err := New("i", dual(v4(good))); err != nil {
		t.Errorf("all options at once: %v", err)
	}
	for _, o := range Table(&Options{}) {
		if _, ok := good[o.Name]; !ok {
			t.Errorf("option %s: no value in this test", o.Name)
		}
		if o.Meaning == "" || !strings.HasSuffix(o.Meaning, ".") || o.Allowed == "" {
			t.Errorf("option %s: meaning %q, allowed %q", o.Name, o.Meaning, o.Allowed)
		}
	}
}

// What is asked before the network has its subnets (GwAllocCheck) must not be
// refused for the lack of them.
func TestOptionsBeforeSubnets(t *testing.T) {
	n := dual(v4(with("routes", "10.0.0.0/8 via 172.20.0.9", "snat", "192.0.2.1", "snat6", "2001:db8::1")))
	n.Subnets = nil
	if _, err := New("i", n); err != nil {
		t.Error(err)
	}
}

// FuzzOptions checks that what is accepted is what it says, and what isn't is
// one line.
func FuzzOptions(f *testing.F) {
	f.Add("mtu", "1500", true, false)
	f.Add(label+"bridge.trusted_host_interfaces", "eth0:eth1", false, true)
	f.Add("routes", "10.0.0.0/8 via 172.20.0.9,fd00::/8 via fd00:20::2", false, true)
	f.Add(label+"bridge.gateway_mode_ipv4", "isolated", true, false)
	f.Add("snat", "\x00", false, false)
	f.Fuzz(func(t *testing.T, key, value string, isInternal, isDual bool) {
		n := v4(with(key, value))
		n.Internal = isInternal
		if isDual {
			n = dual(n)
		}
		v, err := New("i", n)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\x1b") {
				t.Errorf("refusal is not one clean line: %q", err)
			}
			return
		}
		if o := v.set; o.MTU < 0 || o.MTU > 65535 || len(o.Name) > 15 || len(o.IfacePrefix) > 12 || o.SNAT.Is6() {
			t.Errorf("accepted %s=%q: %+v", key, value, o)
		}
		for _, r := range v.set.Routes {
			if !r.NextHop.IsValid() || r.Destination.Bits() == 0 {
				t.Errorf("accepted %s=%q: %+v", key, value, r)
			}
		}
		v.Links()
		v.Firewall()
	})
}

func TestEndpointRefusals(t *testing.T) {
	n, err := New("i", v4(nil))
	if err != nil {
		t.Fatal(err)
	}
	ok := store.Endpoint{ID: "e1", MAC: "02:00:00:00:00:01", IPv4: netip.MustParsePrefix("172.20.0.2/24")}
	if err := n.CheckEndpoint(ok); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(e *store.Endpoint){
		`mac-address "01:00:00:00:00:01": want a unicast MAC address`: func(e *store.Endpoint) { e.MAC = "01:00:00:00:00:01" },
		`address 172.20.0.1: is the network's gateway`:                func(e *store.Endpoint) { e.IPv4 = netip.MustParsePrefix("172.20.0.1/24") },
		`address 172.21.0.2: in no subnet of the network`:             func(e *store.Endpoint) { e.IPv4 = netip.MustParsePrefix("172.21.0.2/24") },
		`option antispoof="of": want true or false`:                   func(e *store.Endpoint) { e.Options = with("antispoof", "of") },
		`option antispoofing="on": unknown; nearest is "antispoof"`:   func(e *store.Endpoint) { e.Options = with("antispoofing", "on") },
	} {
		e := ok
		change(&e)
		if err := n.CheckEndpoint(e); err == nil || err.Error() != want {
			t.Errorf("\n got %v\nwant %s", err, want)
		}
	}
}
