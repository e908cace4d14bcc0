package main

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// What containers, networks and other machines are called is not up to us: no
// control character of theirs may reach the operator's terminal, where it could
// move the cursor, paint or answer (CVE-2025-48056 is such a case).

// cell returns s for a table: as it is if that is harmless and one word, quoted
// if not, "-" for nothing.
func cell(s string) string {
	switch {
	case s == "":
		return "-"
	case strings.ContainsAny(s, "\" ") || printable(s) != s:
		return strconv.Quote(s)
	}
	return s
}

// printable returns s with everything that a terminal might not print escaped
// as in a Go string.
func printable(s string) string { return escape(s, "") }

// printableText is printable, but for the tabs and newlines of a user's own template.
func printableText(s string) string { return escape(s, "\t\n") }

func escape(s, keep string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case unicode.IsPrint(r) || strings.ContainsRune(keep, r):
			b.WriteRune(r)
		default:
			q := strconv.QuoteRune(r)
			b.WriteString(q[1 : len(q)-1])
		}
		i += size
	}
	return b.String()
}

// escapeJSON escapes in a JSON text what JSON itself lets pass: DEL, the C1
// controls, directions and the like. Those stand in strings only.
func escapeJSON(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\n' || unicode.IsPrint(r):
			b.WriteRune(r)
		case r > 0xffff:
			hi, lo := (r-0x10000)>>10+0xd800, (r-0x10000)&0x3ff+0xdc00
			fmt.Fprintf(&b, `\u%04x\u%04x`, hi, lo)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}
