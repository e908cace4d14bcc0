package doctor

import (
	"fmt"
	"strings"
)

// Explain returns the page of a check as text.
func (c Check) Explain() string {
	return fmt.Sprintf("%s %s: %s (%s)\n\nCause: %s\n\nWhat is lost: %s\n\nFix: %s\n", c.Code, c.Name, c.Title, c.Severity, c.Cause, c.Loss, c.Remedy)
}

// Pages returns the pages of all checks in Markdown, one section each, with the
// code as its heading.
func Pages() string {
	var b strings.Builder
	b.WriteString("| code | | |\n|---|---|---|\n")
	for _, c := range Checks() {
		fmt.Fprintf(&b, "| [%s](#%s) | %s | %s |\n", c.Code, strings.ToLower(c.Code), c.Name, c.Title)
	}
	for _, c := range Checks() {
		fmt.Fprintf(&b, "\n## %s\n\n**%s: %s** (%s)\n\n", c.Code, c.Name, c.Title, c.Severity)
		for _, part := range []struct{ title, text string }{{"Cause", c.Cause}, {"Lost", c.Loss}, {"Fix", c.Remedy}} {
			fmt.Fprintf(&b, "- %s: %s\n", part.title, part.text)
		}
	}
	return b.String()
}
