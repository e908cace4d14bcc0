package iptables

import (
	"fairway/nat"
)

// toWho leads to the chain that decides about clients.
func toWho(c nat.Clients) string {
	if c.All() {
		return "-j RETURN"
	}
	return "-g " + chainWho + "-" + c.Key()
}

// restricts reports whether not everybody may reach all published ports.
func (r renderer) restricts() bool { return len(r.policies) > 0 }

// who leads packets to published ports from other links to the chain of those
// that may send them. An endpoint's own rules come first.
func (r renderer) who() (rules []rule) {
	for _, b := range r.links {
		for _, n := range b.nets {
			if n.Clients.Filtered() && !n.Internal {
				rules = append(rules, r.rule(1, "-d %s ! -i %s -o %s %s", n.Subnet.Masked(), b.link, b.link, toWho(n.Clients)))
			}
		}
	}
	return rules
}

// policy returns for packets from clients, and drops others.
func (r renderer) policy(c nat.Clients) (rules []rule) {
	for _, p := range c.Prefixes {
		switch {
		case p.Addr().Is6() != r.v6:
		case p.Bits() == 0: // iptables-save wouldn't show it
			rules = append(rules, r.rule(0, "-j RETURN"))
		default:
			rules = append(rules, r.rule(0, "-s %s -j RETURN", p))
		}
	}
	for _, l := range c.Links {
		rules = append(rules, r.rule(0, "-i %s -j RETURN", l))
	}
	return list(append(rules, r.rule(0, "-j DROP"))...)
}
