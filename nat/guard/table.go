package guard

import (
	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// The names of what the table holds, as nft shows them.
const (
	tableName = "fairway"

	setMACs   = "macs"
	setOwn4   = "addresses4"
	setOwn6   = "addresses6"
	setDenied = "denied"
	mapAlso   = "also"       // source addresses
	mapClaim  = "also-claim" // targets of ARP probes and neighbour discovery

	chainPrerouting = "prerouting"
	chainGuarded    = "guarded"
	chainIP         = "ip"
	chainOwn4       = "own4"
	chainIP6        = "ip6"
	chainICMP6      = "icmp6"
	chainAdvert     = "nd-advert"
	chainSolicit    = "nd-solicit"
	chainOwn6       = "own6"
	chainARP        = "arp"
	chainProbe      = "arp-probe"
	chainLLC        = "llc"
	chainDeny       = "deny"
)

// priority is before all that is there otherwise: NF_BR_PRI_NAT_DST_BRIDGED is
// -300, br_netfilter's NF_BR_PRI_BRNF is 0.
const priority = -400

// Types of ICMP (RFC 792, 1256) and ICMPv6 (RFC 2710, 4861, 3810).
const (
	icmpRedirect   = 5
	icmpRouter     = 9
	mldReport      = 131
	routerSolicit  = 133 // 132 between them is MLD's done
	routerAdvert   = 134
	neighbourAsk   = 135
	neighbourTell  = 136
	redirect6      = 137
	mldReport2     = 143
	ethernetIPv4   = "\x00\x01\x08\x00\x06\x04" // types and lengths of ARP
	bridgeGroup    = "\x01\x80\xc2\x00\x00\x00" // and 15 more (IEEE 802.1D table 7-10)
	dsapSpanning   = 0x42
	dsapSNAP       = 0xaa
	dhcpRequest    = "\x00\x44\x00\x43" // ports 68 to 67
	dhcpClient     = 68
	dhcp6Client    = 546
	typeLLC        = 0x0004 // ETH_P_802_2: no Ethernet type but a length
	unspecified4   = "\x00\x00\x00\x00"
	unspecified6   = unspecified4 + unspecified4 + unspecified4 + unspecified4
	fragmentOffset = "\x1f\xff"
)

// A chain is one of the table with its rules.
type chain struct {
	name  string
	base  bool
	rules []rule
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

// sets returns the sets and maps that there always are.
func sets() []*nftables.Set {
	port, with := nftables.TypeIFName, func(t nftables.SetDatatype) nftables.SetDatatype {
		return nftables.MustConcatSetType(nftables.TypeIFName, t)
	}
	verdict := func(name, comment string) *nftables.Set {
		return &nftables.Set{Name: name, Comment: comment, KeyType: port, KeyByteOrder: binaryutil.NativeEndian, IsMap: true, DataType: nftables.TypeVerdict}
	}
	return []*nftables.Set{
		{Name: setMACs, Comment: "MAC addresses of ports", KeyType: with(nftables.TypeEtherAddr)},
		{Name: setOwn4, Comment: "IPv4 addresses of ports", KeyType: with(nftables.TypeIPAddr)},
		{Name: setOwn6, Comment: "IPv6 addresses of ports", KeyType: with(nftables.TypeIP6Addr)},
		{Name: setDenied, Comment: "what was dropped, by port", KeyType: port, KeyByteOrder: binaryutil.NativeEndian, Counter: true},
		verdict(mapAlso, "prefixes that ports may send from, too"),
		verdict(mapClaim, "the same, for what claims an address"),
	}
}

// chains returns the chains that there always are, each behind those it goes to.
func chains() []chain {
	out := []chain{{name: chainDeny, rules: []rule{
		mk("the port's own count", counted(setDenied)),
		mk("what is not the port's own", drop()),
	}}}
	out = append(out, chains4()...)
	out = append(out, chains6()...)
	return append(out, chainsARP()...)
}

// frames returns the chains that see all frames of guarded ports.
func frames() []chain {
	mask := []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xf0}
	return []chain{
		{name: chainLLC, rules: []rule{
			mk("BPDUs, to whomever", dsap().is(dsapSpanning), goTo(chainDeny)),
			mk("SNAP: any protocol, also BPDUs", dsap().is(dsapSNAP), goTo(chainDeny)),
			mk("", accept()),
		}},
		{name: chainGuarded, rules: []rule{
			mk("VLAN tags", etherType().is(0x81, 0x00), goTo(chainDeny)),
			mk("VLAN tags of providers", etherType().is(0x88, 0xa8), goTo(chainDeny)),
			mk("another's MAC address", etherSrc().of(setMACs, true), goTo(chainDeny)),
			mk("BPDUs and others of the link's own", etherDst().masked(expr.CmpOpEq, mask, []byte(bridgeGroup)), goTo(chainDeny)),
			mk("", protocol(unix.ETH_P_IP), goTo(chainIP)),
			mk("", protocol(unix.ETH_P_IPV6), goTo(chainIP6)),
			mk("", protocol(unix.ETH_P_ARP), goTo(chainARP)),
			mk("RARP", protocol(unix.ETH_P_RARP), goTo(chainDeny)),
			mk("no Ethernet type", protocol(typeLLC), goTo(chainLLC)),
			mk("other protocols", accept()),
		}},
		{name: chainPrerouting, base: true, rules: []rule{
			mk("frames of containers", guarded(), jump(chainGuarded)),
			mk("what wasn't accepted", guarded(), goTo(chainDeny)),
		}},
	}
}

func chains4() []chain {
	fragment := fragment4().masked(expr.CmpOpNeq, []byte(fragmentOffset), []byte{0, 0})
	return []chain{
		{name: chainOwn4, rules: []rule{
			mk("the source is the port's", source4().of(setOwn4, false), accept()),
			mk("or in one of its prefixes", byPort(mapAlso)),
		}},
		{name: chainIP, rules: []rule{
			mk("", l4(unix.IPPROTO_TCP), goTo(chainOwn4)),
			mk("later fragments", fragment, goTo(chainOwn4)),
			mk("to DHCP clients", l4(unix.IPPROTO_UDP), dport().is(0, dhcpClient), goTo(chainDeny)),
			mk("a DHCP client's", l4(unix.IPPROTO_UDP), source4().is([]byte(unspecified4)...), ports().is([]byte(dhcpRequest)...), accept()),
			mk("others whose port is there", l4(unix.IPPROTO_UDP), dport().isnt(0, dhcpClient), goTo(chainOwn4)),
			mk("redirects", l4(unix.IPPROTO_ICMP), icmpType().is(icmpRedirect), goTo(chainDeny)),
			mk("router advertisements", l4(unix.IPPROTO_ICMP), icmpType().is(icmpRouter), goTo(chainDeny)),
			mk("others whose type is there", l4(unix.IPPROTO_ICMP), icmpType().isnt(icmpRouter), goTo(chainOwn4)),
			mk("other protocols", notL4(unix.IPPROTO_UDP), notL4(unix.IPPROTO_ICMP), goTo(chainOwn4)),
		}},
	}
}

func chains6() []chain {
	none, port := source6().is([]byte(unspecified6)...), []byte{dhcp6Client >> 8, dhcp6Client & 0xff}
	return []chain{
		{name: chainOwn6, rules: []rule{
			mk("the source is the port's", source6().of(setOwn6, false), accept()),
			mk("or in one of its prefixes", byPort(mapAlso)),
		}},
		{name: chainAdvert, rules: []rule{
			mk("the target is the port's", ndTarget().of(setOwn6, false), goTo(chainOwn6)),
			mk("or in one of its prefixes", byPort(mapClaim)),
		}},
		{name: chainSolicit, rules: []rule{
			mk("with a source", source6().isnt([]byte(unspecified6)...), goTo(chainOwn6)),
			mk("detection of duplicates: the target is the port's", ndTarget().of(setOwn6, false), accept()),
			mk("or in one of its prefixes", byPort(mapClaim)),
		}},
		{name: chainICMP6, rules: []rule{
			mk("router advertisements", icmpType().is(routerAdvert), goTo(chainDeny)),
			mk("redirects", icmpType().is(redirect6), goTo(chainDeny)),
			mk("neighbour advertisements", icmpType().is(neighbourTell), goTo(chainAdvert)),
			mk("neighbour solicitations", icmpType().is(neighbourAsk), goTo(chainSolicit)),
			mk("of no address yet: router solicitations, multicast reports", none, icmpType().between(mldReport, routerSolicit), accept()),
			mk("multicast reports, version 2", none, icmpType().is(mldReport2), accept()),
			mk("others whose type is there", icmpType().isnt(routerAdvert), goTo(chainOwn6)),
		}},
		{name: chainIP6, rules: []rule{
			mk("", l4(unix.IPPROTO_TCP), goTo(chainOwn6)),
			mk("later fragments", laterFragment6(), goTo(chainOwn6)),
			mk("", l4(unix.IPPROTO_ICMPV6), goTo(chainICMP6)),
			mk("to DHCPv6 clients", l4(unix.IPPROTO_UDP), dport().is(port...), goTo(chainDeny)),
			mk("others whose port is there", l4(unix.IPPROTO_UDP), dport().isnt(port...), goTo(chainOwn6)),
			mk("other protocols", notL4(unix.IPPROTO_UDP), goTo(chainOwn6)),
		}},
	}
}

func chainsARP() []chain {
	return append([]chain{
		{name: chainProbe, rules: []rule{
			mk("detection of duplicates: the target is the port's", arpTarget().of(setOwn4, false), accept()),
			mk("or in one of its prefixes", byPort(mapClaim)),
		}},
		{name: chainARP, rules: []rule{
			mk("not of Ethernet and IPv4", arpKind().isnt([]byte(ethernetIPv4)...), goTo(chainDeny)),
			mk("another's MAC address", arpMAC().of(setMACs, true), goTo(chainDeny)),
			mk("the sender is the port's", arpIP().of(setOwn4, false), accept()),
			mk("probes", arpIP().is([]byte(unspecified4)...), arpOp().is(0, 1), goTo(chainProbe)),
			mk("or in one of its prefixes", byPort(mapAlso)),
		}},
	}, frames()...)
}
