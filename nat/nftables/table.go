package nftables

import (
	"net/netip"
	"slices"
	"strconv"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"fairway/nat"
)

// The names of what the table holds, as nft shows them.
const (
	tableName = "fairway"

	setBridges    = "bridges"
	setHome       = "home"
	setTrusted    = "trusted"
	setContainers = "containers"
	setAlike      = "alike"
	setLoopback   = "loopback4"
	mapWithin     = "within"
	mapFrom       = "from"
	mapTo         = "to"
	mapInto       = "into"
	mapLeaving    = "leaving" // these end in their family: 4 or 6
	mapSNAT       = "snat"
	mapPorts      = "ports"
	mapBound      = "bound"
	mapRanges     = "ranges" // and these in _tcp and so on
	setDirect     = "direct"
	setClosed     = "unroutable"
	setPinged     = "pinged"

	chainRaw         = "raw-prerouting"
	chainPrerouting  = "nat-prerouting"
	chainOutput      = "nat-output"
	chainPostrouting = "nat-postrouting"
	chainForward     = "filter-forward"
	chainPublish     = "publish"
	chainReturning   = "published-into"
	chainMasquerade  = "masquerade"
	chainSNAT        = "source-nat"
	chainInternal    = "internal"
	chainNoICC       = "icc-off"
	chainOutward     = "outward"
	chainToNAT       = "to-nat"
	chainToRouted    = "to-routed"
	chainToOpen      = "to-unprotected"
	chainTrusted     = "to-trusted"
	chainDirect      = "to-published"
	chainMark        = "mark-prerouting"
	chainReachable   = "reachable"
	chainClients     = "clients" // and for each list of clients one that ends in its key

	mapEndpointClients = "endpoint-clients"
	mapNetworkClients  = "network-clients"
)

// A chain is one of the table with all that it holds.
type chain struct {
	name     string
	kind     nftables.ChainType // of a base chain
	hook     *nftables.ChainHook
	priority int32
	rules    []rule
	sets     []*nftables.Set // that only this chain looks into
}

// A rule says what it is for.
type rule struct {
	comment string
	exprs   []expr.Any
}

func mk(comment string, parts ...match) rule {
	r := rule{comment: comment}
	for _, p := range parts {
		r.exprs = append(r.exprs, p...)
	}
	return r
}

func suffix(v6 bool) string {
	if v6 {
		return "6"
	}
	return "4"
}

var protocols = []byte{unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_SCTP} //nolint:gochecknoglobals // a constant

// newSet describes a set, or a map if data has a type.
func newSet(name, comment string, key, data nftables.SetDatatype, interval bool) *nftables.Set {
	s := &nftables.Set{
		Name: name, Comment: comment, KeyType: key, DataType: data, Interval: interval,
		IsMap: data.Name != "",
	}
	if key.Name == nftables.TypeIFName.Name {
		s.KeyByteOrder = binaryutil.NativeEndian // else nft shows no name
	}
	return s
}

// sets returns the sets and maps, which are always the same.
func sets() (out []*nftables.Set) {
	concat := nftables.MustConcatSetType
	link, links := concat(nftables.TypeNFProto, nftables.TypeIFName), concat(nftables.TypeNFProto, nftables.TypeIFName, nftables.TypeIFName)
	add := func(name, comment string, key, data nftables.SetDatatype, interval bool) {
		out = append(out, newSet(name, comment, key, data, interval))
	}
	none, verdict := nftables.SetDatatype{}, nftables.TypeVerdict
	add(setBridges, "the networks' bridges", link, none, false)
	add(setHome, "in and out by the same bridge", links, none, false)
	add(setTrusted, "links from which published ports may be reached by routing", links, none, false)
	add(setContainers, "bridges of others' containers", nftables.TypeIFName, none, false)
	add(setAlike, "named like Docker's bridges, but not theirs", link, none, false)
	add(mapWithin, "between containers of a bridge", links, verdict, false)
	add(mapFrom, "out of a bridge", link, verdict, false)
	add(mapTo, "into a bridge from another link", link, verdict, false)
	add(mapInto, "to a published port", link, verdict, false)
	for _, v6 := range []bool{false, true} {
		addr, s := nftables.TypeIPAddr, suffix(v6)
		if v6 {
			addr = nftables.TypeIP6Addr
		}
		port, bound := concat(nftables.TypeInetProto, nftables.TypeInetService), concat(addr, nftables.TypeInetProto, nftables.TypeInetService)
		add(mapLeaving+s, "what takes another source address when it leaves", addr, verdict, true)
		add(mapSNAT+s, "that address", addr, addr, true)
		add(mapBound+s, "ports published on one address", bound, concat(addr, nftables.TypeInetService), false)
		add(mapPorts+s, "ports published on all addresses", port, concat(addr, nftables.TypeInetService), false)
		for _, p := range protocols {
			add(rangesOf(v6, p), "ranges published on all addresses under their own numbers", nftables.TypeInetService, addr, true)
		}
		add(setDirect+s, "what may be reached by routing", bound, none, false)
		add(setClosed+s, "subnets that only marked packets are routed to", addr, none, true)
		add(setPinged+s, "those of them that take ICMP of others", addr, none, true)
		add(mapEndpointClients+s, "who may reach a container's published ports", addr, verdict, false)
		add(mapNetworkClients+s, "who may reach a network's published ports", addr, verdict, true)
		if !v6 {
			add(setLoopback, "ports published on loopback addresses", bound, none, false)
		}
	}
	return out
}

