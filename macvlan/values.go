package macvlan

import (
	"strconv"

	"fairway/option"
)

// Values returns o by the names of options, as ParseOptions or ParseIPvlanOptions
// reads it: what is there takes effect, given or not. A name that isn't in it
// sets nothing.
func (o Options) Values() map[string]string {
	const docker = "com.docker.network."
	v := option.Values{docker + "container_iface_prefix": o.IfacePrefix}
	v.OnOff("dad", o.DAD)
	if o.IPvlan.Mode != "" {
		v["mode"], v["ipvlan_mode"], v["ipvlan_flag"] = ipvlan, string(o.IPvlan.Mode), string(o.IPvlan.Flag)
	} else {
		v["mode"], v["macvlan_mode"], v["host_access"] = "macvlan", string(o.Mode), strconv.FormatBool(o.HostAccess)
	}
	v.Text("parent", o.Parent)
	v.Int("vlan", o.VLAN)
	v.Int("mtu", o.MTU)
	v.Text("routes", option.RoutesText(o.Routes))
	v.None("gateway", o.NoGateway)
	return v
}

// Values is the same of a recorded network: what was settled when it was made
// has a value, too.
func (n Network) Values() map[string]string {
	o := n.set
	o.MTU = n.MTU
	return o.Values()
}

// EndpointValues returns what takes effect for one endpoint whose options are
// pairs, by the names of options.
func (n Network) EndpointValues(pairs map[string]string) (map[string]string, error) {
	e, err := ParseEndpointOptions(pairs)
	v := option.Values{}
	v.Text(option.IfaceName, e.IfaceName)
	return v, err
}
