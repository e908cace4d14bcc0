package trace

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// match reports whether a rule's matches all hold, its target, and the target's
// arguments, the first of which is "goto" for a goto. A match that isn't known
// here makes it unsure.
func (r *xtRun) match(words []string) (a answer, target string, args []string) {
	not := false
	for i := 0; i < len(words); i++ {
		w := words[i]
		value := ""
		if i+1 < len(words) {
			value = words[i+1]
		}
		if w != "!" && !strings.HasPrefix(w, "-") {
			continue // one more value of an option that isn't known
		}
		switch w {
		case "!":
			not = true
			continue
		case "-j", "-g":
			args = slices.Clone(words[min(i+2, len(words)):])
			if w == "-g" {
				args = append([]string{"goto"}, args...)
			}
			return a, value, args
		case "-m", "--comment", "--ctdir", "--limit", "--limit-burst":
			i++
			if w == "--ctdir" && (value != "ORIGINAL") != not {
				return no, "", nil
			}
			if w == "-m" && !slices.Contains(knownMatches(), value) {
				a = unsure
			}
			not = false
			continue
		case "--limit-iface-in", "--limit-iface-out":
			continue
		}
		holds := r.holds(w, value)
		i++
		switch {
		case holds == unsure:
			a = unsure
		case (holds == yes) == not:
			return no, "", nil
		}
		not = false
	}
	return a, "", nil
}

func knownMatches() []string {
	return []string{"tcp", "udp", "sctp", "icmp", "icmp6", "comment", "conntrack", "state", "mark", "addrtype", "multiport", "limit"}
}

// holds reports whether one match does.
func (r *xtRun) holds(option, value string) answer {
	p := r.packet
	switch option {
	case "-s":
		return inPrefix(p.Src, value)
	case "-d":
		return inPrefix(p.Dst, value)
	case "-i":
		return when(linkIs(p.In, value))
	case "-o":
		return when(linkIs(p.Out, value))
	case "-p":
		return protoIs(p, value)
	case "--dport", "--dports", "--destination-ports":
		return inPorts(p.DstPort, value)
	case "--sport", "--sports":
		return inPorts(p.SrcPort, value)
	case "--ctstate", "--state":
		for s := range strings.SplitSeq(value, ",") {
			if s == "NEW" || s == "DNAT" && p.DNAT || s == "SNAT" && p.SNAT {
				return yes
			}
		}
		return no
	case "--ctstatus":
		return when(strings.Contains(value, "DNAT") && p.DNAT || strings.Contains(value, "SNAT") && p.SNAT)
	case "--ctorigsrc":
		return inPrefix(p.Src, value)
	case "--ctorigdst":
		return inPrefix(p.OrigDst, value)
	case "--ctorigdstport":
		return inPorts(p.OrigPort, value)
	case "--mark":
		v, m := valueMask(value)
		return when(p.Mark&m == v)
	case "--dst-type":
		return r.kindIs(p.Dst, value)
	case "--src-type":
		return r.kindIs(p.Src, value)
	case "--tcp-flags":
		return unsure
	case "--icmp-type", "--icmpv6-type":
		return when(value == "8" || value == "128" || value == "echo-request" || value == "8/0")
	}
	return unsure
}

func (r *xtRun) kindIs(a netip.Addr, value string) answer {
	kinds := map[string]byte{"LOCAL": unix.RTN_LOCAL, "UNICAST": unix.RTN_UNICAST, "BROADCAST": unix.RTN_BROADCAST, "MULTICAST": unix.RTN_MULTICAST}
	for v := range strings.SplitSeq(value, ",") {
		k, ok := kinds[v]
		if !ok {
			return unsure
		}
		if r.world.kind(a) == k {
			return yes
		}
	}
	return no
}

func inPrefix(a netip.Addr, text string) answer {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		one, err := netip.ParseAddr(text)
		if err != nil {
			return unsure
		}
		return when(a == one)
	}
	return when(p.Contains(a))
}

// linkIs reports whether a name is meant: a + at the end stands for any end.
func linkIs(name, pattern string) bool {
	if before, ok := strings.CutSuffix(pattern, "+"); ok {
		return strings.HasPrefix(name, before)
	}
	return name == pattern
}

func protoIs(p Packet, value string) answer {
	numbers := map[string]uint8{"tcp": 6, "udp": 17, "sctp": 132, "icmp": 1, "ipv6-icmp": 58, "icmpv6": 58, "all": p.Proto}
	n, ok := numbers[value]
	if !ok {
		k, err := strconv.Atoi(value)
		if err != nil {
			return unsure
		}
		n = uint8(k)
	}
	return when(p.Proto == n)
}

// inPorts reads 80, 80:90, and lists of them.
func inPorts(port uint16, list string) answer {
	for one := range strings.SplitSeq(list, ",") {
		from, to, ranged := strings.Cut(one, ":")
		a, err := strconv.Atoi(from)
		b := a
		if ranged {
			b, _ = strconv.Atoi(to)
		}
		if err != nil {
			return unsure
		}
		if int(port) >= a && int(port) <= b {
			return yes
		}
	}
	return no
}

func valueMask(text string) (value, mask uint32) {
	v, m, ok := strings.Cut(text, "/")
	a, _ := strconv.ParseUint(v, 0, 32)
	b := uint64(0xffffffff)
	if ok {
		b, _ = strconv.ParseUint(m, 0, 32)
	}
	return uint32(a), uint32(b)
}

// marked is what --set-xmark and the like make of a mark (iptables-extensions(8)).
func marked(mark uint32, args []string) uint32 {
	for i := 0; i+1 < len(args); i++ {
		v, m := valueMask(args[i+1])
		switch args[i] {
		case "--set-xmark":
			return mark&^m ^ v
		case "--set-mark":
			return mark&^m | v
		case "--or-mark":
			return mark | v
		case "--and-mark":
			return mark & v
		}
	}
	return mark
}

// translate carries out a DNAT.
func (r *xtRun) translate(chain string, rule xtRule, args []string) end {
	for i := 0; i+1 < len(args); i++ {
		if args[i] != "--to-destination" {
			continue
		}
		to := args[i+1]
		addr, err := netip.ParseAddrPort(to)
		if err != nil {
			one, err := netip.ParseAddr(strings.Trim(to, "[]"))
			if err != nil {
				break
			}
			addr = netip.AddrPortFrom(one, r.packet.DstPort)
		}
		r.packet.Dst, r.packet.DstPort, r.packet.DNAT = addr.Addr(), addr.Port(), true
		r.note(chain, rule, "to "+addr.String())
		return translated
	}
	r.note(chain, rule, "unsure")
	return translated
}
