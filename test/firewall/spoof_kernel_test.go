//go:build kernel

package firewall

import (
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"fairway/nat"
)

// An attempt is a frame that the attacker sends to the victim.
type attempt struct {
	name    string
	frame   []byte
	allowed bool
}

func attempts() []attempt {
	const icmp6 = unix.IPPROTO_ICMPV6
	v4 := func(payload []byte) []byte { return ether(victimMAC(), attackerMAC(), 0x0800, payload) }
	v6 := func(payload []byte) []byte { return ether(victimMAC(), attackerMAC(), 0x86dd, payload) }
	arps := func(a []byte) []byte { return ether(victimMAC(), attackerMAC(), 0x0806, a) }
	message := func(src string, m []byte) []byte { return v6(ip6(src, victimIP6, icmp6, m)) }
	advert := func(src, target string) []byte {
		return nd(src, victimIP6, 136, target, attackerMAC())
	}
	odd := arp(2, attackerMAC(), attackerIP, victimIP)
	odd[4], odd[5] = 4, 6
	echo := append([]byte{8, 0, 0, 0, 0, 1, 0, 1}, "12345678"...)
	dad := func(target string) []byte { return message("::", nd("::", victimIP6, 135, target, nil)) }
	ra := message(attackerLL, icmp6Body(attackerLL, 134))
	own := v4(ip4(attackerIP, victimIP, unix.IPPROTO_UDP, 0, udp(1000, 1000)))
	return []attempt{
		{"own address", own, true},
		{"own address, IPv6", v6(ip6(attackerIP6, victimIP6, unix.IPPROTO_UDP, udp(1000, 1000))), true},
		{"own link-local address", v6(ip6(attackerLL, victimIP6, unix.IPPROTO_UDP, udp(1000, 1000))), true},
		{"another protocol", ether(victimMAC(), attackerMAC(), 0x88b6, []byte("own MAC")), true},
		{"LLC", ether(victimMAC(), attackerMAC(), 46, []byte{0xfe, 0xfe, 3}), true},
		{"another's MAC address", ether(victimMAC(), strangerMAC(), 0x88b6, nil), false},
		{"the victim's MAC address", ether(broadcast(), victimMAC(), 0x88b6, nil), false},
		{"the host's MAC address", ether(victimMAC(), hostMAC(), 0x0800, ip4(attackerIP, victimIP, 17, 0, udp(1, 1))), false},
		{"host's address", v4(ip4(hostIP, victimIP, unix.IPPROTO_UDP, 0, udp(1000, 1000))), false},
		{"outside address", v4(ip4("8.8.8.8", victimIP, unix.IPPROTO_TCP, 0, udp(1000, 1000))), false},
		{"later fragment", v4(ip4(strangerIP, victimIP, unix.IPPROTO_UDP, 3, udp(1, 1))), false},
		{"own later fragment", v4(ip4(attackerIP, victimIP, unix.IPPROTO_UDP, 3, udp(1, 1))), true},
		{"cut header", v4([]byte{0x45, 0, 0, 20, 0, 0, 0, 0, 64}), false},
		{"other IP protocol", v4(ip4(attackerIP, victimIP, 47, 0, udp(1, 1))), true},
		{"ping", v4(ip4(attackerIP, victimIP, unix.IPPROTO_ICMP, 0, echo)), true},
		{"redirect", v4(ip4(attackerIP, victimIP, unix.IPPROTO_ICMP, 0, append([]byte{5, 1, 0, 0}, echo...))), false},
		{"router advertisement of ICMP", v4(ip4(attackerIP, victimIP, unix.IPPROTO_ICMP, 0, append([]byte{9, 0, 0, 0}, echo...))), false},
		{"host's address, IPv6", v6(ip6(hostIP6, victimIP6, unix.IPPROTO_UDP, udp(1000, 1000))), false},
		{"another link-local address", v6(ip6("fe80::77", victimIP6, unix.IPPROTO_TCP, udp(1000, 1000))), false},
		{"no address", v6(ip6("::", victimIP6, unix.IPPROTO_UDP, udp(1000, 1000))), false},
		{"later fragment, IPv6", v6(ip6(strangerIP6, victimIP6, unix.IPPROTO_FRAGMENT, fragmented(unix.IPPROTO_UDP, 3, false, udp(1, 1)))), false},
		{"own later fragment, IPv6", v6(ip6(attackerIP6, victimIP6, unix.IPPROTO_FRAGMENT, fragmented(unix.IPPROTO_UDP, 3, false, udp(1, 1)))), true},
		{"first fragment without its header", v6(ip6(attackerIP6, victimIP6, unix.IPPROTO_FRAGMENT, fragmented(60, 0, true, []byte{icmp6, 9}))), false},
		{"first fragment without the type", v6(ip6(attackerIP6, victimIP6, unix.IPPROTO_FRAGMENT, fragmented(icmp6, 0, true, nil))), false},
		{"ping, IPv6", message(attackerIP6, icmp6Body(attackerIP6, 128)), true},
		{"router solicitation", message(attackerLL, icmp6Body(attackerLL, 133)), true},
		{"router solicitation of no address", message("::", icmp6Body("::", 133)), true},
		{"multicast report of no address", message("::", icmp6Body("::", 143)), true},
		{"ping of no address", message("::", icmp6Body("::", 128)), false},
		{"router advertisement", ra, false},
		{"router advertisement behind options", v6(ip6(attackerLL, victimIP6, 60, extended(icmp6, ra[54:]))), false},
		{"router advertisement in a fragment", v6(ip6(attackerLL, victimIP6, unix.IPPROTO_FRAGMENT, fragmented(icmp6, 0, false, ra[54:]))), false},
		{"redirect, IPv6", message(attackerLL, icmp6Body(attackerLL, 137)), false},
		{"advertisement of own", message(attackerIP6, advert(attackerIP6, attackerIP6)), true},
		{"advertisement of the link-local address", message(attackerIP6, advert(attackerIP6, attackerLL)), true},
		{"advertisement of the host", message(attackerIP6, advert(attackerIP6, hostIP6)), false},
		{"advertisement of the host as the host", message(hostIP6, advert(hostIP6, hostIP6)), false},
		{"advertisement of own as the host", message(hostIP6, advert(hostIP6, attackerIP6)), false},
		{"advertisement of the host behind options", v6(ip6(attackerIP6, victimIP6, 60, extended(icmp6, advert(attackerIP6, hostIP6)))), false},
		{"advertisement of the host in a fragment", v6(ip6(attackerIP6, victimIP6, unix.IPPROTO_FRAGMENT, fragmented(icmp6, 0, false, advert(attackerIP6, hostIP6)))), false},
		{"solicitation", message(attackerIP6, nd(attackerIP6, victimIP6, 135, victimIP6, attackerMAC())), true},
		{"solicitation as the host", message(hostIP6, nd(hostIP6, victimIP6, 135, victimIP6, attackerMAC())), false},
		{"detection of duplicates", dad(attackerIP6), true},
		{"detection of duplicates, link-local", dad(attackerLL), true},
		{"detection of the victim's as a duplicate", dad(victimIP6), false},
		{"ARP request", arps(arp(1, attackerMAC(), attackerIP, victimIP)), true},
		{"ARP reply", arps(arp(2, attackerMAC(), attackerIP, victimIP)), true},
		{"gratuitous ARP", ether(broadcast(), attackerMAC(), 0x0806, arp(1, attackerMAC(), attackerIP, attackerIP)), true},
		{"ARP probe of own", ether(broadcast(), attackerMAC(), 0x0806, arp(1, attackerMAC(), "0.0.0.0", attackerIP)), true},
		{"ARP probe of the victim's", arps(arp(1, attackerMAC(), "0.0.0.0", victimIP)), false},
		{"ARP reply of nobody", arps(arp(2, attackerMAC(), "0.0.0.0", attackerIP)), false},
		{"ARP request as the host", arps(arp(1, attackerMAC(), hostIP, victimIP)), false},
		{"ARP reply as the host", arps(arp(2, attackerMAC(), hostIP, victimIP)), false},
		{"gratuitous ARP as the host", ether(broadcast(), attackerMAC(), 0x0806, arp(2, attackerMAC(), hostIP, hostIP)), false},
		{"ARP with another's MAC address in it", arps(arp(2, strangerMAC(), attackerIP, victimIP)), false},
		{"ARP of odd lengths", arps(odd), false},
		{"cut ARP", ether(victimMAC(), attackerMAC(), 0x0806, []byte{0, 1, 8, 0}), false},
		{"RARP", ether(victimMAC(), attackerMAC(), 0x8035, arp(3, attackerMAC(), attackerIP, victimIP)), false},
		{"DHCP request", ether(broadcast(), attackerMAC(), 0x0800, ip4("0.0.0.0", "255.255.255.255", 17, 0, udp(68, 67))), true},
		{"DHCP offer", ether(broadcast(), attackerMAC(), 0x0800, ip4(attackerIP, "255.255.255.255", 17, 0, udp(67, 68))), false},
		{"DHCP offer of no address", ether(broadcast(), attackerMAC(), 0x0800, ip4("0.0.0.0", "255.255.255.255", 17, 0, udp(67, 68))), false},
		{"DHCP offer in a first fragment", v4(ip4(attackerIP, victimIP, 17, 0x2000, udp(67, 68))), false},
		{"other datagrams of no address", v4(ip4("0.0.0.0", victimIP, 17, 0, udp(53, 53))), false},
		{"DHCPv6 request", v6(ip6(attackerLL, victimIP6, 17, udp(546, 547))), true},
		{"DHCPv6 reply", v6(ip6(attackerLL, victimIP6, 17, udp(547, 546))), false},
		{"BPDU", ether(mac("01:80:c2:00:00:00"), attackerMAC(), 38, []byte{0x42, 0x42, 3}), false},
		{"BPDU to one", ether(victimMAC(), attackerMAC(), 38, []byte{0x42, 0x42, 3}), false},
		{"BPDU of PVST+", ether(mac("01:00:0c:cc:cc:cd"), attackerMAC(), 50, []byte{0xaa, 0xaa, 3, 0, 0, 0x0c, 1, 0x0b}), false},
		{"IPv4 by SNAP", ether(victimMAC(), attackerMAC(), 36, append([]byte{0xaa, 0xaa, 3, 0, 0, 0, 8, 0}, ip4(hostIP, victimIP, 17, 0, udp(1, 1))...)), false},
		{"VLAN tag", tagged(own, 0x8100, 5), false},
		{"priority tag", tagged(arps(arp(2, attackerMAC(), hostIP, victimIP)), 0x8100, 0), false},
		{"provider's tag", tagged(own, 0x88a8, 5), false},
		{"two tags", tagged(tagged(arps(arp(2, attackerMAC(), hostIP, victimIP)), 0x8100, 5), 0x8100, 0), false},
		{"two priority tags", tagged(tagged(arps(arp(2, attackerMAC(), hostIP, victimIP)), 0x8100, 0), 0x8100, 0), false},
	}
}

