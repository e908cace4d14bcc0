package nftables

import (
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"fairway/nat"
)

// chains returns the chains that depend on nothing but the marks, which are
// those of package unroutable.
func chains(marks nat.Marks) []chain {
	return slices.Concat(filterChains(), []chain{returning(), loopback(), between()}, markChains(marks), sourceChains(), publishChains(), baseChains())
}

// A need is what base chains of every packet ask only where there is one of it.
type need struct {
	internal bool // networks
	carried  bool // endpoints (publish=host-firewall)
}

// needs returns what s needs.
func needs(s nat.State) need {
	return need{
		internal: slices.ContainsFunc(s.Networks, func(n nat.Network) bool { return n.Internal }),
		carried:  slices.ContainsFunc(s.Endpoints, func(e nat.Endpoint) bool { return len(e.Carried) > 0 }),
	}
}

// chains returns the base chains that depend on what there is.
func (n need) chains(marks nat.Marks) []chain {
	return []chain{n.forward(), n.mark(marks)}
}

// What many rules begin with.
func loopback4() netip.Prefix { return netip.MustParsePrefix("127.0.0.0/8") }
func replies() match          { return bits(expr.CtKeySTATE, stateEstablished|stateRelated) }
func published() match        { return bits(expr.CtKeySTATUS, statusDNAT) }

const (
	iif = expr.MetaKeyIIFNAME
	oif = expr.MetaKeyOIFNAME

	ofReplies   = "replies"
	ofPublished = "published ports"
)

// filterChains decide, each in one way, what may pass between links.
func filterChains() []chain {
	clients := goTo(chainClients)
	trusted := mk("trusted links", link2(), match{in(setTrusted)}, goTo(chainDirect))
	return []chain{
		{name: chainInternal, rules: []rule{mk("internal networks have no other link", drop())}},
		{name: chainNoICC, rules: []rule{
			mk(ofReplies, replies(), accept()), mk(ofPublished, published(), accept()),
			mk("containers of the network don't reach each other", drop()),
		}},
		{name: chainClients, rules: []rule{
			mk("", family(false), match{address(false, false, reg0), vmap(mapEndpointClients + "4")}),
			mk("", family(true), match{address(true, false, reg0), vmap(mapEndpointClients + "6")}),
			mk("", family(false), match{address(false, false, reg0), vmap(mapNetworkClients + "4")}),
			mk("", family(true), match{address(true, false, reg0), vmap(mapNetworkClients + "6")}),
			mk("all others may be reached by everybody", accept()),
		}},
		{name: chainDirect, rules: []rule{
			mk("", family(false), target(false), match{in(setDirect + "4")}, clients),
			mk("", family(true), target(true), match{in(setDirect + "6")}, clients),
			mk("not published", drop()),
		}},
		{name: chainTrusted, rules: []rule{mk(ofReplies, replies(), accept()), mk(ofPublished, published(), clients), mk("", goTo(chainDirect))}},
		{name: chainToNAT, rules: []rule{
			mk(ofReplies, replies(), accept()), mk(ofPublished, published(), clients), trusted, mk("not published", drop()),
		}},
		{name: chainToRouted, rules: []rule{
			mk(ofReplies, replies(), accept()), mk(ofPublished, published(), clients), trusted,
			mk("", family(false), l4(unix.IPPROTO_ICMP), accept()), mk("", family(true), l4(unix.IPPROTO_ICMPV6), accept()),
			mk("", goTo(chainDirect)),
		}},
		{name: chainToOpen, rules: []rule{
			mk(ofReplies, replies(), accept()), mk(ofPublished, published(), clients), trusted, mk("every port", accept()),
		}},
		{name: chainOutward, rules: []rule{
			mk(ofReplies, replies(), leave()), mk(ofPublished, published(), leave()),
			mk("", link1(oif), match{in(setAlike)}, leave()),
			mk("to others' containers", match{load(oif, reg0), in(setContainers)}, drop()),
			mk("to Docker's containers", match{load(oif, reg0), equal([]byte("br-")...)}, drop()),
		}},
	}
}

