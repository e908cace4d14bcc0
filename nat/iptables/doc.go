// Package iptables puts nat.State into the kernel with the iptables and
// ip6tables programs of the host, whichever flavour they are (nf_tables or
// legacy): Docker Engine uses the same.
//
// How a packet goes (L is a network's bridge; each chain is there once, or once
// per bridge where its name ends in one):
//
//	raw    PREROUTING   → FAIRWAY-RAW      127.0.0.0/8 never comes from a bridge
//	mangle PREROUTING   → FAIRWAY-MARK     what may be routed to our subnets, or answers the daemon (package unroutable)
//	nat    PREROUTING   → FAIRWAY-DNAT     published ports, for packets to the host
//	nat    OUTPUT       → FAIRWAY-DNAT     the same for the host's own packets
//	nat    POSTROUTING  → FAIRWAY-SNAT     hairpin and loopback clients, masquerade
//	filter FORWARD      → FAIRWAY-FORWARD  drops, else returns
//	                        → FAIRWAY-IN-L     into the bridge from another link
//	                            → FAIRWAY-PUB-L    published targets of a routed family
//	                        → FAIRWAY-OUT      out of a bridge to one of Docker's
//	filter DOCKER-USER  → FAIRWAY-ACCEPT   FAIRWAY-FORWARD, then accepts what is left
//	                        → FAIRWAY-FROM     in from a link that is no bridge of others' containers
//	                        → FAIRWAY-TO       out to such a link
//	filter FORWARD      → FAIRWAY-ACCEPT   the same at the end
//
// Docker moves its jump to DOCKER-USER to the head of FORWARD whenever it
// likes, and what it accepts after that never gets to a rule of ours behind:
// so FAIRWAY-ACCEPT drops by itself before it accepts. It accepts only between
// a network's bridge and itself, another of fairway's, or a link that is no
// bridge of containers: an accept there is final, and a broader one would open
// the unpublished ports of docker0 (measured). An administrator's rule in
// DOCKER-USER comes before ours; if it returns early, the jump at the end of
// FORWARD still accepts where the policy would drop.
//
// Beside nat/nftables, NewAccepts keeps just FAIRWAY-ACCEPT, -FROM and -TO: an
// accept is final only in its own table, so that FORWARD's policy would drop
// what nftables lets pass.
//
// Rules stay when the daemon stops.
package iptables