// icmp6Body returns a message to the victim with an empty body of 40 bytes.
func icmp6Body(src string, kind byte) []byte { return icmp6(src, victimIP6, kind, make([]byte, 40)...) }

// TestSpoofing: without the guard every frame reaches the victim; with it just
// those that are allowed, and all others are counted.
func TestSpoofing(t *testing.T) {
	s := newSegment(t)
	for _, a := range attempts() {
		if !s.passes(t, a.frame) {
			t.Errorf("without a guard: %s: didn't arrive", a.name)
		}
	}
	s.apply(t, s.guarded()...)
	s.host.run(t, "bridge", "fdb", "flush", "dev", "fwv3", "master", "nopermanent")
	var denied uint64
	for _, a := range attempts() {
		if got := s.passes(t, a.frame); got != a.allowed {
			t.Errorf("%s: arrived %t, want %t", a.name, got, a.allowed)
		}
		if !a.allowed {
			denied++
		}
		if got := s.denied(t)["fwv3"]; got != denied {
			t.Errorf("%s: %d frames denied so far, want %d", a.name, got, denied)
			denied = got
		}
	}
	for line := range strings.Lines(s.host.run(t, "bridge", "fdb", "show", "dev", "fwv3")) {
		if m := strings.Fields(line)[0]; m != attackerMAC().String() && !strings.Contains(line, "permanent") {
			t.Errorf("the bridge learned %s from the attacker", m)
		}
	}
}

