// Package trace works out the way of a packet through this host, and which rule
// or route ends it.
//
// No packet is sent: the kernel is asked for its routes (as ip route get does),
// and its rules, those of nftables in the kernel's own form and those of
// iptables as iptables-save prints them, are carried out here on a packet that
// is just described. What a rule asks that can't be known, such as a limit or
// an ipset, is said to be unsure. [Watch] shows the way of a real packet.
package trace
