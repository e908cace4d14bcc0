package model

// The engines on the host. The first makes a sandbox before Join, as Docker
// does from 28 on, the second afterwards.
const (
	engineNew = "new"
	engineOld = "old"
)

var engines = []string{engineNew, engineOld} //nolint:gochecknoglobals // a constant

// A shape is what a user asks for with docker network create.
type shape struct {
	v4, v6   string // subnets; "" none, "auto" for the allocator's choice
	ipRange  string
	noIPAM   bool // Docker's own IPAM driver
	internal bool
	options  map[string]string
	bad      bool // must be refused
}

const label = "com.docker.network.bridge."

// lanLink is the host's link on its LAN.
const lanLink = "eth0"

// foreignBridge is a bridge of the host's that networks may be put on;
// crowdedBridge one with room for two ports.
const (
	foreignBridge = "br0"
	crowdedBridge = "br1"
)

// shapeOf returns the shape of a name for the network in slot i.
func shapeOf(name string, i int) (s shape, ok bool) {
	v4 := []string{"10.1.0.0/24", "10.2.0.0/24", "10.3.0.0/24", "10.4.0.0/24"}[i]
	v6 := []string{"fd00:1::/64", "fd00:2::/64", "fd00:3::/64", "fd00:4::/64"}[i]
	o := func(kv ...string) map[string]string {
		out := map[string]string{}
		for i := 0; i < len(kv); i += 2 {
			out[kv[i]] = kv[i+1]
		}
		return out
	}
	shapes := map[string]shape{
		"plain":    {v4: v4},
		"dual":     {v4: v4, v6: v6},
		"six":      {v6: v6},
		"auto":     {v4: "auto"},
		"small":    {v4: v4[:len(v4)-2] + "30"},
		"range":    {v4: v4, ipRange: v4[:len(v4)-4] + "64/31"},
		"internal": {v4: v4, internal: true},
		"learning": {v4: v4, options: o("antispoof", "false", label+"enable_icc", "false")},
		"routed":   {v4: v4, v6: v6, options: o(label+"gateway_mode_ipv4", "routed", label+"gateway_mode_ipv6", "routed")},
		"mtu":      {v4: v4, options: o("mtu", "1400", label+"host_binding_ipv4", "127.0.0.1")},
		"adopted":  {v4: v4, options: o(label+"name", foreignBridge)},
		"crowded":  {v4: v4, options: o(label+"name", crowdedBridge)},
		"switched": {v4: v4, noIPAM: true, options: o("mode", "transparent", "parent", foreignBridge, "dad", "off")},
		"docker":   {v4: v4, v6: v6, noIPAM: true},
		"lan":      {v4: v4, v6: v6, noIPAM: true, options: o("mode", "macvlan", "parent", lanLink, "dad", "off")},
		"vlan":     {v4: v4, noIPAM: true, options: o("mode", "macvlan", "parent", lanLink+".40", "dad", "off")},
		"qinq":     {v4: v4, noIPAM: true, options: o("mode", "macvlan", "parent", lanLink+".40", "vlan", "7", "dad", "off")},
		"hosted":   {v4: v4, v6: v6, noIPAM: true, options: o("mode", "macvlan", "parent", lanLink, "host_access", "true", "dad", "off")},
		"lone":     {v4: v4, options: o("mode", "macvlan")},
		"same":     {v4: "10.1.0.0/24"}, // the subnet of slot 0
		"guarded":  {v4: v4, v6: v6, options: o("publish", "host-firewall")},
		"bad":      {v4: v4, options: o("mtuu", "1400"), bad: true},
	}
	s, ok = shapes[name]
	if s.options == nil {
		s.options = o()
	}
	return s, ok
}

// shapeNames are the names, the common ones first.
func shapeNames() []string {
	return []string{
		"plain", "dual", "auto", "small", "six", "routed", "adopted", "docker", "internal",
		"lan", "hosted", "learning", "mtu", "range", "lone", "same", "crowded", "switched", "guarded", "vlan", "qinq", "bad",
	}
}