// TestPoison: what rewrites the neighbour entries of the host and of a sibling
// without the guard doesn't with it.
func TestPoison(t *testing.T) {
	s := newSegment(t)
	for n, link := range map[*namespace]string{s.host: "fwb0", s.victim: "eth0"} {
		n.sysctl(t, "net/ipv4/neigh/"+link+"/locktime", "0")
	}
	type poison struct {
		name  string
		at    *namespace
		entry string // address that the attacker claims
		frame []byte
	}
	var all []poison
	for _, at := range []struct {
		n                      *namespace
		mac                    net.HardwareAddr
		ip, ip6, entry, entry6 string
	}{
		{s.host, hostMAC(), hostIP, hostIP6, victimIP, victimIP6},
		{s.victim, victimMAC(), victimIP, victimIP6, hostIP, hostIP6},
	} {
		add := func(name, entry string, kind uint16, payload []byte) {
			all = append(all, poison{at.n.name + ": " + name, at.n, entry, ether(at.mac, attackerMAC(), kind, payload)})
		}
		forged := nd(attackerIP6, at.ip6, 136, at.entry6, attackerMAC())
		add("ARP request", at.entry, 0x0806, arp(1, attackerMAC(), at.entry, at.ip))
		add("ARP reply", at.entry, 0x0806, arp(2, attackerMAC(), at.entry, at.ip))
		add("gratuitous ARP", at.entry, 0x0806, arp(1, attackerMAC(), at.entry, at.entry))
		add("advertisement", at.entry6, 0x86dd, ip6(at.entry6, at.ip6, 58, nd(at.entry6, at.ip6, 136, at.entry6, attackerMAC())))
		add("advertisement from the own address", at.entry6, 0x86dd, ip6(attackerIP6, at.ip6, 58, forged))
		add("advertisement behind options", at.entry6, 0x86dd, ip6(attackerIP6, at.ip6, 60, extended(58, forged)))
		add("solicitation", at.entry6, 0x86dd, ip6(at.entry6, at.ip6, 58, nd(at.entry6, at.ip6, 135, at.ip6, attackerMAC())))
		for _, p := range all[len(all)-7:] {
			if strings.HasSuffix(p.name, ": ARP reply") {
				p.name, p.frame = p.name+" with a priority tag", tagged(p.frame, 0x8100, 0)
				all = append(all, p)
			}
		}
	}
	for _, on := range []bool{false, true} {
		if on {
			s.apply(t, s.guarded()...)
		}
		for _, p := range all {
			link, real := "fwb0", victimMAC()
			if p.at == s.victim {
				link, real = "eth0", hostMAC()
			}
			p.at.run(t, "ip", "neigh", "replace", p.entry, "lladdr", real.String(), "dev", link, "nud", "stale")
			time.Sleep(10 * time.Millisecond) // a jiffy or more: the kernel protects an entry as young as that
			s.passes(t, p.frame)
			changed := strings.Contains(p.at.run(t, "ip", "neigh", "show", p.entry, "dev", link), attackerMAC().String())
			if changed == on {
				t.Errorf("%s: with a guard %t: entry changed %t", p.name, on, changed)
			}
		}
	}
}

