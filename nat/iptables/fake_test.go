package iptables

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// A fake is both families' tables, with programs that change them as
// iptables-restore does: a script whole or not at all.
type fake struct {
	tables map[string]saved // by "ip", "ip6"
	calls  []string
	fail   string // the call that fails
	hook   func() // at every call
}

func newFake() *fake {
	f := &fake{tables: map[string]saved{}}
	for _, family := range []string{"ip", "ip6"} {
		f.tables[family] = saved{
			"raw":    {"PREROUTING": nil, "OUTPUT": nil},
			"mangle": {"PREROUTING": nil, "OUTPUT": nil},
			"nat":    {"PREROUTING": nil, "INPUT": nil, "OUTPUT": nil, "POSTROUTING": nil},
			"filter": {"INPUT": nil, "FORWARD": nil, "OUTPUT": nil},
		}
	}
	return f
}

func (f *fake) run(ctx context.Context, input, program string, _ ...string) ([]byte, error) {
	f.calls = append(f.calls, program)
	if f.hook != nil {
		f.hook()
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if f.fail == program {
		return nil, errors.New(program + " failed")
	}
	family, what, _ := strings.Cut(program, "tables-")
	if what == "save" {
		return []byte(dump(f.tables[family])), nil
	}
	next := clone(f.tables[family])
	table := ""
	for line := range strings.SplitSeq(strings.TrimSpace(input), "\n") {
		if strings.HasPrefix(line, "*") {
			table = line[1:]
			continue
		}
		if err := execute(next[table], line); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", program, line, err)
		}
	}
	f.tables[family] = next
	return nil, nil
}

// execute does one line of a script.
func execute(chains map[string][]string, line string) error {
	if line == "COMMIT" {
		return nil
	}
	if name, ok := strings.CutPrefix(line, ":"); ok {
		name, _, _ = strings.Cut(name, " ")
		chains[name] = nil
		return nil
	}
	verb, rest, _ := strings.Cut(line, " ")
	name, text, _ := strings.Cut(rest, " ")
	rules, ok := chains[name]
	if !ok {
		return errors.New("no such chain")
	}
	at := 0
	if verb == "-I" {
		if n, tail, ok := strings.Cut(text, " "); ok {
			if i, err := strconv.Atoi(n); err == nil {
				at, text = i-1, tail
			}
		}
	}
	if to := target(text); strings.HasPrefix(to, chainPrefix) && verb != "-D" {
		if _, ok := chains[to]; !ok {
			return errors.New("no such target")
		}
	}
	switch verb {
	case "-A":
		chains[name] = append(rules, text)
	case "-I":
		if at > len(rules) {
			return errors.New("index too big")
		}
		chains[name] = slices.Insert(rules, at, text)
	case "-D":
		i := slices.IndexFunc(rules, func(r string) bool { return canonical(r) == canonical(text) })
		if i < 0 {
			return errors.New("no such rule")
		}
		chains[name] = slices.Delete(rules, i, i+1)
	case "-F":
		chains[name] = nil
	case "-X":
		for _, rules := range chains {
			if slices.ContainsFunc(rules, func(r string) bool { return target(r) == name }) {
				return errors.New("chain is in use")
			}
		}
		delete(chains, name)
	default:
		return errors.New("unknown command")
	}
	return nil
}

func dump(s saved) string {
	var b strings.Builder
	for _, table := range slices.Sorted(maps.Keys(s)) {
		b.WriteString("*" + table + "\n")
		for _, name := range slices.Sorted(maps.Keys(s[table])) {
			b.WriteString(":" + name + " ACCEPT [0:0]\n")
		}
		for _, name := range slices.Sorted(maps.Keys(s[table])) {
			for _, r := range s[table][name] {
				b.WriteString("-A " + name + " " + r + "\n")
			}
		}
		b.WriteString("COMMIT\n")
	}
	return b.String()
}

func clone(s saved) saved {
	out := saved{}
	for table, chains := range s {
		out[table] = map[string][]string{}
		for name, rules := range chains {
			out[table][name] = slices.Clone(rules)
		}
	}
	return out
}

// rules returns everything in both families.
func (f *fake) rules() string { return dump(f.tables["ip"]) + dump(f.tables["ip6"]) }
