package macvlan

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"fairway/link"
	"fairway/store"
)

// withoutMAC is fairway's address space for ipvlans: package ipam's SpaceIPvlan.
const withoutMAC = "fairway-ipvlan"

const minIPv6MTU = 1280 // bytes: RFC 8200 section 5

// check refuses what contradicts itself, in one line.
func (n Network) check() error {
	for name, on := range map[string]bool{"com.docker.network.enable_ipv4": n.IPv4, "com.docker.network.enable_ipv6": n.IPv6} {
		if v, said := n.Options[name]; said {
			if b, _ := strconv.ParseBool(v); b != on {
				return fmt.Errorf("option %s=%q: not allowed when the network is made with the opposite", name, v)
			}
		}
	}
	if err := n.checkIPv6Mode(); err != nil {
		return err
	}
	if (n.IPv6 || n.set.IPv6 == ipv6SLAAC) && n.set.MTU != 0 && n.set.MTU < minIPv6MTU {
		return fmt.Errorf("option mtu=\"%d\": want at least %d bytes with IPv6 (RFC 8200)", n.set.MTU, minIPv6MTU)
	}
	const alone = "option host_access=\"true\": not allowed with %s=%q, in which the host's link would reach no container; want bridge"
	switch {
	case !n.set.HostAccess:
	case n.Mode == ipvlan && n.set.IPvlan.Flag != link.IPvlanBridge:
		return fmt.Errorf(alone, "ipvlan_flag", n.set.IPvlan.Flag)
	case n.Mode != ipvlan && n.set.Mode != link.MacvlanBridge:
		return fmt.Errorf(alone, "macvlan_mode", n.set.Mode)
	}
	for _, s := range n.Subnets {
		if n.Mode == ipvlan && strings.HasPrefix(s.Space, "fairway-") && s.Space != withoutMAC {
			return errors.New("option mode=\"ipvlan\": not allowed with --ipam-driver fairway: Docker gives a MAC address to each endpoint then, which an ipvlan can't have; want --ipam-driver fairway-ipvlan")
		}
		if on := map[bool]bool{false: n.IPv4, true: n.IPv6}[s.Is6()]; !on {
			return fmt.Errorf("subnet %s: its family is switched off for the network", s.Prefix)
		}
	}
	return n.checkRoutes()
}

// checkIPv6Mode refuses ipv6_mode=slaac where Docker gives out IPv6 addresses, or
// where there is no LAN to hear of routers.
func (n Network) checkIPv6Mode() error {
	const no = "option ipv6_mode=\"slaac\": not allowed "
	switch {
	case n.set.IPv6 != ipv6SLAAC:
	case n.IPv6:
		return errors.New(no + "with --ipv6: the LAN's routers say which addresses containers have, and Docker gives out none")
	case n.set.Parent == "":
		return errors.New(no + "without a parent: nobody advertises a router there")
	case n.Silent():
		return fmt.Errorf(no+"with ipvlan_mode=%q: containers hear no router advertisements there; want l2", n.set.IPvlan.Mode)
	}
	return nil
}

func (n Network) checkRoutes() error {
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
