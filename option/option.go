// Package option checks key=value pairs against a table of what is known.
package option

import (
	"fmt"
	"maps"
	"slices"
)

// An Option is one row of a table: a name and what its value does.
type Option struct {
	Name    string
	Allowed string             // the values that are allowed, in words that follow "want"
	Meaning string             // one sentence, for documents and listings
	Set     func(string) error // takes the value; any error means that it isn't allowed
}

// A Table is the options that somebody understands.
type Table []Option

// Names returns the names of the table's options, sorted.
func (t Table) Names() []string {
	names := make([]string, 0, len(t))
	for _, o := range t {
		names = append(names, o.Name)
	}
	slices.Sort(names)
	return names
}

// Parse hands every pair to the option of its name. The error names the first
// wrong pair in the order of names, so that the same mistake always gets the
// same line.
func (t Table) Parse(pairs map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(pairs)) {
		value := pairs[name]
		i := slices.IndexFunc(t, func(o Option) bool { return o.Name == name })
		if i < 0 {
			return unknown(name, value, t.Names())
		}
		if err := t[i].Set(value); err != nil {
			return fmt.Errorf("option %s=%q: want %s", name, value, t[i].Allowed)
		}
	}
	return nil
}

func unknown(name, value string, known []string) error {
	if near := Nearest(name, known); near != "" {
		return fmt.Errorf("option %s=%q: unknown; nearest is %q", clip(name), clip(value), near)
	}
	return fmt.Errorf("option %s=%q: unknown", clip(name), clip(value))
}

// clip keeps what a user typed from flooding the one line of an error, and
// from bringing control characters into it.
func clip(s string) string {
	const longest = 80
	if len(s) > longest {
		s = s[:longest] + "…"
	}
	out := []rune(s)
	for i, r := range out {
		if r < ' ' || r == 0x7f {
			out[i] = '?'
		}
	}
	return string(out)
}
