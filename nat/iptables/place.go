package iptables

import "slices"

// right reports whether a hook at index at of a chain's rules is where it
// belongs.
func (p place) right(rules []string, at int) bool {
	switch p {
	case first:
		return !slices.ContainsFunc(rules[:at], func(r string) bool { return !toDockerUser(r) })
	case lastButReturn:
		rest := rules[at+1:]
		return len(rest) == 0 || len(rest) == 1 && isReturn(rest[0])
	}
	return true
}

// index returns where in a chain's rules a missing hook is to be put.
func (p place) index(rules []string) int {
	switch p {
	case first:
		return 0
	case lastButReturn:
		if n := len(rules); n > 0 && isReturn(rules[n-1]) {
			return n - 1
		}
	}
	return len(rules)
}

func toDockerUser(text string) bool { return canonical(text) == "-j DOCKER-USER" }

func isReturn(text string) bool { return canonical(text) == "-j RETURN" }
