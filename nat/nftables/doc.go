// Package nftables puts nat.State into the kernel as one table of nftables(8),
// inet fairway, over netlink: no program is started for it.
//
// The rules are always the same, however many networks, endpoints and ports
// there are: those are elements of sets and maps, which nft list table inet
// fairway shows with their comments. How a packet goes:
//
//	raw-prerouting    127.0.0.0/8 never comes from a bridge
//	nat-prerouting    → publish4, publish6   to the host: published ports, looked up in
//	nat-output        → the same               bound (one address), ports (all), ranges
//	mark-prerouting   → reachable          what may be routed to our subnets, or answers the daemon (package unroutable)
//	filter-forward    within                 in and out by one bridge: accept, icc-off
//	                  from                   out of a bridge: outward (not to others' containers), internal
//	                  to                     into a bridge: to-nat, to-routed, to-unprotected, internal
//	nat-postrouting   into                   hairpin and loopback clients of published ports
//	                  leaving                masquerade, source-nat
//
// Single ports are in hash maps. Only a range of leastRange ports or more under
// their own numbers is one element of an interval map, which is searched last.
// A bridge with several networks, or with other traffic beside its network's,
// has chains of its own that name the subnets: within-, from-, to- and
// into-BRIDGE.
//
// To accept is final only in one's own chain: what this table lets pass, another
// can drop. Where the host's iptables have a chain FORWARD, its policy or
// Docker's rules would: package iptables keeps its accepts there for us (see
// iptables.NewAccepts). They drop nothing and name only bridges. All drops are
// in this table, before FORWARD, and hold whatever others accept.
//
// Every change is one transaction. The elements of an endpoint are sent as they
// are; if the kernel refuses, if rules are not as left, or if bridges came and
// went, the table is read and compared, and what differs is written: elements
// by themselves, else the whole table, in one transaction, too. The table stays
// when the daemon stops.
package nftables
