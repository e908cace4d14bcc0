package iptables

import (
	"fairway/nat"
)

// forward drops what may not pass, and returns for all else. It accepts
// nothing, so that other rules of the host keep their say.
func (r renderer) forward() (rules []rule) {
	add := func(format string, args ...any) { rules = append(rules, r.rule(0, format, args...)) }
	for _, b := range r.links {
		for _, n := range b.nets {
			if n.Internal {
				add("%s-i %s ! -o %s -j DROP", b.src(n), b.link, b.link)
				add("%s! -i %s -o %s -j DROP", b.dst(n), b.link, b.link)
			}
		}
	}
	if r.restricts() {
		add("-m conntrack --ctstate RELATED,ESTABLISHED -j RETURN")
		add("-m conntrack --ctstate DNAT -j " + chainWho)
	}
	add(pass + " -j RETURN")
	for _, b := range r.links {
		for _, n := range b.nets {
			if !n.ICC {
				add("%s-i %s -o %s -j DROP", b.dst(n), b.link, b.link)
			}
			if n.Beside && !n.Internal {
				add("-i %s ! -o %s -j DROP", b.link, b.link)
			}
		}
		if b.entered() {
			add("! -i %s -o %s -j %s%s", b.link, b.link, chainIn, b.link)
		}
	}
	for _, b := range r.links {
		for _, n := range b.nets {
			if !n.Internal {
				add("%s-i %s ! -o %s -j %s", b.src(n), b.link, b.link, chainOut)
			}
		}
	}
	return list(rules...)
}

// in decides about new connections into a bridge from another link.
func (r renderer) in(b bridge) (rules []rule) {
	add := func(format string, args ...any) { rules = append(rules, r.rule(0, format, args...)) }
	icmp := "icmp"
	if r.v6 {
		icmp = "ipv6-icmp"
	}
	for _, n := range b.nets {
		if n.Internal {
			continue
		}
		for _, t := range n.Trusted {
			if r.restricts() {
				add("%s-i %s -j %s", b.dst(n), t, chainWho)
			}
			add("%s-i %s -g %s%s", b.dst(n), t, chainPub, b.link)
		}
		switch n.Mode {
		case nat.Unprotected:
			add("%s-j RETURN", b.dst(n))
		case nat.Routed:
			add("%s-p %s -j RETURN", b.dst(n), icmp)
			if r.restricts() {
				add("%s-j %s", b.dst(n), chainWho)
			}
			add("%s-g %s%s", b.dst(n), chainPub, b.link)
		default:
			add("%s-j DROP", b.dst(n))
		}
	}
	return list(rules...)
}

// out drops new connections from our bridges to others' containers: Docker's
// rules don't everywhere.
func (r renderer) out() []rule { return list(r.foreign("-o", "DROP", "RETURN")...) }

// other accepts what enters or leaves one of our bridges when its other side,
// named by flag, is no bridge of others' containers.
func (r renderer) other(flag string) []rule {
	return list(append(r.foreign(flag, "RETURN", "ACCEPT"), r.rule(0, "-j ACCEPT"))...)
}

// foreign returns rules that match the bridges of others' containers. Those of
// Docker are known by name before they are there; links that just look like
// one are not meant.
func (r renderer) foreign(flag, verdict, not string) (rules []rule) {
	for _, l := range r.around.Lookalikes {
		rules = append(rules, r.rule(0, "%s %s -j %s", flag, l, not))
	}
	for _, l := range r.links {
		if nat.LooksLikeDockers(l.link) {
			rules = append(rules, r.rule(0, "%s %s -j %s", flag, l.link, not))
		}
	}
	for _, l := range append([]string{"docker0", "docker_gwbridge", "br-+"}, r.around.Foreign...) {
		rules = append(rules, r.rule(0, "%s %s -j %s", flag, l, verdict))
	}
	return rules
}

// accept lets pass what forward didn't drop, between our bridges and what is
// no bridge of others' containers.
func (r renderer) accept() []rule {
	rules := []rule{r.rule(0, "-j %s", chainForward)}
	add := func(format string, args ...any) { rules = append(rules, r.rule(0, format, args...)) }
	for _, b := range r.links {
		if !r.around.Uplinks[b.link] { // else only what is of our networks
			add("-i %s -o %s -j ACCEPT", b.link, b.link)
		}
		for _, n := range b.nets {
			if r.around.Uplinks[b.link] {
				add("%s-i %s -o %s -j ACCEPT", b.src(n), b.link, b.link)
				add("%s-i %s -o %s -j ACCEPT", b.dst(n), b.link, b.link)
			}
			if !n.Internal {
				add("%s-o %s -j %s", b.dst(n), b.link, chainFrom)
				add("%s-i %s -j %s", b.src(n), b.link, chainTo)
			}
		}
	}
	for _, l := range r.bridged { // frames that a port of ours lets in or out, in any protocol
		for _, port := range []string{nat.GuardedPort, nat.OpenPort} {
			add("-i %s -m physdev --physdev-in %s+ --physdev-is-bridged -j ACCEPT", l, port)
			add("-o %s -m physdev --physdev-out %s+ --physdev-is-bridged -j ACCEPT", l, port)
		}
	}
	return list(rules...)
}
