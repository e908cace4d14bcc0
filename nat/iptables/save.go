package iptables

import (
	"bufio"
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// A saved is what iptables-save says that the kernel holds: table → chain →
// rules in order, as after "-A CHAIN".
type saved map[string]map[string][]string

// parseSave reads the output of iptables-save. It refuses what it doesn't
// know: an unread rule is never "no rule".
func parseSave(out []byte) (saved, error) {
	s := saved{}
	table := ""
	sc := bufio.NewScanner(bytes.NewReader(out))
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		line := strings.TrimSpace(sc.Text())
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '*':
			table = line[1:]
			if s[table] == nil {
				s[table] = map[string][]string{}
			}
		case line == "COMMIT":
			table = ""
		case table == "":
			return nil, fmt.Errorf("iptables: read saved rules: %q outside of a table", line)
		case line[0] == ':':
			name, _, _ := strings.Cut(line[1:], " ")
			if _, ok := s[table][name]; !ok {
				s[table][name] = nil
			}
		default:
			if line[0] == '[' { // counters
				_, line, _ = strings.Cut(line, "] ")
			}
			rest, ok := strings.CutPrefix(line, "-A ")
			if !ok {
				return nil, fmt.Errorf("iptables: read saved rules: %q unknown", line)
			}
			name, text, _ := strings.Cut(rest, " ")
			s[table][name] = append(s[table][name], text)
		}
	}
	return s, sc.Err()
}

// has reports whether a chain is there, be it empty.
func (s saved) has(table, chain string) bool {
	_, ok := s[table][chain]
	return ok
}

// target returns the chain or target that a rule jumps or goes to.
func target(text string) string {
	toks := tokens(text)
	for i, t := range toks {
		if (t == "-j" || t == "-g" || t == "--jump" || t == "--goto") && i+1 < len(toks) {
			return toks[i+1]
		}
	}
	return ""
}

// comment returns a rule's comment.
func comment(text string) string {
	toks := tokens(text)
	if i := slices.Index(toks, "--comment"); i >= 0 && i+1 < len(toks) {
		return toks[i+1]
	}
	return ""
}