// returning has the answers to clients come back by the host that would go
// another way.
func returning() chain {
	return chain{name: chainReturning, rules: []rule{
		mk("the host by 127.0.0.1", family(false), inside(loopback4(), true, false), masquerade()),
		mk("the same network", link2(), match{in(setHome)}, masquerade()),
		mk("the same, bridged (br_netfilter)", linkIs(iif, ""), match{
			&expr.Fib{Register: reg0, FlagSADDR: true, ResultADDRTYPE: true}, differ(local()[1].(*expr.Cmp).Data...),
		}, masquerade()),
	}}
}

// sourceChains give packets that leave another source address.
func sourceChains() []chain {
	stays := []rule{
		mk("doesn't leave", link2(), match{in(setHome)}, leave()),
		mk("the host's own, or bridged", linkIs(iif, ""), link1(oif), match{in(setBridges)}, leave()),
	}
	return []chain{
		{name: chainMasquerade, rules: append(stays[:2:2], mk("", masquerade()))},
		{name: chainSNAT, rules: append(stays[:2:2],
			mk("", family(false), match{address(false, true, reg0), lookUp(mapSNAT + "4")}, translate(expr.NATTypeSourceNAT, false, false)),
			mk("", family(true), match{address(true, true, reg0), lookUp(mapSNAT + "6")}, translate(expr.NATTypeSourceNAT, true, false)),
		)},
	}
}

// loopback keeps what goes to 127.0.0.0/8 on the host.
func loopback() chain {
	return chain{name: chainLoopback, rules: []rule{
		mk("127.0.0.0/8 never comes from a container", link1(iif), match{in(setBridges)}, drop()),
		mk("published on loopback only", family(false), match{load(iif, reg0), differ(linkKey("lo")...)}, target(false), match{in(setLoopback)}, drop()),
	}}
}

// between decides about packets of connections that aren't let through yet.
func between() chain {
	return chain{name: chainBetween, rules: []rule{
		mk("within a bridge", link2(), match{vmap(mapWithin)}),
		mk("out of a bridge", link1(iif), match{vmap(mapFrom)}),
		mk("into a bridge", link1(oif), match{vmap(mapTo)}),
	}}
}

// forward lets pass what was let through before: the first packet of each
// connection, and of a published port each until it is answered, comes to
// between. What comes from or goes to an internal network always does.
func (n need) forward() chain {
	var rules []rule
	if n.internal {
		rules = append(rules,
			mk("from internal networks", link1(iif), match{in(setInternal)}, goTo(chainBetween)),
			mk("to internal networks", link1(oif), match{in(setInternal)}, goTo(chainBetween)))
	}
	return chain{name: chainForward, kind: nftables.ChainTypeFilter, hook: nftables.ChainHookForward, priority: -10, rules: append(rules,
		mk(ofReplies, replies(), accept()),
		mk("published ports, let through before", allBits(expr.CtKeySTATUS, statusDNAT|statusConfirmed), accept()),
		mk("", goTo(chainBetween)))}
}

// mark marks what may be routed to a container, behind the translation, and
// brings to the daemon's sockets what containers answer clients that it carries
// under their own addresses.
func (n need) mark(marks nat.Marks) chain {
	var rules []rule
	if n.carried {
		for _, v6 := range []bool{false, true} {
			rules = append(rules, mk("answers to the daemon's transparent sockets", family(v6),
				match{address(v6, true, reg0), in(setCarried + suffix(v6))}, link1(iif), match{in(setBridges)},
				answer(), setMark(marks.All()), accept()))
		}
	}
	return chain{name: chainMark, kind: nftables.ChainTypeFilter, hook: nftables.ChainHookPrerouting, priority: -98, rules: append(rules,
		mk(ofReplies, replies(), goTo(chainTracked)), mk(ofPublished, published(), goTo(chainTracked)),
		mk("", family(false), match{address(false, false, reg0), in(setClosed + "4")}, goTo(chainReachable)),
		mk("", family(true), match{address(true, false, reg0), in(setClosed + "6")}, goTo(chainReachable)),
		mk("from a container: the way back to it is looked up (rp_filter)", family(false),
			match{address(false, true, reg0), in(setClosed + "4")}, link1(iif), match{in(setBridges)}, setMark(marks.Reach), accept()))}
}

