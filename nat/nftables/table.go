package nftables

import (
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
	setInternal   = "internal-bridges"
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
	setCarried    = "carried"

	chainRaw         = "raw-prerouting"
	chainPrerouting  = "nat-prerouting"
	chainOutput      = "nat-output"
	chainPostrouting = "nat-postrouting"
	chainForward     = "filter-forward"
	chainLoopback    = "to-loopback"
	chainBetween     = "between-links"
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
	chainTracked     = "tracked"
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
	add(setInternal, "those with internal networks", link, none, false)
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
		add(setCarried+s, "containers that answer the daemon's transparent sockets (publish=host-firewall)", addr, none, false)
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

// hookName returns what nft calls a base chain's place, "" for other chains.
func (c chain) hookName() string {
	if c.hook == nil {
		return ""
	}
	return string(c.kind) + " " + strconv.Itoa(int(*c.hook)) + " " + strconv.Itoa(int(c.priority))
}
