// Package guard lets an endpoint send only what is its own: one table of
// nftables(8) in the bridge family, whatever the firewall is otherwise made
// with, since iptables sees bridged frames only where br_netfilter is on.
//
// The rules are always the same; ports and addresses are elements of hash sets
// (nft list table bridge fairway). How a frame goes that comes in by a port
// named nat.GuardedPort, before the bridge or anybody else looks at it:
//
//	prerouting   by a guarded port → guarded; what isn't accepted there → deny
//	guarded      a VLAN tag, another MAC address, to 01:80:c2:00:00:0X (BPDUs)   deny
//	             → ip, ip6, arp, llc; other protocols                            accept
//	ip           DHCP server's messages, redirects, router advertisements        deny
//	             a DHCP client's from 0.0.0.0                                    accept
//	             → own4      its address, or one allowed to it                   accept
//	ip6          DHCPv6 server's messages                                        deny
//	             → icmp6     redirects, router advertisements                    deny
//	                         → nd-advert, nd-solicit: the target, too
//	             → own6      as own4
//	arp          Ethernet and IPv4, the sender's both addresses                  accept
//	             → arp-probe from 0.0.0.0 for an own address                     accept
//
// Whatever falls off the end of a chain is denied. Deny counts it in total and
// by its port. Prefixes that endpoints with the same list may send from are in
// interval sets of the list's own, behind the maps also and also-claim.
//
// A tagged frame is denied whatever is in it: a tag of VLAN 0 is taken off by
// the receiver, a nested one hides the protocol. A header that isn't whole in
// the first fragment is denied, too (RFC 7112): later fragments have just their
// source looked at.
package guard
