package bridge

import (
	"fmt"
	"slices"
	"strconv"

	"fairway/nat"
	"fairway/store"
)

// check refuses what contradicts itself, in one line.
func (n Network) check() error {
	for _, check := range []func() error{n.checkFamilies, n.checkSubnets, n.checkOptions, n.checkGatewayModes} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (n Network) checkFamilies() error {
	for name, on := range map[string]bool{"com.docker.network.enable_ipv4": n.IPv4, "com.docker.network.enable_ipv6": n.IPv6} {
		if v, said := n.Options[name]; said {
			if b, _ := strconv.ParseBool(v); b != on {
				return fmt.Errorf("option %s=%q: not allowed when the network is made with the opposite", name, v)
			}
		}
	}
	if n.IPv6 && n.set.MTU != 0 && n.set.MTU < minIPv6MTU {
		return fmt.Errorf("option mtu=\"%d\": want at least %d bytes with IPv6 (RFC 8200)", n.set.MTU, minIPv6MTU)
	}
	return nil
}

const minIPv6MTU = 1280 // bytes: RFC 8200 section 5

func (n Network) checkSubnets() error {
	var families [2]int
	for _, s := range n.Subnets {
		i := 0
		if s.Is6() {
			i = 1
		}
		families[i]++
		if families[i] > 1 {
			return fmt.Errorf("subnet %s: a bridge network has at most one a family", s.Prefix)
		}
		if on := [2]bool{n.IPv4, n.IPv6}[i]; !on {
			return fmt.Errorf("subnet %s: its family is switched off for the network", s.Prefix)
		}
		if s.Prefix.Bits() == 0 && n.mode(s) != nat.IsolatedGateway && s.Gateway.IsValid() {
			return fmt.Errorf("gateway %s: not allowed in %s", s.Gateway, s.Prefix)
		}
		if a := s.Aux[auxGateway(s)]; a.IsValid() && !s.Prefix.Contains(a) {
			return fmt.Errorf("aux-address %s=%s: want an address in %s", auxGateway(s), a, s.Prefix)
		}
	}
	return nil
}

func (n Network) checkOptions() error {
	o := n.set
	switch {
	case o.SNAT.IsValid() && n.Internal:
		return fmt.Errorf("option snat=%q: not allowed with --internal", o.SNAT)
	case o.SNAT6.IsValid() && n.Internal:
		return fmt.Errorf("option snat6=%q: not allowed with --internal", o.SNAT6)
	case o.SNAT.IsValid() && !n.IPv4:
		return fmt.Errorf("option snat=%q: not allowed without IPv4", o.SNAT)
	case o.SNAT6.IsValid() && !n.IPv6:
		return fmt.Errorf("option snat6=%q: not allowed without IPv6", o.SNAT6)
	case o.PublishBy == byDocker && n.Internal:
		return fmt.Errorf("option publish_by=%q: not allowed with --internal", o.PublishBy)
	case o.PublishBy == byDocker && o.NoGateway:
		return fmt.Errorf("option publish_by=%q: not allowed with gateway=none", o.PublishBy)
	}
	if i := slices.IndexFunc(n.Subnets, func(s store.Subnet) bool { return s.Aux[auxGateway(s)].IsValid() }); i >= 0 && o.NoGateway {
		return fmt.Errorf("option gateway=\"none\": not allowed with aux-address %s", auxGateway(n.Subnets[i]))
	}
	if err := n.checkClients(o.Clients); err != nil {
		return err
	}
	if err := n.checkSenders(o.Senders); err != nil {
		return err
	}
	for _, r := range o.Routes {
		if len(n.Subnets) == 0 {
			break // engines from 28 on ask about a gateway before there are any
		}
		if !slices.ContainsFunc(n.Subnets, func(s store.Subnet) bool { return s.Prefix.Contains(r.NextHop) }) {
			return fmt.Errorf("option routes=%q: next hop %s is in no subnet of the network", n.Options["routes"], r.NextHop)
		}
	}
	return nil
}

// checkSenders refuses a list that would let a container be the network's
// gateway.
func (n Network) checkSenders(s nat.Senders) error {
	for _, subnet := range n.Subnets {
		if n.onBridge(subnet) && slices.Contains(s.Addresses, subnet.Gateway) {
			return fmt.Errorf("option allow_addresses: not allowed with %s: is the network's gateway", subnet.Gateway)
		}
	}
	return nil
}

// checkClients refuses a limit that would not hold.
func (n Network) checkClients(c nat.Clients) error {
	switch {
	case c.All():
		return nil
	case n.set.PublishBy == byDocker:
		return fmt.Errorf("option publish=%q: not allowed with publish_by=docker: Docker's rules decide then", c)
	case n.set.Mode4 == nat.Unprotected && n.IPv4, n.set.Mode6 == nat.Unprotected && n.IPv6:
		return fmt.Errorf("option publish=%q: not allowed with gateway mode nat-unprotected, where every port can be reached", c)
	case !c.HostFirewall:
		return nil
	case n.set.Mode4 == nat.Routed && n.IPv4, n.set.Mode6 == nat.Routed && n.IPv6:
		return fmt.Errorf("option publish=%q: not allowed with gateway mode routed, where ports of the host have no part", c)
	case len(n.set.Trusted) > 0:
		return fmt.Errorf("option publish=%q: not allowed with com.docker.network.bridge.trusted_host_interfaces: what is routed doesn't pass the host's INPUT rules", c)
	}
	return nil
}

func (n Network) checkGatewayModes() error {
	for _, f := range []struct {
		name string
		mode nat.GatewayMode
		snat bool
	}{
		{"com.docker.network.bridge.gateway_mode_ipv4", n.set.Mode4, n.set.SNAT.IsValid()},
		{"com.docker.network.bridge.gateway_mode_ipv6", n.set.Mode6, n.set.SNAT6.IsValid()},
	} {
		switch {
		case f.mode == nat.IsolatedGateway && !n.Internal:
			return fmt.Errorf("option %s=%q: allowed only with --internal", f.name, f.mode)
		case n.Internal && f.mode == nat.Routed, n.Internal && f.mode == nat.Unprotected:
			return fmt.Errorf("option %s=%q: not allowed with --internal; want nat or isolated", f.name, f.mode)
		case f.snat && f.mode != nat.ModeNAT && f.mode != nat.Unprotected:
			return fmt.Errorf("option %s=%q: not allowed with a source address for outgoing packets (snat)", f.name, f.mode)
		}
	}
	return nil
}
