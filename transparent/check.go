package transparent

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"fairway/store"
)

const minIPv6MTU = 1280 // bytes: RFC 8200 section 5

// check refuses what contradicts itself, in one line.
func (n Network) check() error {
	if n.set.Parent == "" {
		return errors.New("option parent: missing; want the name of a bridge of the host, which mode=transparent attaches containers to")
	}
	for name, on := range map[string]bool{"com.docker.network.enable_ipv4": n.IPv4, "com.docker.network.enable_ipv6": n.IPv6} {
		if v, said := n.Options[name]; said {
			if b, _ := strconv.ParseBool(v); b != on {
				return fmt.Errorf("option %s=%q: not allowed when the network is made with the opposite", name, v)
			}
		}
	}
	if n.set.IPv6 == ipv6SLAAC && n.IPv6 {
		return errors.New("option ipv6_mode=\"slaac\": not allowed with --ipv6: the LAN's routers say which addresses containers have, and Docker gives out none")
	}
	if (n.IPv6 || n.set.IPv6 == ipv6SLAAC) && n.set.MTU != 0 && n.set.MTU < minIPv6MTU {
		return fmt.Errorf("option mtu=\"%d\": want at least %d bytes with IPv6 (RFC 8200)", n.set.MTU, minIPv6MTU)
	}
	for _, s := range n.Subnets {
		if on := map[bool]bool{false: n.IPv4, true: n.IPv6}[s.Is6()]; !on {
			return fmt.Errorf("subnet %s: its family is switched off for the network", s.Prefix)
		}
	}
	for _, r := range n.set.Routes {
		if len(n.Subnets) == 0 {
			break // engines from 28 on ask about a gateway before there are any
		}
		if !slices.ContainsFunc(n.Subnets, func(s store.Subnet) bool { return s.Prefix.Contains(r.NextHop) }) {
			return fmt.Errorf("option routes=%q: next hop %s is in no subnet of the network", n.Options["routes"], r.NextHop)
		}
	}
	return nil
}
