package doctor

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// The first command that fails ends a fix, and the error names it.
func TestRun(t *testing.T) {
	file := t.TempDir() + "/done"
	var out bytes.Buffer
	err := Run(t.Context(), Finding{Code: "FW000", Fix: []string{"echo one; exit 3", "touch " + file}}, &out)
	if err == nil || !strings.Contains(err.Error(), "FW000: echo one; exit 3") || out.String() != "one\n" {
		t.Errorf("%v, printed %q", err, out.String())
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("the second command was run")
	}
	if err := Run(t.Context(), Finding{Fix: []string{"touch " + file}}, &out); err != nil {
		t.Error(err)
	}
}
