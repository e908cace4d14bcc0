package trace

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"unicode"
)

// xtRules are what iptables-save prints of one family: table → chain.
type xtRules map[string]map[string]*xtChain

type xtChain struct {
	policy string // "-" for a chain that is jumped to
	rules  []xtRule
}

// An xtRule is a rule as the words of iptables(8).
type xtRule struct {
	text  string
	words []string
}

// readXT reads the rules of a family. A host without the program has none.
func readXT(ctx context.Context, v6 bool) (xtRules, error) {
	program := "iptables-save"
	if v6 {
		program = "ip6tables-save"
	}
	out, err := exec.CommandContext(ctx, program).Output()
	if errors.Is(err, exec.ErrNotFound) {
		return xtRules{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("trace: %s: %w", program, err)
	}
	return parseXT(string(out)), nil
}

func parseXT(text string) xtRules {
	r, table := xtRules{}, ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#' || line == "COMMIT":
		case line[0] == '*':
			table = line[1:]
			r[table] = map[string]*xtChain{}
		case r[table] == nil: // outside of a table
		case line[0] == ':':
			if w := strings.Fields(line[1:]); len(w) > 1 {
				r[table][w[0]] = &xtChain{policy: w[1]}
			}
		default:
			words := split(line)
			if len(words) > 2 && words[0] == "-A" && r[table][words[1]] != nil {
				c := r[table][words[1]]
				c.rules = append(c.rules, xtRule{line, words[2:]})
			}
		}
	}
	return r
}

// split cuts a line into words as a shell does: iptables-save quotes comments.
func split(line string) (words []string) {
	var b strings.Builder
	quoted, escaped, in := false, false, false
	for _, c := range line {
		switch {
		case escaped:
			b.WriteRune(c)
			escaped = false
		case c == '\\' && quoted:
			escaped = true
		case c == '"':
			quoted, in = !quoted, true
		case unicode.IsSpace(c) && !quoted:
			if in {
				words = append(words, b.String())
			}
			b.Reset()
			in = false
		default:
			b.WriteRune(c)
			in = true
		}
	}
	if in {
		words = append(words, b.String())
	}
	return words
}

// An xtRun is one packet in one table of iptables.
type xtRun struct {
	world  addresses
	packet Packet
	family string // "ip" or "ip6"
	table  string
	chains map[string]*xtChain
	steps  []Step
	depth  int
	seen   int // rules so far
}

// maxSeen bounds the rules that one packet meets: the kernel takes no loops, but
// the text is read as it is.
const maxSeen = 1 << 16

// base carries out a base chain.
func (r *xtRun) base(name string) end {
	c := r.chains[name]
	if c == nil {
		return goesOn
	}
	switch e := r.chain(name); e {
	case goesOn, returned:
		if c.policy == "DROP" {
			r.note(name, xtRule{text: "-P " + name + " DROP"}, "drop")
			return dropped
		}
		return goesOn
	default:
		return e
	}
}

func (r *xtRun) chain(name string) end {
	if r.depth++; r.depth > 100 {
		return goesOn
	}
	defer func() { r.depth-- }()
	c := r.chains[name]
	if c == nil {
		return goesOn
	}
	for _, rule := range c.rules {
		if r.seen++; r.seen > maxSeen {
			return goesOn
		}
		a, target, args := r.match(rule.words)
		if a == no {
			continue
		}
		if e := r.jump(name, rule, target, args, a == unsure); e != goesOn {
			return e
		}
	}
	return goesOn
}

// jump does what the target of a rule that matched says.
func (r *xtRun) jump(chain string, rule xtRule, target string, args []string, maybe bool) end {
	did := map[string]string{"ACCEPT": "accept", "DROP": "drop", "REJECT": "reject", "DNAT": "to ", "MASQUERADE": "from the address of " + r.packet.Out, "SNAT": "from ", "REDIRECT": "to the host itself", "MARK": "mark"}[target]
	if maybe {
		if did != "" && target != "ACCEPT" && target != "MARK" {
			r.note(chain, rule, "unsure")
		}
		return goesOn
	}
	switch target {
	case "ACCEPT":
		r.note(chain, rule, did)
		return accepted
	case "DROP", "REJECT":
		r.note(chain, rule, did)
		return dropped
	case "RETURN":
		return returned
	case "DNAT":
		return r.translate(chain, rule, args)
	case "MASQUERADE", "SNAT", "REDIRECT":
		r.note(chain, rule, did)
		r.packet.SNAT = r.packet.SNAT || target != "REDIRECT"
		return translated
	case "MARK":
		r.packet.Mark = marked(r.packet.Mark, args)
		r.note(chain, rule, fmt.Sprintf("mark %#x", r.packet.Mark))
		return goesOn
	}
	if _, ok := r.chains[target]; !ok {
		return goesOn // LOG, CONNMARK and the like end nothing
	}
	e := r.chain(target)
	if e == returned {
		e = goesOn
	}
	if e == goesOn && len(args) > 0 && args[0] == "goto" {
		return returned
	}
	return e
}

func (r *xtRun) note(chain string, rule xtRule, did string) {
	r.steps = append(r.steps, Step{
		Where: r.family + " " + r.table + " " + chain, Rule: rule.text, Did: did, Iptables: true,
		Ours: strings.HasPrefix(chain, "FAIRWAY-") || strings.Contains(rule.text, "fairway:"),
	})
}
