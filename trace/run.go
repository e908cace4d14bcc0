package trace

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// An end is how a chain, or a table's base chain, ended for a packet.
type end int

const (
	goesOn     end = iota // to the next rule, or out of the chain
	accepted              // by this base chain
	dropped               //
	translated            // accepted, and the hook's other chains of type nat have no say
	returned
)

// A run is one packet in one base chain.
type run struct {
	machine
	steps []Step
	depth int
}

// maxDepth bounds jumps: the kernel's NFT_JUMP_STACK_SIZE is 16.
const maxDepth = 16

// base carries out a base chain.
func (r *run) base(c *nftChain) end {
	switch e := r.chain(c); e {
	case goesOn, returned:
		if c.drops {
			r.note(c, nil, "drop", "policy drop")
			return dropped
		}
		return goesOn
	default:
		return e
	}
}

func (r *run) chain(c *nftChain) end {
	if r.depth++; r.depth > maxDepth {
		return goesOn
	}
	defer func() { r.depth-- }()
	for _, rule := range c.rules {
		if e := r.rule(c, rule); e != goesOn {
			return e
		}
	}
	return goesOn
}

// rule carries out one rule, as far as it matches.
func (r *run) rule(c *nftChain, rule *nftables.Rule) end {
	r.table = c.table
	maybe := false
	for _, e := range rule.Exprs {
		var e2 end
		a := yes
		switch e := e.(type) {
		case *expr.Verdict:
			e2, a = r.verdict(c, rule, *e, maybe)
		case *expr.Lookup:
			e2, a = r.lookup(c, rule, e, maybe)
		case *expr.NAT:
			e2 = r.nat(c, rule, e, maybe)
		case *expr.Masq:
			e2 = r.masquerade(c, rule, maybe)
		case *expr.Redir, *expr.TProxy:
			e2 = r.unless(maybe, c, rule, "to the host itself", translated)
		case *expr.Reject:
			e2 = r.unless(maybe, c, rule, "reject", dropped)
		case *expr.Queue:
			e2 = r.unless(true, c, rule, "queue", goesOn)
		case *expr.Meta:
			before := r.packet.Mark
			a = r.step(e)
			if e.SourceRegister && r.packet.Mark != before {
				r.note(c, rule, fmt.Sprintf("mark %#x", r.packet.Mark), "")
			}
		default:
			a = r.step(e)
		}
		switch {
		case e2 != goesOn:
			return e2
		case a == no:
			return goesOn
		case a == unsure:
			maybe = true
		}
	}
	return goesOn
}

// unless notes what a rule did, or that it may have.
func (r *run) unless(maybe bool, c *nftChain, rule *nftables.Rule, did string, e end) end {
	if maybe {
		r.note(c, rule, "unsure", did)
		return goesOn
	}
	r.note(c, rule, did, "")
	return e
}

func (r *run) verdict(c *nftChain, rule *nftables.Rule, v expr.Verdict, maybe bool) (end, answer) {
	switch v.Kind {
	case expr.VerdictAccept:
		return r.unless(maybe, c, rule, "accept", accepted), no
	case expr.VerdictDrop:
		return r.unless(maybe, c, rule, "drop", dropped), no
	case expr.VerdictReturn:
		if maybe {
			return goesOn, no
		}
		return returned, no
	case expr.VerdictJump, expr.VerdictGoto:
		to := r.rules.chains[nameKey{c.table, v.Chain}]
		if to == nil {
			return goesOn, no
		}
		if maybe {
			r.note(c, rule, "unsure", "may go to "+v.Chain)
			return goesOn, no
		}
		e := r.chain(to)
		r.table = c.table
		switch {
		case e == returned || e == goesOn:
			if v.Kind == expr.VerdictGoto {
				return returned, no
			}
			return goesOn, no
		}
		return e, no
	}
	return goesOn, yes
}

func (r *run) lookup(c *nftChain, rule *nftables.Rule, l *expr.Lookup, maybe bool) (end, answer) {
	set := r.rules.sets[nameKey{r.table, l.SetName}]
	if set == nil {
		return goesOn, unsure
	}
	size := set.keySize()
	key := r.at(l.SourceRegister)
	if size == 0 || len(key) < size {
		return goesOn, when(l.Invert)
	}
	if r.doubtful(l.SourceRegister, size) {
		return goesOn, unsure
	}
	e, a := set.find(key[:size])
	switch {
	case a == unsure:
		return goesOn, unsure
	case (a == yes) == l.Invert:
		return goesOn, no
	case l.Invert || !l.IsDestRegSet:
		return goesOn, yes
	case l.DestRegister == unix.NFT_REG_VERDICT:
		return r.verdict(c, rule, verdictOf(e), maybe)
	}
	return goesOn, r.load(l.DestRegister, e.Val)
}

func (r *run) nat(c *nftChain, rule *nftables.Rule, n *expr.NAT, maybe bool) end {
	addr, ok := addrOf(r.at(n.RegAddrMin), n.Family == unix.NFPROTO_IPV6)
	if !ok {
		return r.unless(true, c, rule, "translates", goesOn)
	}
	port := uint16(0)
	if n.RegProtoMin != 0 {
		port = binary.BigEndian.Uint16(r.at(n.RegProtoMin))
	}
	p := &r.packet
	if n.Type == expr.NATTypeSourceNAT {
		if e := r.unless(maybe, c, rule, "from "+addr.String(), translated); e == goesOn {
			return e
		}
		p.Src, p.SNAT = addr, true
		return translated
	}
	if port == 0 {
		port = p.DstPort
	}
	if e := r.unless(maybe, c, rule, "to "+where(addr, port), translated); e == goesOn {
		return e
	}
	p.Dst, p.DstPort, p.DNAT = addr, port, true
	return translated
}

func (r *run) masquerade(c *nftChain, rule *nftables.Rule, maybe bool) end {
	e := r.unless(maybe, c, rule, "from the address of "+r.packet.Out, translated)
	if e == translated {
		r.packet.SNAT = true
	}
	return e
}

// note remembers a rule that counted.
func (r *run) note(c *nftChain, rule *nftables.Rule, did, text string) {
	s := Step{Where: c.String(), Did: did, Rule: text, Ours: c.table.name == "fairway"}
	if rule != nil {
		s.Handle = rule.Handle
		if comment := commentOf(rule); comment != "" && text == "" {
			_, what, _ := strings.Cut(comment, " ")
			s.Rule = what
			if !strings.HasPrefix(comment, "fairway:") {
				s.Rule = comment
			}
		}
	}
	r.steps = append(r.steps, s)
}
