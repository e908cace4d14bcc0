// Package unroutable makes fairway's subnets unroutable for packets that don't
// carry its mark, so that what isn't published stays out of reach where nobody
// filters: after nft flush ruleset, say. And it brings to the daemon's transparent
// sockets (package proxy) what carries another mark. In each family it keeps four
// rules and two tables of routes (see ip-rule(8), ip-route(8)), by default:
//
//	4000: from all iif lo goto 4002            what the host itself sends
//	4001: from all fwmark 0/0x10000000 lookup 4000
//	4001: from all fwmark 0x20000000/0x20000000 lookup 4001
//	4002: from all nop
//
//	table 4000: unreachable SUBNET             one for each
//	table 4001: local default dev lo
//
// Both are between what skips them: the host's own packets, and the look-ups of
// rp_filter for what comes to the host. The firewall sets the marks before routing,
// on packets that may pass: package nftables in its chain mark-prerouting, package iptables in FAIRWAY-MARK. No
// rules, no mark; no mark, no route. Rules and routes are known as ours by
// their protocol number, and others' are left alone.
package unroutable