// TestGuardedTraffic: guarded containers reach each other and the host, find no
// duplicates, and a virtual address moves between them.
func TestGuardedTraffic(t *testing.T) {
	s := newSegment(t)
	ports := s.guarded(addr(virtualIP), addr(virtualIP6))
	s.apply(t, ports...)
	for _, n := range []*namespace{s.host, s.victim, s.attacker} {
		for _, network := range []string{"tcp", "udp"} {
			n.serve(t, network, ":80")
		}
	}
	reach := func(from *namespace, to string, networks ...string) {
		t.Helper()
		for _, network := range networks {
			answer := ""
			for i := 0; answer == "" && i < 10; i++ { // ask waits shortly: the machine may be busy
				answer = from.ask(network, net.JoinHostPort(to, "80"))
			}
			if answer == "" {
				t.Errorf("%s doesn't reach %s by %s", from.name, to, network)
			}
		}
	}
	for _, to := range []string{hostIP, hostIP6, victimIP, victimIP6} {
		reach(s.attacker, to, "tcp", "udp")
	}
	reach(s.host, attackerIP, "tcp", "udp")
	reach(s.host, attackerIP6, "tcp", "udp")
	holder, socket := s.victim, s.in
	for range 3 {
		m := victimMAC()
		if holder == s.attacker {
			m = attackerMAC()
		}
		holder.run(t, "ip", "address", "add", virtualIP+"/32", "dev", "eth0")
		holder.run(t, "ip", "address", "add", virtualIP6+"/128", "dev", "eth0", "nodad")
		s.send(t,
			sent{socket, ether(broadcast(), m, 0x0806, arp(1, m, virtualIP, virtualIP))},
			sent{socket, ether(allNodes(), m, 0x86dd, ip6(virtualIP6, "ff02::1", 58, nd(virtualIP6, "ff02::1", 136, virtualIP6, m)))})
		s.passes(t, nil)
		for _, ip := range []string{virtualIP, virtualIP6} {
			reach(s.host, ip, "tcp")
			if got := s.host.run(t, "ip", "neigh", "show", ip, "dev", "fwb0"); !strings.Contains(got, m.String()) {
				t.Errorf("%s at %s: the host has %q", ip, holder.name, got)
			}
			holder.run(t, "ip", "address", "delete", ip, "dev", "eth0")
		}
		if holder, socket = s.attacker, s.out; m.String() == attackerMAC().String() {
			holder, socket = s.victim, s.in
		}
	}
	// A new address, whose duplicates the kernel looks for itself.
	s.attacker.run(t, "ip", "address", "add", virtualIP6+"/64", "dev", "eth0")
	for i := 0; strings.Contains(s.attacker.run(t, "ip", "address", "show", "to", virtualIP6), "tentative"); i++ {
		if time.Sleep(100 * time.Millisecond); i == 50 {
			t.Fatal("the address stays tentative")
		}
	}
	reach(s.victim, virtualIP6, "tcp")
	if got := s.attacker.run(t, "ip", "address"); strings.Contains(got, "dadfailed") {
		t.Errorf("a duplicate was found: %s", got)
	}
	if got := s.denied(t); got["fwv2"]+got["fwv3"] > 0 {
		t.Errorf("denied: %v, want none", got)
	}
}

