package macvlan

import (
	"fmt"

	"fairway/link"
	"fairway/option"
)

// Options are a network's -o settings, as they take effect.
type Options struct {
	Parent      string // link of the host; "" for one of the network's own that leads nowhere
	VLAN        int    // of Parent, made as a link where there is none; 0: Parent itself
	Mode        link.MacvlanMode
	IPvlan      link.IPvlan // zero for macvlans
	MTU         int         // bytes; 0: the parent's
	NoGateway   bool        // containers get no default route
	HostAccess  bool        // the host and the containers reach each other
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

// ParseOptions reads -o key=value pairs. It refuses what is unknown, not
// allowed, or said twice with different values, in one line.
func ParseOptions(pairs map[string]string) (Options, error) {
	o := Options{Mode: link.MacvlanBridge, IfacePrefix: "eth", DAD: true, IPv6: ipv6Static}
	return parse(&o, Table(&o), pairs)
}

// ParseIPvlanOptions is ParseOptions for mode=ipvlan.
func ParseIPvlanOptions(pairs map[string]string) (Options, error) {
	o := Options{IPvlan: link.IPvlan{Mode: link.IPvlanL2, Flag: link.IPvlanBridge}, IfacePrefix: "eth", DAD: true, IPv6: ipv6Static}
	return parse(&o, IPvlanTable(&o), pairs)
}

// parse reads the pairs by a table that sets o.
func parse(o *Options, table option.Table, pairs map[string]string) (Options, error) {
	if err := table.Parse(pairs); err != nil {
		return Options{}, err
	}
	if err := option.Agree(pairs, "mtu", "com.docker.network.driver.mtu"); err != nil {
		return Options{}, err
	}
	if o.VLAN != 0 && o.Parent == "" {
		return Options{}, fmt.Errorf("option vlan=\"%d\": want a parent with it, whose VLAN it is", o.VLAN)
	}
	return *o, nil
}

const (
	trueOrFalse = "true or false"
	mtuRange    = "bytes from 68 to 65535"
)

// Table returns the options of the mode, each setting its field of o. parent,
// macvlan_mode and the names that begin with com.docker.network are those of
// Docker's own macvlan driver, with its meanings.
func Table(o *Options) option.Table {
	var mode string
	modes := []link.MacvlanMode{link.MacvlanBridge, link.MacvlanPrivate, link.MacvlanVEPA, link.MacvlanPassthru}
	return append(option.Table{
		row("mode", "macvlan", "The network mode.", option.OneOf(&mode, "macvlan")),
		row("parent", "the name of a link: at most 15 letters, digits, - _ . @", "Link of the host on whose LAN the containers are; empty: a link of the network's own that leads nowhere, so that containers reach each other only.", parent(&o.Parent)),
		row("vlan", "a number from 1 to 4094", "VLAN of the parent that the containers are on: parent=eth0 with vlan=40 is parent=eth0.40. Its link is made if it isn't there.", option.Int(&o.VLAN, 1, 4094)),
		row("macvlan_mode", "bridge, private, vepa or passthru", "Who reaches whom of the containers on one parent: bridge: directly; private: nobody; vepa: by way of a switch that sends frames back; passthru: there is just one, which has the parent for itself.", orEmpty(&o.Mode, modes...)),
		row("mtu", mtuRange, "MTU of the containers' interfaces, at most the parent's.", option.Int(&o.MTU, 68, 65535)),
		row("routes", "CIDR via ADDRESS, …", "Static routes put into every container.", option.Routes(&o.Routes)),
		row("gateway", "none", "none: containers get no default route, though Docker names a gateway.", option.None(&o.NoGateway)),
		row("host_access", trueOrFalse, "The host and the containers reach each other, by a link of the host's with an address of its own: --aux-address host=ADDRESS, or one of fairway's pool.", option.Bool(&o.HostAccess)),
		row("dad", "on or off", "on: before an address is given out that this host didn't have within the last hour, the LAN is asked for 200 ms who has it; one that is taken is skipped or, where the user or Docker chose it, refused.", option.OnOff(&o.DAD)),
		row("ipv6_mode", "static or slaac", "Where containers' IPv6 addresses and default routes come from: static: from Docker, with --ipv6; slaac: from the router advertisements of the LAN, without --ipv6.", option.OneOf(&o.IPv6, ipv6Static, ipv6SLAAC)),
	}, option.Docker(&o.MTU, &o.IfacePrefix)...)
}

// IPvlanTable is Table for mode=ipvlan. ipvlan_mode and ipvlan_flag are those of
// Docker's own ipvlan driver, with its meanings.
func IPvlanTable(o *Options) option.Table {
	var mode string
	own := option.Table{
		row("mode", "ipvlan", "The network mode.", option.OneOf(&mode, "ipvlan")),
		row("ipvlan_mode", "l2, l3 or l3s", "What the parent is to the containers: l2: a switch; l3: a router, by the routes of the host; l3s: likewise, and packets pass the host's netfilter.", orEmpty(&o.IPvlan.Mode, link.IPvlanL2, link.IPvlanL3, link.IPvlanL3S)),
		row("ipvlan_flag", "bridge, private or vepa", "Who reaches whom of the containers on one parent: bridge: directly; private: nobody; vepa: by way of a switch that sends frames back.", orEmpty(&o.IPvlan.Flag, link.IPvlanBridge, link.IPvlanPrivate, link.IPvlanVEPA)),
	}
	for _, r := range Table(o) {
		if r.Name != "mode" && r.Name != "macvlan_mode" {
			own = append(own, r)
		}
	}
	return own
}

func row(name, allowed, meaning string, set func(string) error) option.Option {
	return option.Option{Name: name, Allowed: allowed, Meaning: meaning, Set: set}
}

// parent sets dst from the name of a link; empty means none, as for Docker's
// driver.
func parent(dst *string) func(string) error {
	return func(s string) error {
		if s == "" {
			*dst = ""
			return nil
		}
		return option.LinkName(dst)(s)
	}
}

// orEmpty is option.OneOf; empty means the first, as for Docker's drivers.
func orEmpty[T ~string](dst *T, words ...T) func(string) error {
	return func(s string) error {
		if s == "" {
			*dst = words[0]
			return nil
		}
		return option.OneOf(dst, words...)(s)
	}
}

// EndpointOptions are the settings of one endpoint (--network name=…,
// driver-opt=key=value), as they take effect.
type EndpointOptions struct {
	IfaceName string // of the interface in the container; engines so far ignore it
}

// ParseEndpointOptions reads an endpoint's pairs.
func ParseEndpointOptions(pairs map[string]string) (EndpointOptions, error) {
	var e EndpointOptions
	own := option.OfEndpoint(pairs)
	return e, EndpointTable(&e).Parse(own)
}

// EndpointTable returns the options of an endpoint, each setting its field of e.
func EndpointTable(e *EndpointOptions) option.Table {
	return option.Table{
		row(option.IfaceName, "the name of a link", "Name of the interface in the container; engines so far ignore it.", option.LinkName(&e.IfaceName)),
	}
}