// markChains mark what may be routed to a container.
func markChains(marks nat.Marks) []chain {
	marked := slices.Concat(setMark(marks.Reach), accept())
	return []chain{{name: chainTracked, rules: []rule{
		mk("from a container", link1(iif), match{in(setBridges)}, marked),
		mk("to a container", family(false), match{address(false, false, reg0), in(setClosed + "4")}, marked),
		mk("to a container", family(true), match{address(true, false, reg0), in(setClosed + "6")}, marked),
	}}, {name: chainReachable, rules: []rule{
		mk("back into the bridge that it comes from", link1(iif), homeward(), match{in(setHome)}, marked),
		mk("", family(false), target(false), match{in(setDirect + "4")}, marked),
		mk("", family(true), target(true), match{in(setDirect + "6")}, marked),
		mk("", family(false), l4(unix.IPPROTO_ICMP), match{address(false, false, reg0), in(setPinged + "4")}, marked),
		mk("", family(true), l4(unix.IPPROTO_ICMPV6), match{address(true, false, reg0), in(setPinged + "6")}, marked),
	}}}
}

// publishChains look up where published ports lead.
func publishChains() (out []chain) {
	for _, v6 := range []bool{false, true} {
		s := suffix(v6)
		c := chain{name: chainPublish + s, rules: []rule{
			mk("", family(v6), target(v6), match{lookUp(mapBound + s)}, translate(expr.NATTypeDestNAT, v6, true)),
			mk("", family(v6), match{load(expr.MetaKeyL4PROTO, reg0), dport(reg1), lookUp(mapPorts + s)}, translate(expr.NATTypeDestNAT, v6, true)),
		}}
		for _, p := range protocols {
			c.rules = append(c.rules, mk("", family(v6), l4(p), match{dport(reg0), lookUp(rangesOf(v6, p))}, translate(expr.NATTypeDestNAT, v6, false)))
		}
		out = append(out, c)
	}
	return out
}

// baseChains are those that packets come to by themselves.
func baseChains() (out []chain) {
	base := func(name string, kind nftables.ChainType, hook *nftables.ChainHook, priority int32, rules ...rule) {
		out = append(out, chain{name: name, kind: kind, hook: hook, priority: priority, rules: rules})
	}
	base(chainRaw, nftables.ChainTypeFilter, nftables.ChainHookPrerouting, -300,
		mk("", family(false), inside(loopback4(), false, false), goTo(chainLoopback)),
		mk("127.0.0.0/8 never comes from a container", family(false), inside(loopback4(), true, false), link1(iif), match{in(setBridges)}, drop()))
	base(chainPrerouting, nftables.ChainTypeNAT, nftables.ChainHookPrerouting, -99,
		mk("to the host", family(false), local(), inside(loopback4(), false, true), jump(chainPublish+"4")),
		mk("to the host; not from link-local addresses", family(true), local(), inside(netip.MustParsePrefix("fe80::/10"), true, true), jump(chainPublish+"6")))
	base(chainOutput, nftables.ChainTypeNAT, nftables.ChainHookOutput, -99,
		mk("of the host itself", family(false), local(), jump(chainPublish+"4")),
		mk("of the host itself; ::1 can't leave it", family(true), local(), inside(netip.MustParsePrefix("::1/128"), false, true), jump(chainPublish+"6")))
	base(chainPostrouting, nftables.ChainTypeNAT, nftables.ChainHookPostrouting, 101,
		mk("clients that would be answered by another way", published(), link1(oif), match{vmap(mapInto)}),
		mk("to other links", family(false), match{address(false, true, reg0), vmap(mapLeaving + "4")}),
		mk("to other links", family(true), match{address(true, true, reg0), vmap(mapLeaving + "6")}))
	return out
}