// TestAllowedPrefixes: what a router or VPN gateway in a container needs: the
// networks behind it. Another port with the same list changes nothing, nor does
// it when it goes.
func TestAllowedPrefixes(t *testing.T) {
	s := newSegment(t)
	prefixes := []string{"10.8.0.0/24", "10.8.1.0/24", "fd00:8::/48", "240.0.0.0/4"}
	plain, ports := s.guarded(), s.guarded()
	for i := range ports {
		for _, p := range prefixes {
			ports[i].Prefixes = append(ports[i].Prefixes, prefix(p))
		}
	}
	from := func(ip string) []byte {
		if strings.Contains(ip, ":") {
			return ether(victimMAC(), attackerMAC(), 0x86dd, ip6(ip, victimIP6, 17, udp(1, 1)))
		}
		return ether(victimMAC(), attackerMAC(), 0x0800, ip4(ip, victimIP, 17, 0, udp(1, 1)))
	}
	claim := func(ip string) []byte {
		if strings.Contains(ip, ":") {
			return ether(victimMAC(), attackerMAC(), 0x86dd, ip6(attackerIP6, victimIP6, 58, nd(attackerIP6, victimIP6, 136, ip, attackerMAC())))
		}
		return ether(victimMAC(), attackerMAC(), 0x0806, arp(2, attackerMAC(), ip, victimIP))
	}
	check := func(when string, want bool) {
		t.Helper()
		for _, ip := range []string{"10.8.0.0", "10.8.0.255", "10.8.1.9", "fd00:8:0:1::9", "255.255.255.254"} {
			if s.passes(t, from(ip)) != want || s.passes(t, claim(ip)) != want {
				t.Errorf("%s: %s: want %t", when, ip, want)
			}
		}
		for _, ip := range []string{"10.7.255.255", "10.8.2.0", "fd00:9::9", hostIP, hostIP6} {
			if s.passes(t, from(ip)) || s.passes(t, claim(ip)) {
				t.Errorf("%s: %s passed", when, ip)
			}
		}
		if !s.passes(t, from(attackerIP)) {
			t.Errorf("%s: the own address didn't pass", when)
		}
		if got := s.reconciled(t); len(got) > 0 {
			t.Errorf("%s: %v", when, got)
		}
	}
	s.apply(t, ports[0], plain[1])
	check("another's list", false)
	s.apply(t, ports[1])
	check("both have it", true)
	s.apply(t, plain[0])
	check("one has it", true)
	s.apply(t, plain...)
	check("none has it", false)
	if got := s.host.run(t, "nft", "list", "table", "bridge", "fairway"); strings.Contains(got, "also4-") {
		t.Errorf("a list is left:\n%s", got)
	}
}

