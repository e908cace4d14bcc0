package iptables

import (
	"slices"
	"strings"
)

// A chain is one of ours with all that it holds.
type chain struct {
	table, name string
	rules       []rule
}

// A rule is one of a chain, written as after "-A CHAIN". Rules of the same
// rank may stand in any order, a lower rank comes first.
type rule struct {
	rank int
	text string
}

// A hook is a jump to a chain of ours in a chain that is not.
type hook struct {
	table, chain string
	text         string
	place        place
	optional     bool // not wanted where the chain isn't there
}

// A place is where a hook stands in its chain.
type place int

const (
	// first, or with nothing but jumps to DOCKER-USER before it: Docker puts
	// those at the head again and again.
	first place = iota
	// anywhere; appended where it is missing, so that others (kube-proxy, say)
	// keep their place before us: CVE-2019-9946.
	anywhere
	// lastButReturn: after all others but a final RETURN.
	lastButReturn
)

// A ruleset is all that one family must hold.
type ruleset struct {
	chains []chain // a chain comes after those that it jumps to
	hooks  []hook
}

// canonical returns the same text for rules that mean the same, however
// iptables-save of a flavour or version writes them: matches in any order, -m
// left out or implied, hosts with or without their prefix length.
func canonical(text string) string {
	var clauses []string
	var clause []string
	flush := func() {
		if len(clause) > 0 && clause[0] != "-m" && clause[0] != "--match" {
			clauses = append(clauses, strings.Join(clause, " "))
		}
		clause = nil
	}
	negated := false
	for _, tok := range tokens(text) {
		switch {
		case tok == "!":
			flush()
			negated = true
			continue
		case strings.HasPrefix(tok, "-") && len(tok) > 1:
			flush()
			if negated {
				tok, negated = "! "+tok, false
			}
			clause = append(clause, tok)
			continue
		}
		if len(clause) > 0 {
			tok = canonicalValue(strings.TrimPrefix(clause[0], "! "), tok)
		}
		clause = append(clause, tok)
	}
	flush()
	slices.Sort(clauses)
	return strings.Join(clauses, " ")
}

func canonicalValue(flag, v string) string {
	switch flag {
	case "-s", "-d":
		for _, whole := range []string{"/32", "/128"} {
			if a, ok := strings.CutSuffix(v, whole); ok && strings.Contains(a, ":") == (whole == "/128") {
				return a
			}
		}
	case "-p":
		if name, ok := protoNames[v]; ok {
			return name
		}
	case "--ctstate":
		states := strings.Split(v, ",")
		slices.Sort(states)
		return strings.Join(states, ",")
	}
	return v
}

var protoNames = map[string]string{"1": "icmp", "6": "tcp", "17": "udp", "58": "ipv6-icmp", "icmpv6": "ipv6-icmp", "132": "sctp"} //nolint:gochecknoglobals // a constant

// tokens splits a rule as iptables-restore does: at spaces, double quotes
// hold a word together, a backslash in them takes the next character as it is.
func tokens(text string) (out []string) {
	var word strings.Builder
	inWord, quoted := false, false
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '\\' && quoted && i+1 < len(text):
			i++
			word.WriteByte(text[i])
		case c == '"':
			quoted, inWord = !quoted, true
		case (c == ' ' || c == '\t') && !quoted:
			if inWord {
				out = append(out, word.String())
				word.Reset()
				inWord = false
			}
		default:
			word.WriteByte(c)
			inWord = true
		}
	}
	if inWord {
		out = append(out, word.String())
	}
	return out
}
