package event

import (
	"fmt"
	"strings"
)

// Catalog returns the kinds as a message catalogue of the journal: see
// journalctl(1), --catalog, and
// https://systemd.io/CATALOG.
func Catalog() string {
	var b strings.Builder
	b.WriteString("# What the daemon's events in the journal mean: journalctl -x shows it.\n# Made by go test ./docs -run TestCatalog -update.\n")
	for _, k := range Kinds() {
		fmt.Fprintf(&b, "\n-- %s\nSubject: %s\nDefined-By: fairway\nDocumentation: man:fairway(8)\n\n%s\n", k.ID, k.Title, wrap(k.Text))
	}
	return b.String()
}

// width is how long a line of the catalogue is, in bytes.
const width = 76

func wrap(text string) string {
	var b strings.Builder
	n := 0
	for _, word := range strings.Fields(text) {
		switch {
		case n == 0:
		case n+1+len(word) > width:
			b.WriteString("\n")
			n = 0
		default:
			b.WriteString(" ")
			n++
		}
		b.WriteString(word)
		n += len(word)
	}
	return b.String()
}
