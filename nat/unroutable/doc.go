// Package unroutable makes fairway's subnets unroutable for packets that don't
// carry its mark, so that what isn't published stays out of reach where nobody
// filters: after nft flush ruleset, say. In each family it keeps three rules
// and a table of routes (see ip-rule(8), ip-route(8)), by default:
//
//	4000: from all iif lo goto 4002            what the host itself sends
//	4001: from all fwmark 0/0x10000000 lookup 4000
//	4002: from all nop
//
//	table 4000: unreachable SUBNET             one for each
//
// The firewall sets the mark before routing, on packets that may pass: package
// nftables in its chain mark-prerouting, package iptables in FAIRWAY-MARK. No
// rules, no mark; no mark, no route. Rules and routes are known as ours by
// their protocol number, and others' are left alone.
package unroutable
