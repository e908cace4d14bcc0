package bridge

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"fairway/link"
	"fairway/nat"
	"fairway/option"
)

// Options are a network's -o settings, as they take effect.
type Options struct {
	Name        string // of the bridge; "" for a name of fairway's
	MTU         int    // bytes; 0: that of the uplink
	Masquerade  bool
	SNAT        netip.Addr // source of outgoing packets instead of masquerading
	SNAT6       netip.Addr
	Mode4       nat.GatewayMode
	Mode6       nat.GatewayMode
	ICC         bool        // containers of the network reach each other
	InhibitIPv4 bool        // the gateway's IPv4 address is not put on the bridge
	HostBinding netip.Addr  // where -p publishes when it names no address
	Trusted     []string    // links from which published ports can be reached by routing, too
	IfacePrefix string      // of the interface's name in the container
	Antispoof   bool        // no learning on ports: static FDB and permanent neighbour entries instead; and package guard
	Senders     nat.Senders // what endpoints may send from besides their own addresses
	NoGateway   bool        // containers get no default route
	Routes      []link.Route
	PublishBy   publisher
	Clients     nat.Clients // who may reach published ports
}

// publisher says who publishes a network's ports.
type publisher string

const (
	byFairway publisher = "fairway"
	// byDocker: fairway gives the container no gateway, so Docker attaches it to
	// its own gateway bridge, publishes there and shows the ports in docker ps.
	byDocker publisher = "docker"
)

func defaults() Options {
	return Options{
		Masquerade: true, Mode4: nat.ModeNAT, Mode6: nat.ModeNAT, ICC: true,
		IfacePrefix: "eth", Antispoof: true, PublishBy: byFairway,
	}
}

// ParseOptions reads -o key=value pairs. It refuses what is unknown, not
// allowed, or said twice with different values, in one line.
func ParseOptions(pairs map[string]string) (Options, error) {
	o := defaults()
	if err := Table(&o).Parse(pairs); err != nil {
		return Options{}, err
	}
	for short, long := range synonyms {
		if err := option.Agree(pairs, short, long); err != nil {
			return Options{}, err
		}
	}
	return o, nil
}

// synonyms are fairway's short names for options of Docker's bridge driver.
var synonyms = map[string]string{
	"mtu":   "com.docker.network.driver.mtu",
	"snat":  "com.docker.network.host_ipv4",
	"snat6": "com.docker.network.host_ipv6",
}

const (
	trueOrFalse  = "true or false"
	mtuRange     = "bytes from 68 to 65535"
	gatewayModes = "nat, nat-unprotected, routed or isolated"
)

// Table returns the options of the mode, each setting its field of o. The names
// that begin with com.docker.network are those of Docker's own bridge driver,
// with its meanings.
func Table(o *Options) option.Table {
	const docker = "com.docker.network."
	var mode string
	modes := []nat.GatewayMode{nat.ModeNAT, nat.Unprotected, nat.Routed, nat.IsolatedGateway}
	return append(option.Table{
		row("mode", "bridge", "The network mode: bridge; or macvlan, ipvlan or transparent, which have options of their own (macvlan.md, ipvlan.md, transparent.md).", option.OneOf(&mode, "bridge")),
		row("mtu", mtuRange, "MTU of the bridge and of the containers' interfaces; default: that of the link the host's default route leaves by.", option.Int(&o.MTU, 68, 65535)),
		row("routes", "CIDR via ADDRESS, …", "Static routes put into every container.", option.Routes(&o.Routes)),
		row("gateway", "none", "none: containers get no default route from the network.", option.None(&o.NoGateway)),
		row("snat", "an IPv4 address", "Source address of what leaves the network, instead of masquerading.", option.Addr4(&o.SNAT)),
		row("snat6", "an IPv6 address", "Source address of IPv6 packets that leave the network.", option.Addr6(&o.SNAT6)),
		row("publish_by", "fairway or docker", "docker: Docker publishes ports over its gateway bridge, so that docker ps shows them.", option.OneOf(&o.PublishBy, byFairway, byDocker)),
		row("publish", nat.ClientsAllowed, "Who may reach published ports, beside the host itself and containers of the network: everybody (all), nobody (loopback), clients with these addresses or that come in by these links, or whoever the host's own INPUT rules let in (host-firewall).", clients(&o.Clients)),
		row("antispoof", trueOrFalse, "A container sends only from its own MAC and IP addresses, and plays neither router nor DHCP server nor switch; the bridge learns nothing from it. false: it sends what it likes, and the port learns, as Docker's do.", option.Bool(&o.Antispoof)),
		row("allow_addresses", nat.SendersAllowed, "What containers may send from besides their own addresses: virtual addresses that move between them, networks behind one that is a router.", senders(&o.Senders)),
		row(docker+"bridge.name", "the name of a link: at most 15 letters, digits, - _ . @", "Name of the bridge; one that is there already is used and left as it is.", option.LinkName(&o.Name)),
		row(docker+"bridge.enable_ip_masquerade", trueOrFalse, "What leaves the network takes the host's address (or that of snat).", option.Bool(&o.Masquerade)),
		row(docker+"bridge.gateway_mode_ipv4", gatewayModes, "How the network is reached from outside over IPv4.", option.OneOf(&o.Mode4, modes...)),
		row(docker+"bridge.gateway_mode_ipv6", gatewayModes, "How the network is reached from outside over IPv6.", option.OneOf(&o.Mode6, modes...)),
		row(docker+"bridge.enable_icc", trueOrFalse, "Containers of the network reach each other.", option.Bool(&o.ICC)),
		row(docker+"bridge.inhibit_ipv4", trueOrFalse, "The gateway's IPv4 address is not put on the bridge.", option.Bool(&o.InhibitIPv4)),
		row(docker+"bridge.host_binding_ipv4", "an address", "Where -p publishes when it names no address.", hostBinding(&o.HostBinding)),
		row(docker+"bridge.default_bridge", "false: docker0 stays Docker's", "Marks docker0 in Docker's own driver; here it can only be off.", isFalse),
		row(docker+"bridge.trusted_host_interfaces", "names of links, separated by :", "Links from which published ports can also be reached at the container's own address.", linkNames(&o.Trusted)),
		row(docker+"host_ipv4", "an IPv4 address", "As snat.", option.Addr4(&o.SNAT)),
		row(docker+"host_ipv6", "an IPv6 address", "As snat6.", option.Addr6(&o.SNAT6)),
	}, option.Docker(&o.MTU, &o.IfacePrefix)...)
}

