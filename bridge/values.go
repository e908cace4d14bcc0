package bridge

import (
	"strconv"
	"strings"

	"fairway/option"
)

// Values returns o by the names of options, as ParseOptions reads it: what is
// there takes effect, given or not. A name that isn't in it sets nothing.
func (o Options) Values() map[string]string {
	const docker = "com.docker.network."
	v := option.Values{
		"mode": "bridge", "publish_by": string(o.PublishBy), "publish": o.Clients.String(),
		"antispoof":                            strconv.FormatBool(o.Antispoof),
		docker + "bridge.enable_ip_masquerade": strconv.FormatBool(o.Masquerade),
		docker + "bridge.gateway_mode_ipv4":    string(o.Mode4),
		docker + "bridge.gateway_mode_ipv6":    string(o.Mode6),
		docker + "bridge.enable_icc":           strconv.FormatBool(o.ICC),
		docker + "bridge.inhibit_ipv4":         strconv.FormatBool(o.InhibitIPv4),
		docker + "container_iface_prefix":      o.IfacePrefix,
		docker + "bridge.host_binding_ipv4":    "0.0.0.0",
	}
	v.Int("mtu", o.MTU)
	v.Addr("snat", o.SNAT)
	v.Addr("snat6", o.SNAT6)
	v.Addr(docker+"bridge.host_binding_ipv4", o.HostBinding)
	v.Text("routes", option.RoutesText(o.Routes))
	v.Text("allow_addresses", o.Senders.Text())
	v.Text(docker+"bridge.name", o.Name)
	v.Text(docker+"bridge.trusted_host_interfaces", strings.Join(o.Trusted, ":"))
	v.None("gateway", o.NoGateway)
	return v
}

// Values is the same of a recorded network: what was settled when it was made
// has a value, too.
func (n Network) Values() map[string]string {
	o := n.set
	o.MTU, o.Name = n.MTU, n.Link
	return o.Values()
}

// Values returns what takes effect for one endpoint, by the names of options.
func (e EndpointOptions) Values() map[string]string {
	v := option.Values{"antispoof": strconv.FormatBool(e.Antispoof)}
	if e.Clients != nil {
		v["publish"] = e.Clients.String()
	}
	v.Text("allow_addresses", e.Senders.Text())
	v.Text(option.IfaceName, e.IfaceName)
	return v
}

// EndpointValues is the same of one whose options are pairs.
func (n Network) EndpointValues(pairs map[string]string) (map[string]string, error) {
	e, err := n.set.ParseEndpointOptions(pairs)
	if e.Clients == nil {
		e.Clients = &n.set.Clients
	}
	return e.Values(), err
}
