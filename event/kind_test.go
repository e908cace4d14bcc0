package event

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestKinds: each has a name and a MESSAGE_ID of its own, and a text for the
// catalogue.
func TestKinds(t *testing.T) {
	seen := map[string]bool{}
	id := regexp.MustCompile(`^[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}$`) // RFC 9562, version 4
	for _, k := range Kinds() {
		if seen[k.Name] || seen[k.ID] || !id.MatchString(k.ID) {
			t.Errorf("%s: MESSAGE_ID %s: want one of its own", k.Name, k.ID)
		}
		seen[k.Name], seen[k.ID] = true, true
		if k.Title == "" || strings.Count(k.Text, "@")%2 != 0 || !strings.HasSuffix(k.Text, ".") {
			t.Errorf("%s: title %q, text %q", k.Name, k.Title, k.Text)
		}
		if text := Catalog(); !strings.Contains(text, "\n-- "+k.ID+"\nSubject: "+k.Title+"\n") {
			t.Errorf("%s: not in the catalogue", k.Name)
		}
	}
	if Lost == "" || seen[Lost] {
		t.Errorf("%q is a kind", Lost)
	}
}

// TestEachIsToldOf: every constant is a kind, and somewhere in the program there
// is an entry of the log for it.
func TestEachIsToldOf(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "kind.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{} // of constants; true: told of
	for _, d := range file.Decls {
		if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.CONST {
			for _, s := range g.Specs {
				if name := s.(*ast.ValueSpec).Names[0].Name; name != "Field" {
					names[name] = false
				}
			}
		}
	}
	if len(names) != len(Kinds()) {
		t.Errorf("%d constants, %d kinds", len(names), len(Kinds()))
	}
	err = filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := d.Name(); d.IsDir() && len(name) > 2 && name[0] == '.' {
			return fs.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := s.X.(*ast.Ident); ok && x.Name == "event" {
					if _, known := names[s.Sel.Name]; known {
						names[s.Sel.Name] = true
					}
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, told := range names {
		if !told {
			t.Errorf("%s: nothing tells of it", name)
		}
	}
}
