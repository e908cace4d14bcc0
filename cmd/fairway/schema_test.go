package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"fairway/admin"
	"fairway/inspect"
	"fairway/store"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"
)

// schemaDir has a schema of what each command prints with --json.
const schemaDir = "../../docs/schemas"

// printed are the types of what commands print with --json, by the commands'
// names.
func printed() map[string]reflect.Type {
	return map[string]reflect.Type{
		"networks":      reflect.TypeFor[admin.Networks](),
		"endpoints":     reflect.TypeFor[admin.Endpoints](),
		"ports":         reflect.TypeFor[admin.Ports](),
		"ports-add":     reflect.TypeFor[admin.Ports](),
		"events":        reflect.TypeFor[eventLine](),
		"top":           reflect.TypeFor[topped](),
		"cluster-hosts": reflect.TypeFor[admin.ClusterHosts](),
		"network-ls":    reflect.TypeFor[admin.ClusterNetworks](),
		"leases":        reflect.TypeFor[admin.Leased](),
		"status":        reflect.TypeFor[admin.Status](),
		"config-show":   reflect.TypeFor[admin.Settings](),
		"options":       reflect.TypeFor[optionsView](),
		"version":       reflect.TypeFor[programView](),
		"store-check":   reflect.TypeFor[checkedView](),
		"doctor":        reflect.TypeFor[diagnosis](),
		"trace":         reflect.TypeFor[traced](),
		"trace-live":    reflect.TypeFor[watched](),
		"ping":          reflect.TypeFor[pinged](),
		"inspect":       reflect.TypeFor[inspect.Report](),
	}
}

// byKernelTests are commands that look at the kernel: tests as root hold what
// those print to its schema (holdJSON), the goldens what the others print.
func byKernelTests() []string { return []string{"doctor", "trace", "trace-live", "ping", "inspect"} }

// schemaOf makes the schema of a type: what JSON its fields become, and what
// their comments say.
func schemaOf(t *testing.T, name string, of reflect.Type) *jsonschema.Schema {
	t.Helper()
	text := &jsonschema.Schema{Type: "string"}
	s, err := jsonschema.ForType(of, &jsonschema.ForOptions{TypeSchemas: map[reflect.Type]*jsonschema.Schema{
		reflect.TypeFor[netip.Addr](): text, reflect.TypeFor[netip.Prefix](): text,
	}})
	if err != nil {
		t.Fatal(err)
	}
	s.Schema = "https://json-schema.org/draft/2020-12/schema"
	s.Title = "fairway " + strings.ReplaceAll(strings.ReplaceAll(name, "trace-live", "trace --live"), "-", " ") + " --json"
	describe(t, s, of, comments(t))
	eachSchema(s, func(s *jsonschema.Schema) {
		if len(s.Properties) > 0 {
			s.AdditionalProperties = nil // a newer fairway's may have more
		}
		if slices.Equal(s.Types, []string{"null", "array"}) {
			s.Types, s.Type = nil, "array" // an empty list is none
		}
	})
	return s
}

// eachSchema calls f with s and all in it.
func eachSchema(s *jsonschema.Schema, f func(*jsonschema.Schema)) {
	if s == nil {
		return
	}
	f(s)
	eachSchema(s.Items, f)
	eachSchema(s.AdditionalProperties, f)
	for _, p := range s.Properties {
		eachSchema(p, f)
	}
}

// TestSchemas: each command that prints JSON has a schema of it in the
// repository, made of its type. With -update it writes them.
func TestSchemas(t *testing.T) {
	want := map[string][]byte{}
	for name, of := range printed() {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		if err := e.Encode(schemaOf(t, name, of)); err != nil {
			t.Fatal(err)
		}
		want[name+".json"] = b.Bytes()
	}
	if *update {
		if err := os.RemoveAll(schemaDir); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(schemaDir, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range want {
			if err := os.WriteFile(filepath.Join(schemaDir, name), text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	there, err := filepath.Glob(filepath.Join(schemaDir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range there {
		if _, ok := want[filepath.Base(path)]; !ok {
			t.Errorf("%s: no command's", path)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		got, err := os.ReadFile(filepath.Join(schemaDir, name))
		if err != nil || !bytes.Equal(got, want[name]) {
			t.Errorf("%s is stale (%v): go test ./cmd/fairway -run TestSchemas -update", name, err)
		}
	}
}

// TestEachCommandHasSchema: no command has a flag --json without a schema.
func TestEachCommandHasSchema(t *testing.T) {
	types := printed()
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		name := strings.TrimPrefix(pageName(c), "fairway-")
		if _, ok := types[name]; c.Flags().Lookup("json") != nil && !ok {
			t.Errorf("%s --json: has no schema", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(newRootCommand())
}

// TestOutputsHoldSchemas: what the sessions in testdata show that commands print,
// and what others print here, is as their schemas say; but for commands that are
// for kernel tests, none is left out.
func TestOutputsHoldSchemas(t *testing.T) {
	held := map[string]bool{}
	hold := func(line, out string) {
		cmd, _, err := newRootCommand().Find(fields(line))
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimPrefix(pageName(cmd), "fairway-")
		holdJSON(t, name, []byte(out))
		held[name] = true
	}
	sessions, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(sessions) == 0 {
		t.Fatalf("%d sessions: %v", len(sessions), err)
	}
	for _, path := range sessions {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for part := range strings.SplitSeq("\n"+string(text), "\n$ fairway ") {
			line, out, _ := strings.Cut(part, "\n")
			if strings.Contains(line+" ", " --json ") && strings.HasPrefix(out, "{") {
				hold(line, out)
			}
		}
	}
	t.Setenv("FAIRWAY_ADMIN_SOCKET", serveAdmin(t, fixture(), true))
	dir := t.TempDir()
	records, err := store.Open(dir, store.Options{Log: logrus.New()})
	if err != nil {
		t.Fatal(err)
	}
	if err := records.Close(); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"endpoints --json", "ports --json --stats", "ports add app 9000:9000 --json", "status --json", "version --json",
		"config show --json", "store check --json " + store.File(dir),
	} {
		hold(line, execute(t.Context(), line))
	}
	t.Setenv("FAIRWAY_ADMIN_SOCKET", serveTraffic(t))
	hold("top --json", execute(t.Context(), "top --json --interval 100ms"))
	for name := range printed() {
		if !held[name] && !slices.Contains(byKernelTests(), name) {
			t.Errorf("nothing here shows what %s --json prints", name)
		}
	}
}

// holdJSON checks that a command's output is as its schema in the repository says.
func holdJSON(t testing.TB, name string, out []byte) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(schemaDir, name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var s jsonschema.Schema
	if err := json.Unmarshal(raw, &s); err != nil {
		t.Fatal(err)
	}
	eachSchema(&s, func(s *jsonschema.Schema) { // this fairway's has no more than it says
		if len(s.Properties) > 0 {
			s.AdditionalProperties = &jsonschema.Schema{Not: &jsonschema.Schema{}}
		}
	})
	resolved, err := s.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(out))
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	if err := resolved.Validate(v); err != nil {
		t.Errorf("%s --json is not as docs/schemas/%s.json says: %v", name, name, err)
	}
	if top, ok := v.(map[string]any); !ok || top["version"] != float64(admin.Version) {
		t.Errorf("%s --json: version %v", name, top["version"])
	}
}
