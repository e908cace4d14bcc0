package transparent

import (
	"fmt"
	"slices"

	"fairway/link"
	"fairway/nat"
	"fairway/option"
)

// Options are a network's -o settings, as they take effect.
type Options struct {
	Parent      string // the bridge
	VLANs       link.PortVLANs
	Isolated    bool // containers don't reach each other, nor other isolated ports of the bridge
	MTU         int  // bytes; 0: the bridge's
	Antispoof   antispoof
	Senders     nat.Senders // what endpoints may send from besides their own addresses
	NoGateway   bool        // containers get no default route
	IfacePrefix string      // of the interface's name in the container
	Routes      []link.Route
	DAD         bool // addresses that somebody else of the LAN has aren't given out
	IPv6        ipv6Mode
}

// ipv6Mode is where containers' IPv6 addresses come from.
type ipv6Mode string

const (
	ipv6Static ipv6Mode = "static" // from Docker
	ipv6SLAAC  ipv6Mode = "slaac"  // from the LAN's router advertisements
)

// antispoof is a truth value, or nobody said: then it is on wherever it can be.
type antispoof int

const (
	unsaid antispoof = iota
	on
	off
)

// ParseOptions reads -o key=value pairs. It refuses what is unknown, not
// allowed, or said twice with different values, in one line.
func ParseOptions(pairs map[string]string) (Options, error) {
	o := Options{IfacePrefix: "eth", DAD: true, IPv6: ipv6Static}
	if err := Table(&o).Parse(pairs); err != nil {
		return Options{}, err
	}
	if err := option.Agree(pairs, "mtu", "com.docker.network.driver.mtu"); err != nil {
		return Options{}, err
	}
	return o, checkPort(pairs, o.VLANs, o.Antispoof)
}

const (
	trueOrFalse = "true or false"
	mtuRange    = "bytes from 68 to 65535"
)

// Table returns the options of the mode, each setting its field of o.
func Table(o *Options) option.Table {
	var mode string
	return slices.Concat(option.Table{
		row("mode", "transparent", "The network mode.", option.OneOf(&mode, "transparent")),
		row("parent", "the name of a link: at most 15 letters, digits, - _ . @", "The bridge that containers are attached to; it is there already, and stays as it is.", option.LinkName(&o.Parent)),
		row("mtu", mtuRange, "MTU of the containers' interfaces, at most the bridge's.", option.Int(&o.MTU, 68, 65535)),
		row("routes", "CIDR via ADDRESS, …", "Static routes put into every container.", option.Routes(&o.Routes)),
		row("gateway", "none", "none: containers get no default route, though Docker names a gateway.", option.None(&o.NoGateway)),
		row("dad", "on or off", "on: before an address is given out that this host didn't have within the last hour, the LAN is asked for 200 ms who has it; one that is taken is skipped or, where the user or Docker chose it, refused.", option.OnOff(&o.DAD)),
		row("ipv6_mode", "static or slaac", "Where containers' IPv6 addresses and default routes come from: static: from Docker, with --ipv6; slaac: from the router advertisements of the LAN, without --ipv6.", option.OneOf(&o.IPv6, ipv6Static, ipv6SLAAC)),
	}, option.Docker(&o.MTU, &o.IfacePrefix), portTable(&o.VLANs, &o.Isolated, &o.Antispoof, &o.Senders))
}

// portTable returns the options that a network and an endpoint have alike.
func portTable(v *link.PortVLANs, isolated *bool, spoof *antispoof, s *nat.Senders) option.Table {
	var access int
	return option.Table{
		row("vlan", "a VLAN from 1 to 4094", "VLAN of the container's frames, which have no tag at its port: the bridge must be VLAN-aware.", func(text string) error {
			err := option.Int(&access, 1, lastVLAN)(text)
			v.Access = uint16(access)
			return err
		}),
		row("trunk", trunkAllowed, "VLANs that the container sends and gets with tags: the bridge must be VLAN-aware. Without vlan frames that have no tag are dropped.", trunk(&v.Tagged)),
		row("isolated", trueOrFalse, "The port exchanges no frames with other isolated ports of the bridge: containers reach the LAN, not each other.", option.Bool(isolated)),
		row("antispoof", trueOrFalse, "A container sends only from its own MAC and IP addresses, and plays neither router nor DHCP server nor switch. Not with trunk.", func(text string) error {
			var b bool
			err := option.Bool(&b)(text)
			*spoof = off
			if b {
				*spoof = on
			}
			return err
		}),
		row("allow_addresses", nat.SendersAllowed, "What containers may send from besides their own addresses: virtual addresses that move between them, networks behind one that is a router.", func(text string) (err error) {
			*s, err = nat.ParseSenders(text)
			return err
		}),
	}
}

func row(name, allowed, meaning string, set func(string) error) option.Option {
	return option.Option{Name: name, Allowed: allowed, Meaning: meaning, Set: set}
}

// checkPort refuses what contradicts itself in pairs, which said v and spoof.
func checkPort(pairs map[string]string, v link.PortVLANs, spoof antispoof) error {
	for _, r := range v.Tagged {
		if r.First <= v.Access && v.Access <= r.Last {
			return fmt.Errorf("option trunk=%q: not allowed with vlan=\"%d\": frames of a VLAN have a tag or have none", pairs["trunk"], v.Access)
		}
	}
	if spoof == on && len(v.Tagged) > 0 {
		return fmt.Errorf("option antispoof=%q: not allowed with trunk: the guard doesn't look into frames with tags", pairs["antispoof"])
	}
	return nil
}

// EndpointOptions are the settings of one endpoint (--network name=…,
// driver-opt=key=value), as they take effect.
type EndpointOptions struct {
	VLANs     link.PortVLANs
	Isolated  bool
	Antispoof bool
	Senders   nat.Senders
	IfaceName string // of the interface in the container; engines so far ignore it
}

// ParseEndpointOptions reads an endpoint's pairs; what they leave out is as the
// network's options say. One that says vlan or trunk says both.
func (o Options) ParseEndpointOptions(pairs map[string]string) (EndpointOptions, error) {
	e := EndpointOptions{Isolated: o.Isolated, Senders: o.Senders}
	own := option.OfEndpoint(pairs)
	var spoof antispoof
	if err := endpointTable(&e, &spoof).Parse(own); err != nil {
		return e, err
	}
	if e.VLANs.IsZero() {
		e.VLANs = o.VLANs
	}
	if spoof == unsaid && len(e.VLANs.Tagged) == 0 {
		spoof = o.Antispoof
	}
	e.Antispoof = spoof != off && len(e.VLANs.Tagged) == 0
	return e, checkPort(own, e.VLANs, spoof)
}

func endpointTable(e *EndpointOptions, spoof *antispoof) option.Table {
	return append(portTable(&e.VLANs, &e.Isolated, spoof, &e.Senders),
		row(option.IfaceName, "the name of a link", "Name of the interface in the container; engines so far ignore it.", option.LinkName(&e.IfaceName)))
}