func row(name, allowed, meaning string, set func(string) error) option.Option {
	return option.Option{Name: name, Allowed: allowed, Meaning: meaning, Set: set}
}

func isFalse(s string) error {
	var b bool
	if err := option.Bool(&b)(s); err != nil || b {
		return errors.New("not false")
	}
	return nil
}

// hostBinding sets dst from an address. The unspecified ones mean every address
// of the host, as none does.
func hostBinding(dst *netip.Addr) func(string) error {
	return func(s string) error {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" || a.IsMulticast() {
			return errors.New("no address")
		}
		*dst = netip.Addr{}
		if a = a.Unmap(); a != netip.IPv4Unspecified() {
			*dst = a
		}
		return nil
	}
}

// clients sets dst from a list of clients.
func clients(dst *nat.Clients) func(string) error {
	return func(s string) (err error) {
		*dst, err = nat.ParseClients(s)
		return err
	}
}

// senders sets dst from a list of what may be sent from.
func senders(dst *nat.Senders) func(string) error {
	return func(s string) (err error) {
		*dst, err = nat.ParseSenders(s)
		return err
	}
}

func linkNames(dst *[]string) func(string) error {
	return func(s string) error {
		names := strings.Split(s, ":")
		for _, n := range names {
			if !option.IsLinkName(n) {
				return fmt.Errorf("%q names no link", n)
			}
		}
		*dst = names
		return nil
	}
}

// EndpointOptions are the settings of one endpoint (--network name=…,
// driver-opt=key=value), as they take effect.
type EndpointOptions struct {
	Antispoof bool
	Senders   nat.Senders
	Clients   *nat.Clients // who may reach its ports; nil: as the network says
	IfaceName string       // of the interface in the container; engines so far ignore it
}

// ParseEndpointOptions reads an endpoint's pairs; what they leave out is as the
// network's options say.
func (o Options) ParseEndpointOptions(pairs map[string]string) (EndpointOptions, error) {
	e := EndpointOptions{Antispoof: o.Antispoof, Senders: o.Senders}
	own := option.OfEndpoint(pairs)
	return e, EndpointTable(&e).Parse(own)
}

// EndpointTable returns the options of an endpoint, each setting its field of e.
func EndpointTable(e *EndpointOptions) option.Table {
	return option.Table{
		row("antispoof", trueOrFalse, "As the network's option, for one endpoint.", option.Bool(&e.Antispoof)),
		row("allow_addresses", nat.SendersAllowed, "As the network's option, for one endpoint; it replaces that.", senders(&e.Senders)),
		row("publish", nat.ClientsAllowed, "As the network's option, for one endpoint.", func(s string) error {
			e.Clients = &nat.Clients{}
			return clients(e.Clients)(s)
		}),
		row(option.IfaceName, "the name of a link", "Name of the interface in the container; engines so far ignore it.", option.LinkName(&e.IfaceName)),
	}
}
