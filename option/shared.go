package option

import (
	"fmt"
	"maps"
	"strings"
)

// What the modes have in common.

// IfaceName is the option of an endpoint that names its interface in the container.
const IfaceName = "com.docker.network.endpoint.ifname"

// Docker returns the options of Docker's own drivers that each mode takes.
func Docker(mtu *int, ifacePrefix *string) Table {
	const docker = "com.docker.network."
	const trueOrFalse = "true or false"
	var ignored bool
	var number int
	return Table{
		{docker + "driver.mtu", "bytes from 68 to 65535", "As mtu.", Int(mtu, 68, 65535)},
		{docker + "container_iface_prefix", "at most 12 letters, digits, - _ .", "Name of the interface in the container, less its number; default eth.", LinkPrefix(ifacePrefix)},
		{docker + "enable_ipv4", trueOrFalse, "IPv4 on the network; must agree with docker network create --ipv4.", Bool(&ignored)},
		{docker + "enable_ipv6", trueOrFalse, "IPv6 on the network; must agree with docker network create --ipv6.", Bool(&ignored)},
		{docker + "advertise_addr_nmsgs", "a number from 0 to 3", "How many ARP and neighbour announcements a new interface sends; dockerd sends them, from 28.0 on.", Int(&number, 0, 3)},
		{docker + "advertise_addr_ms", "milliseconds from 100 to 2000", "Time between them; dockerd's, from 28.0 on.", Int(&number, 100, 2000)},
	}
}

// Agree refuses two different values of an option that has a short and a long name.
func Agree(pairs map[string]string, short, long string) error {
	a, isA := pairs[short]
	b, isB := pairs[long]
	if isA && isB && a != b {
		return fmt.Errorf("option %s=%q: not allowed with %s=%q, which means the same", short, a, long, b)
	}
	return nil
}

// OfEndpoint returns an endpoint's pairs without those that are dockerd's own
// business.
func OfEndpoint(pairs map[string]string) map[string]string {
	own := maps.Clone(pairs)
	maps.DeleteFunc(own, func(k, _ string) bool {
		return k != IfaceName && strings.HasPrefix(k, "com.docker.network.endpoint.")
	})
	return own
}