// reconciled returns what a comparison with what was told repairs.
func (s *segment) reconciled(t *testing.T) (found []nat.Repair) {
	t.Helper()
	var err error
	s.host.do(func() { found, err = s.guard.Repair(t.Context()) })
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestGuardRepair: whatever somebody changes in the table is found and made
// good, and a port that is removed can send nothing.
func TestGuardRepair(t *testing.T) {
	s := newSegment(t)
	ports := s.guarded()
	ports[0].Prefixes = append(ports[0].Prefixes, prefix("10.8.0.0/24"))
	s.apply(t, ports...)
	if got := s.reconciled(t); len(got) > 0 {
		t.Fatalf("nothing was changed, but repaired: %v", got)
	}
	before := s.host.run(t, "nft", "-s", "list", "table", "bridge", "fairway")
	for _, c := range []struct{ harm, want string }{
		{"flush ruleset", "the table was missing"},
		{"delete table bridge fairway", "the table was missing"},
		{"flush chain bridge fairway prerouting", "chain prerouting had other rules"},
		{"flush set bridge fairway macs", "set macs lacked 2 elements and had 0 others"},
		{"flush map bridge fairway also", "set also lacked 1 elements and had 0 others"},
		{"add element bridge fairway addresses4 { fwv3 . 8.8.8.8 }", "set addresses4 lacked 0 elements and had 1 others"},
		{"delete element bridge fairway addresses4 { fwv3 . 172.30.1.3 }", "set addresses4 lacked 1 elements and had 0 others"},
		{"insert rule bridge fairway guarded accept", "chain guarded had other rules"},
		{"add chain bridge fairway mine", "chain mine was not wanted"},
		{"add set bridge fairway mine { type ipv4_addr; }", "set mine was not wanted"},
		{"chain bridge fairway prerouting { policy drop; }", "chain prerouting had other rules"},
	} {
		s.host.input(t, c.harm+"\n", "nft", "-f", "-")
		found := s.reconciled(t)
		if !slices.ContainsFunc(found, func(r nat.Repair) bool { return r.What == "bridge fairway: "+c.want }) {
			t.Errorf("%s: repaired %v, want %q", c.harm, found, c.want)
		}
		if got := stable(s.host.run(t, "nft", "-s", "list", "table", "bridge", "fairway")); got != stable(before) {
			t.Errorf("%s: after the repair:\n%s\nwant:\n%s", c.harm, got, before)
		}
	}
	// A change finds the table gone: it is made again, with all.
	s.host.run(t, "nft", "flush", "ruleset")
	s.apply(t, s.guarded(addr(virtualIP))[1])
	if !s.passes(t, ether(victimMAC(), attackerMAC(), 0x0806, arp(2, attackerMAC(), virtualIP, victimIP))) {
		t.Error("after a flush: an allowed address doesn't pass")
	}
	if s.passes(t, ether(victimMAC(), attackerMAC(), 0x0806, arp(2, attackerMAC(), hostIP, victimIP))) {
		t.Error("after a flush: the host's address passes")
	}
	s.host.do(func() {
		if err := s.guard.Remove(t.Context(), ports...); err != nil {
			t.Error(err)
		}
		if found, err := s.guard.Repair(t.Context()); err != nil || len(found) > 0 {
			t.Errorf("removed, not yet swept: repaired %v, %v", found, err)
		}
		if err := s.guard.Sweep(t.Context()); err != nil {
			t.Error(err)
		}
	})
	if got := s.host.run(t, "nft", "list", "table", "bridge", "fairway"); strings.Contains(got, "fwv3") || strings.Contains(got, "also4-") {
		t.Errorf("removed, but still there:\n%s", got)
	}
}
