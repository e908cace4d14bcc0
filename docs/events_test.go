package docs

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"fairway/event"
)

// TestCatalog checks that the journal's catalogue is what the table of events
// says. With -update it writes it.
func TestCatalog(t *testing.T) {
	const path = "../packaging/systemd/fairway.catalog"
	if *update {
		if err := os.WriteFile(path, []byte(event.Catalog()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != event.Catalog() {
		t.Errorf("%s is stale (%v): go test ./docs -run TestCatalog -update", path, err)
	}
}

// TestEventsPage checks that the list of events is what their table says. With
// -update it writes it.
func TestEventsPage(t *testing.T) {
	const page = "inspect.md"
	raw, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, got, after, ok := cutPart(string(raw), "events")
	if !ok {
		t.Fatalf("%s has no part for events", page)
	}
	var want strings.Builder
	want.WriteString("| event | | `MESSAGE_ID` |\n|---|---|---|\n")
	for _, k := range event.Kinds() {
		fmt.Fprintf(&want, "| `%s` | %s | `%s` |\n", k.Name, k.Title, k.ID)
	}
	switch {
	case got == want.String():
	case *update:
		if err := os.WriteFile(page, []byte(before+want.String()+after), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s is stale: go test ./docs -run TestEventsPage -update", page)
	}
}
