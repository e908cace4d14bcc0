package iptables

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"fairway/nat"
)

// The chains. Those that end in a dash are there once per bridge.
const (
	chainRaw     = "FAIRWAY-RAW"
	chainMark    = "FAIRWAY-MARK"
	chainDNAT    = "FAIRWAY-DNAT"
	chainSNAT    = "FAIRWAY-SNAT"
	chainForward = "FAIRWAY-FORWARD"
	chainAccept  = "FAIRWAY-ACCEPT"
	chainOut     = "FAIRWAY-OUT"
	chainFrom    = "FAIRWAY-FROM"
	chainTo      = "FAIRWAY-TO"
	chainIn      = "FAIRWAY-IN-"
	chainWho     = "FAIRWAY-WHO"  // and for each list of clients one that ends in its key
	chainPub     = "FAIRWAY-PUB-" // chain names have at most 28 characters, links 15

	chainPrefix = "FAIRWAY-"
)

// pass are the packets that need no further leave: replies, and what a
// published port's translation let in.
const pass = "-m conntrack --ctstate RELATED,ESTABLISHED,DNAT"

// A renderer turns a state into the rules of one family. It touches nothing.
type renderer struct {
	v6       bool
	instance string
	marks    nat.Marks
	around   nat.Around
	links    []bridge
	bridged  []string // bridges of others with ports of ours
	policies map[string]nat.Clients
}

// A bridge is a link with the networks on it, one or, on a bridge that was
// there before, several.
type bridge struct {
	link string
	nets []network
	// shared: also other packets go through it than those of its networks, so
	// that every rule must name the subnet.
	shared bool
}

// A network is what one family of a nat.Network says.
type network struct {
	nat.Network
	nat.Family
}

