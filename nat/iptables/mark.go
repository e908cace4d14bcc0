package iptables

import (
	"fmt"
	"net/netip"

	"fairway/nat"
)

// setMark is the target that sets the bits of a mark and leaves the others.
func setMark(mark uint32) string { return fmt.Sprintf("-j MARK --set-xmark %#x/%#x", mark, mark) }

// markRules returns the rules that let packets be routed to our subnets (see
// package unroutable): rank 0 says which may, also the endpoints' rules; then
// all others to our subnets end here, and what else comes from a container is
// marked, since the way back to it is looked up with its mark (rp_filter with
// src_valid_mark).
//
// The table mangle comes before the translation: what is new and to the host
// may become a published port's, and a connection is known by the addresses
// that it really has on our side.
func (r renderer) markRules(state nat.State) (rules []rule) {
	closed := map[netip.Prefix]bool{}
	for _, p := range state.Unroutable(r.around) {
		if p.Addr().Is6() == r.v6 {
			closed[p] = true
		}
	}
	if len(closed) == 0 {
		return nil
	}
	add := func(rank int, format string, args ...any) { rules = append(rules, r.rule(rank, format, args...)) }
	mark, icmp := setMark(r.marks.Reach), "icmp"
	if r.v6 {
		icmp = "ipv6-icmp"
	}
	add(0, "-m addrtype --dst-type LOCAL -m conntrack --ctstate NEW %s", mark)
	for _, b := range r.links {
		for _, n := range b.nets {
			subnet := n.Subnet.Masked()
			if !closed[subnet] {
				continue
			}
			add(0, "-m conntrack --ctstate RELATED,ESTABLISHED --ctorigsrc %s %s", subnet, mark)
			add(0, "-m conntrack --ctstate RELATED,ESTABLISHED,DNAT --ctreplsrc %s %s", subnet, mark)
			add(0, "-i %s -d %s %s", b.link, subnet, mark)
			if n.Mode == nat.Routed && !n.Internal {
				add(0, "-d %s -p %s %s", subnet, icmp, mark)
			}
			add(1, "-d %s -j RETURN", subnet)
			add(2, "-i %s -s %s %s", b.link, subnet, mark)
		}
	}
	return rules
}