func rangesOf(v6 bool, p byte) string { return mapRanges + suffix(v6) + "_" + nat.ProtoName(p) }

// chains returns the chains that don't depend on any network, in an order in
// which each comes before those that go to it. Mark is what lets packets be
// routed to unroutable subnets.
func chains(mark uint32) []chain {
	loopback, linkLocal := netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("fe80::/10")
	iif, oif := expr.MetaKeyIIFNAME, expr.MetaKeyOIFNAME
	tracked, dnat := bits(expr.CtKeySTATE, stateEstablished|stateRelated), bits(expr.CtKeySTATUS, statusDNAT)
	replies, published := "replies", "published ports"
	clients := goTo(chainClients)
	trusted := mk("trusted links", link2(), match{in(setTrusted)}, goTo(chainDirect))
	out := []chain{
		{name: chainInternal, rules: []rule{mk("internal networks have no other link", drop())}},
		{name: chainNoICC, rules: []rule{
			mk(replies, tracked, accept()), mk(published, dnat, accept()),
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
		{name: chainTrusted, rules: []rule{mk(replies, tracked, accept()), mk(published, dnat, clients), mk("", goTo(chainDirect))}},
		{name: chainToNAT, rules: []rule{
			mk(replies, tracked, accept()), mk(published, dnat, clients), trusted, mk("not published", drop()),
		}},
		{name: chainToRouted, rules: []rule{
			mk(replies, tracked, accept()), mk(published, dnat, clients), trusted,
			mk("", family(false), l4(unix.IPPROTO_ICMP), accept()), mk("", family(true), l4(unix.IPPROTO_ICMPV6), accept()),
			mk("", goTo(chainDirect)),
		}},
		{name: chainToOpen, rules: []rule{
			mk(replies, tracked, accept()), mk(published, dnat, clients), trusted, mk("every port", accept()),
		}},
		{name: chainOutward, rules: []rule{
			mk(replies, tracked, leave()), mk(published, dnat, leave()),
			mk("", link1(oif), match{in(setAlike)}, leave()),
			mk("to others' containers", match{load(oif, reg0), in(setContainers)}, drop()),
			mk("to Docker's containers", match{load(oif, reg0), equal([]byte("br-")...)}, drop()),
		}},
		{name: chainReturning, rules: []rule{
			mk("the host by 127.0.0.1", family(false), inside(loopback, true, false), masquerade()),
			mk("the same network", link2(), match{in(setHome)}, masquerade()),
			mk("the same, bridged (br_netfilter)", linkIs(iif, ""), match{
				&expr.Fib{Register: reg0, FlagSADDR: true, ResultADDRTYPE: true}, differ(local()[1].(*expr.Cmp).Data...),
			}, masquerade()),
		}},
	}
	marked := slices.Concat(setMark(mark), accept())
	out = append(out, chain{name: chainReachable, rules: []rule{
		mk(replies, tracked, marked), mk(published, dnat, marked),
		mk("back into the bridge that it comes from", link1(iif), homeward(), match{in(setHome)}, marked),
		mk("", family(false), target(false), match{in(setDirect + "4")}, marked),
		mk("", family(true), target(true), match{in(setDirect + "6")}, marked),
		mk("", family(false), l4(unix.IPPROTO_ICMP), match{address(false, false, reg0), in(setPinged + "4")}, marked),
		mk("", family(true), l4(unix.IPPROTO_ICMPV6), match{address(true, false, reg0), in(setPinged + "6")}, marked),
	}})
	stays := []rule{
		mk("doesn't leave", link2(), match{in(setHome)}, leave()),
		mk("the host's own, or bridged", linkIs(iif, ""), link1(oif), match{in(setBridges)}, leave()),
	}
	out = append(out,
		chain{name: chainMasquerade, rules: append(stays[:2:2], mk("", masquerade()))},
		chain{name: chainSNAT, rules: append(stays[:2:2],
			mk("", family(false), match{address(false, true, reg0), lookUp(mapSNAT + "4")}, translate(expr.NATTypeSourceNAT, false, false)),
			mk("", family(true), match{address(true, true, reg0), lookUp(mapSNAT + "6")}, translate(expr.NATTypeSourceNAT, true, false)),
		)},
	)
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
	base := func(name string, kind nftables.ChainType, hook *nftables.ChainHook, priority int32, rules ...rule) {
		out = append(out, chain{name: name, kind: kind, hook: hook, priority: priority, rules: rules})
	}
	base(chainRaw, nftables.ChainTypeFilter, nftables.ChainHookPrerouting, -300,
		mk("127.0.0.0/8 never comes from a container", link1(iif), match{in(setBridges)}, family(false), inside(loopback, false, false), drop()),
		mk("127.0.0.0/8 never comes from a container", link1(iif), match{in(setBridges)}, family(false), inside(loopback, true, false), drop()),
		mk("published on loopback only", match{load(iif, reg0), differ(linkKey("lo")...)}, family(false), target(false), match{in(setLoopback)}, drop()))
	base(chainPrerouting, nftables.ChainTypeNAT, nftables.ChainHookPrerouting, -99,
		mk("to the host", family(false), local(), inside(loopback, false, true), jump(chainPublish+"4")),
		mk("to the host; not from link-local addresses", family(true), local(), inside(linkLocal, true, true), jump(chainPublish+"6")))
	base(chainOutput, nftables.ChainTypeNAT, nftables.ChainHookOutput, -99,
		mk("of the host itself", family(false), local(), jump(chainPublish+"4")),
		mk("of the host itself; ::1 can't leave it", family(true), local(), inside(netip.MustParsePrefix("::1/128"), false, true), jump(chainPublish+"6")))
	base(chainMark, nftables.ChainTypeFilter, nftables.ChainHookPrerouting, -98, // behind the translation
		mk("", family(false), match{address(false, false, reg0), in(setClosed + "4")}, goTo(chainReachable)),
		mk("", family(true), match{address(true, false, reg0), in(setClosed + "6")}, goTo(chainReachable)),
		mk("from a container: the way back to it is looked up (rp_filter)", family(false),
			match{address(false, true, reg0), in(setClosed + "4")}, link1(iif), match{in(setBridges)}, marked))
	base(chainForward, nftables.ChainTypeFilter, nftables.ChainHookForward, -10,
		mk("within a bridge", link2(), match{vmap(mapWithin)}),
		mk("out of a bridge", link1(iif), match{vmap(mapFrom)}),
		mk("into a bridge", link1(oif), match{vmap(mapTo)}))
	base(chainPostrouting, nftables.ChainTypeNAT, nftables.ChainHookPostrouting, 101,
		mk("clients that would be answered by another way", dnat, link1(oif), match{vmap(mapInto)}),
		mk("to other links", family(false), match{address(false, true, reg0), vmap(mapLeaving + "4")}),
		mk("to other links", family(true), match{address(true, true, reg0), vmap(mapLeaving + "6")}))
	return out
}

// hookName returns what nft calls a base chain's place, "" for other chains.
func (c chain) hookName() string {
	if c.hook == nil {
		return ""
	}
	return string(c.kind) + " " + strconv.Itoa(int(*c.hook)) + " " + strconv.Itoa(int(c.priority))
}