// render returns what the kernel must hold in one family for state.
func render(state nat.State, v6 bool, instance string, marks nat.Marks, a nat.Around) ruleset {
	r := newRenderer(state, v6, instance, a)
	r.marks, r.policies = marks, state.Policies()
	endpoints := endpointRules(state, v6, instance, marks)
	if len(r.links) == 0 && len(endpoints) == 0 {
		return renderAccepts(state, v6, instance, marks, a)
	}
	out := ruleset{hooks: r.hooks()}
	add := func(table, name string, rules ...rule) {
		rules = append(rules, endpoints[chainKey{table, name}]...)
		delete(endpoints, chainKey{table, name})
		slices.SortStableFunc(rules, func(a, b rule) int { return cmp.Compare(a.rank, b.rank) })
		out.chains = append(out.chains, chain{table, name, rules})
	}
	if !v6 {
		add("raw", chainRaw, r.raw()...)
	}
	add("mangle", chainMark, r.markRules(state)...)
	add("nat", chainDNAT)
	add("nat", chainSNAT, r.snat()...)
	for _, b := range r.links {
		if b.direct() || endpoints[chainKey{"filter", chainPub + b.link}] != nil {
			add("filter", chainPub+b.link, r.rule(1, "-j DROP"))
		}
		if b.entered() {
			add("filter", chainIn+b.link, r.in(b)...)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(r.policies)) {
		add("filter", chainWho+"-"+key, r.policy(r.policies[key])...)
	}
	if r.restricts() {
		add("filter", chainWho, r.who()...)
	}
	add("filter", chainOut, r.out()...)
	add("filter", chainForward, r.forward()...)
	add("filter", chainFrom, r.other("-i")...)
	add("filter", chainTo, r.other("-o")...)
	add("filter", chainAccept, r.accept()...)
	for k := range endpoints { // of a network that is not in the state
		add(k.table, k.name)
	}
	return out
}

// renderAccepts returns the part of render that lets pass: what nothing drops
// in this ruleset.
func renderAccepts(state nat.State, v6 bool, instance string, marks nat.Marks, a nat.Around) ruleset {
	r := newRenderer(state, v6, instance, a)
	if len(r.links)+len(r.bridged) == 0 {
		return ruleset{}
	}
	jump := r.comment() + "-j " + chainAccept
	out := ruleset{hooks: []hook{
		{"filter", "FORWARD", jump, anywhere, false},
		{"filter", "DOCKER-USER", jump, lastButReturn, true},
	}}
	accepts := r.accept()[1:]
	if len(r.links) > 0 {
		out.chains = []chain{{"filter", chainFrom, r.other("-i")}, {"filter", chainTo, r.other("-o")}}
		// What is ours, and was let through before, asks no more, however many networks there are.
		before := fmt.Sprintf("-m mark --mark %#x/%#[1]x -m conntrack --ctstatus CONFIRMED ", marks.Reach)
		accepts = append([]rule{{text: before + r.comment() + "-j ACCEPT"}}, accepts...)
	}
	out.chains = append(out.chains, chain{"filter", chainAccept, list(accepts...)})
	return out
}

func newRenderer(state nat.State, v6 bool, instance string, a nat.Around) renderer {
	r := renderer{v6: v6, instance: instance, around: a, links: bridges(state, v6, a)}
	if a.FiltersBridged { // else xt_physdev would load it, and all bridges of the host were filtered
		r.bridged = bridgedOn(state)
	}
	return r
}

// bridgedOn returns the bridges that networks have nothing but ports on.
func bridgedOn(state nat.State) (out []string) {
	for _, n := range state.Networks {
		if n.Bridged {
			out = append(out, n.Link)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

type chainKey struct{ table, name string }

// bridges groups the networks of a family by their link, sorted by it.
func bridges(state nat.State, v6 bool, a nat.Around) (out []bridge) {
	byLink := map[string][]network{}
	for _, n := range state.Networks {
		for _, f := range n.Families {
			if f.Is6() == v6 {
				byLink[n.Link] = append(byLink[n.Link], network{n, f})
			}
		}
	}
	for l, nets := range byLink {
		slices.SortFunc(nets, func(a, b network) int { return cmp.Compare(a.ID, b.ID) })
		out = append(out, bridge{link: l, nets: nets, shared: len(nets) > 1 || a.Uplinks[l]})
	}
	slices.SortFunc(out, func(a, b bridge) int { return cmp.Compare(a.link, b.link) })
	return out
}

// entered reports whether anything may come into b from another link.
func (b bridge) entered() bool {
	return slices.ContainsFunc(b.nets, func(n network) bool { return !n.Internal })
}

// direct reports whether published ports of b may be reached by routing.
func (b bridge) direct() bool {
	return slices.ContainsFunc(b.nets, func(n network) bool {
		return !n.Internal && (n.Mode == nat.Routed || len(n.Trusted) > 0)
	})
}

// src and dst are the match for a network's subnet, where its link says it
// not all.
func (b bridge) src(n network) string { return b.qualify("-s ", n) }
func (b bridge) dst(n network) string { return b.qualify("-d ", n) }

func (b bridge) qualify(flag string, n network) string {
	if !b.shared {
		return ""
	}
	return flag + n.Subnet.Masked().String() + " "
}

// rule returns a rule with our comment.
func (r renderer) rule(rank int, format string, args ...any) rule {
	return rule{rank, r.comment() + fmt.Sprintf(format, args...)}
}

func (r renderer) comment() string { return commentOf(r.instance, "") }

// list gives the rules of a chain their order.
func list(texts ...rule) []rule {
	for i := range texts {
		texts[i].rank = i
	}
	return texts
}

// commentOf returns the match that marks a rule as the instance's, and what it
// is for.
func commentOf(instance, id string) string {
	mark := "fairway:" + instance
	if id != "" {
		mark += ":" + id[:min(len(id), 12)]
	}
	return `-m comment --comment "` + mark + `" `
}

func (r renderer) hooks() []hook {
	c := r.comment()
	prerouting, output := "-m addrtype --dst-type LOCAL ! -d 127.0.0.0/8", "-m addrtype --dst-type LOCAL"
	if r.v6 {
		// A link-local client can't be answered by the container; ::1 can't leave the host.
		prerouting, output = "-m addrtype --dst-type LOCAL ! -s fe80::/10", "-m addrtype --dst-type LOCAL ! -d ::1"
	}
	hooks := []hook{
		{"mangle", "PREROUTING", c + "-j " + chainMark, anywhere, false},
		{"nat", "PREROUTING", c + prerouting + " -j " + chainDNAT, anywhere, false},
		{"nat", "OUTPUT", c + output + " -j " + chainDNAT, anywhere, false},
		{"nat", "POSTROUTING", c + "-j " + chainSNAT, anywhere, false},
		{"filter", "FORWARD", c + "-j " + chainForward, first, false},
		{"filter", "FORWARD", c + "-j " + chainAccept, anywhere, false},
		{"filter", "DOCKER-USER", c + "-j " + chainAccept, lastButReturn, true},
	}
	if !r.v6 {
		hooks = append(hooks, hook{"raw", "PREROUTING", c + "-j " + chainRaw, anywhere, false})
	}
	return hooks
}

// snat: a client that the container would answer by another way than the
// packet came gets the bridge's address; all others keep their own, also
// containers of our other networks. What leaves a network otherwise is
// masqueraded. Clients on Docker's bridges are left to Docker's rules, which
// masquerade them: engine 28 drops what comes to their own address from
// elsewhere, replies included, in its raw table (measured).
func (r renderer) snat() (rules []rule) {
	for _, b := range r.links {
		for _, n := range b.nets {
			into := fmt.Sprintf("-d %s -o %s -m conntrack --ctstate DNAT", n.Subnet.Masked(), b.link)
			if n.Beside {
				rules = append(rules, r.rule(0, "%s -j MASQUERADE", into))
				continue
			}
			if !r.v6 {
				rules = append(rules, r.rule(0, "-s 127.0.0.0/8 %s -j MASQUERADE", into))
			}
			rules = append(rules,
				r.rule(0, "-s %s %s -j MASQUERADE", n.Subnet.Masked(), into),
				r.rule(0, "%s -j RETURN", into))
		}
	}
	for _, b := range r.links {
		for _, n := range b.nets {
			if !n.Masquerade || n.Internal {
				continue
			}
			as := "MASQUERADE"
			if n.SNAT.IsValid() {
				as = "SNAT --to-source " + n.SNAT.String()
			}
			rules = append(rules, r.rule(0, "-s %s ! -o %s -j %s", n.Subnet.Masked(), b.link, as))
		}
	}
	return list(rules...)
}

// raw: route_localnet is set on the bridges so that the host reaches published
// ports over 127.0.0.1; it would let containers reach the host's own.
func (r renderer) raw() (rules []rule) {
	for _, b := range r.links {
		rules = append(rules,
			r.rule(0, "-i %s -d 127.0.0.0/8 -j DROP", b.link),
			r.rule(0, "-i %s -s 127.0.0.0/8 -j DROP", b.link))
	}
	return rules
}

// endpointRules returns the rules of all endpoints by chain. They all have
// rank 0 or 1, so that one is added or removed by itself.
func endpointRules(state nat.State, v6 bool, instance string, marks nat.Marks) map[chainKey][]rule {
	out := map[chainKey][]rule{}
	for _, e := range state.Endpoints {
		for _, cr := range endpointRulesOf(&e, v6, instance, marks) {
			out[cr.chainKey] = append(out[cr.chainKey], cr.rule)
		}
	}
	for k := range out {
		slices.SortFunc(out[k], func(a, b rule) int {
			return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.text, b.text))
		})
	}
	return out
}

type chainRule struct {
	chainKey
	rule
}

// endpointRulesOf returns the rules of one endpoint in a family; none for nil.
func endpointRulesOf(e *nat.Endpoint, v6 bool, instance string, marks nat.Marks) (out []chainRule) {
	if e == nil {
		return nil
	}
	c := commentOf(instance, e.ID)
	seen := map[string]bool{}
	add := func(table, name string, rank int, format string, args ...any) {
		text := c + fmt.Sprintf(format, args...)
		if !seen[name+text] {
			seen[name+text] = true
			out = append(out, chainRule{chainKey{table, name}, rule{rank, text}})
		}
	}
	for _, a := range e.Carried {
		if a.Is6() == v6 {
			add("mangle", chainMark, 0, "-i %s -s %s -m conntrack --ctdir REPLY -m socket --transparent %s", e.Link, a, setMark(marks.All()))
			// The daemon's, under the address of a container of another network.
			add("nat", chainSNAT, 0, "-d %s -o %s -j RETURN", a, e.Link)
		}
	}
	for _, p := range e.Ports {
		if p.Target.Is6() != v6 {
			continue
		}
		if e.Clients != nil {
			add("filter", chainWho, 0, "-d %s ! -i %s %s", p.Target, e.Link, toWho(*e.Clients))
		}
		proto := nat.ProtoName(p.Proto)
		if p.HostPort == 0 || e.Direct {
			add("mangle", chainMark, 0, "-d %s -p %s -m %s --dport %d %s", p.Target, proto, proto, p.TargetPort, setMark(marks.Reach))
			add("filter", chainPub+e.Link, 0, "-d %s -p %s -m %s --dport %d -j RETURN", p.Target, proto, proto, p.TargetPort)
		}
		if p.HostPort == 0 { // a routed family
			continue
		}
		to := netip.AddrPortFrom(p.Target, p.TargetPort)
		host := p.Host()
		if host.IsUnspecified() {
			add("nat", chainDNAT, 1, "-p %s -m %s --dport %d -j DNAT --to-destination %s", proto, proto, p.HostPort, to)
			continue
		}
		add("nat", chainDNAT, 0, "-d %s -p %s -m %s --dport %d -j DNAT --to-destination %s", host, proto, proto, p.HostPort, to)
		if host.IsLoopback() && !v6 {
			// Somebody else may have set route_localnet on an uplink.
			add("raw", chainRaw, 0, "-d %s ! -i lo -p %s -m %s --dport %d -j DROP", host, proto, proto, p.HostPort)
		}
	}
	return out
}
