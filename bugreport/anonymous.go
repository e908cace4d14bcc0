package bugreport

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"slices"
	"strings"
)

// As is what clean is without a wish for it.
func As(text []byte) []byte { return text }

// Anonymous returns what puts, in place of each name that stands alone in a text,
// a hash of it: the same for the same name and salt. Names of fewer than two
// characters stay: they say nothing.
func Anonymous(names []string, salt string) func([]byte) []byte {
	names = slices.Clone(names)
	slices.SortFunc(names, func(a, b string) int { return len(b) - len(a) }) // a longer one before those in it
	var patterns []string
	for _, n := range names {
		if len(n) > 1 {
			patterns = append(patterns, regexp.QuoteMeta(n))
		}
	}
	if len(patterns) == 0 {
		return As
	}
	// A name is of letters, digits, "_", "." and "-": what isn't ends it.
	name := regexp.MustCompile(`(^|[^A-Za-z0-9_.-])(` + strings.Join(patterns, "|") + `)($|[^A-Za-z0-9_-])`)
	hash := func(n []byte) []byte {
		sum := sha256.Sum256([]byte(salt + string(n)))
		return []byte("name-" + hex.EncodeToString(sum[:4]))
	}
	return func(text []byte) []byte {
		for range 2 { // what parts two names belongs to the match of one
			text = name.ReplaceAllFunc(text, func(found []byte) []byte {
				m := name.FindSubmatch(found)
				return slices.Concat(m[1], hash(m[2]), m[3])
			})
		}
		return text
	}
}
