package docs

import (
	"fmt"
	"strings"
	"testing"

	"fairway/overlay"
)

// TestOverlayPage checks that the table in overlay.md is what the parser's says. With
// -update it writes it.
func TestOverlayPage(t *testing.T) {
	var b strings.Builder
	b.WriteString("| `-o` | allowed | meaning |\n|---|---|---|\n")
	for _, o := range overlay.Table(&overlay.Options{}) {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", o.Name, cell(o.Allowed), cell(o.Meaning))
	}
	checkPage(t, "overlay.md", map[string]string{"overlay options": b.String()})
}
