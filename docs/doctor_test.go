package docs

import (
	"os"
	"strings"
	"testing"

	"fairway/doctor"
)

// TestDoctorPage checks that the pages of codes are what the doctor's table
// says. With -update it writes them.
func TestDoctorPage(t *testing.T) {
	const page = "doctor.md"
	raw, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, got, after, ok := cutPart(string(raw), "doctor codes")
	if !ok {
		t.Fatalf("%s has no part for codes", page)
	}
	want := doctor.Pages()
	switch {
	case got == want:
	case *update:
		if err := os.WriteFile(page, []byte(before+want+after), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s is stale: go test ./docs -run TestDoctorPage -update", page)
	}
}

// TestDoctorTable: each code is one, and says all that an operator needs.
func TestDoctorTable(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range doctor.Checks() {
		if seen[c.Code] || len(c.Code) != 5 || !strings.HasPrefix(c.Code, "FW") {
			t.Errorf("%s: not a code, or there twice", c.Code)
		}
		seen[c.Code] = true
		for what, text := range map[string]string{"title": c.Title, "cause": c.Cause, "loss": c.Loss, "fix": c.Remedy} {
			if len(text) < 5 || what != "title" && !strings.HasSuffix(text, ".") {
				t.Errorf("%s: %s %q: want a sentence", c.Code, what, text)
			}
		}
	}
	if len(seen) < 35 {
		t.Errorf("%d codes, want 35", len(seen))
	}
}
