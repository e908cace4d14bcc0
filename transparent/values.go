package transparent

import (
	"fmt"
	"strconv"
	"strings"

	"fairway/link"
	"fairway/option"
)

// Values returns o by the names of options, as ParseOptions reads it: what is
// there takes effect, given or not. A name that isn't in it sets nothing.
func (o Options) Values() map[string]string {
	const docker = "com.docker.network."
	e, _ := o.ParseEndpointOptions(nil)
	v := option.Values{"mode": "transparent", docker + "container_iface_prefix": o.IfacePrefix}
	v.OnOff("dad", o.DAD)
	for name, value := range e.Values() {
		v[name] = value
	}
	v.Text("parent", o.Parent)
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

// Values returns what takes effect for one endpoint, by the names of options.
func (e EndpointOptions) Values() map[string]string {
	v := option.Values{"isolated": strconv.FormatBool(e.Isolated), "antispoof": strconv.FormatBool(e.Antispoof)}
	v.Int("vlan", int(e.VLANs.Access))
	v.Text("trunk", ranges(e.VLANs.Tagged))
	v.Text("allow_addresses", e.Senders.Text())
	v.Text(option.IfaceName, e.IfaceName)
	return v
}

// EndpointValues is the same of one whose options are pairs.
func (n Network) EndpointValues(pairs map[string]string) (map[string]string, error) {
	e, err := n.set.ParseEndpointOptions(pairs)
	return e.Values(), err
}

// ranges writes VLANs as trunk reads them.
func ranges(all []link.VLANRange) string {
	var words []string
	for _, r := range all {
		if r.First == r.Last {
			words = append(words, fmt.Sprint(r.First))
			continue
		}
		words = append(words, fmt.Sprintf("%d-%d", r.First, r.Last))
	}
	return strings.Join(words, ",")
}
