// Package layout holds the tree to its design: which package may import which,
// and what none may do.
package layout

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// mayImport says which of our packages a package may import: a request goes one
// way, plugin → driver → mode → link and nat, and store is below them all.
var mayImport = map[string][]string{
	"cmd/fairway":    {"admin", "bridge", "bugreport", "cluster", "dhcp", "doctor", "driver", "engine", "event", "fleet", "inspect", "install", "ipam", "link", "macvlan", "metrics", "nat", "nat/firewalld", "nat/guard", "nat/iptables", "nat/nftables", "nat/proxy", "nat/unroutable", "option", "overlay", "packaging", "plugin", "resolver", "store", "trace", "transparent", "watch"},
	"plugin":         {"driver", "ipam", "store", "link"},
	"admin":          {"event", "store"},
	"bugreport":      {},
	"driver":         {"event", "link", "nat", "store", "option"},
	"bridge":         {"link", "nat", "store", "option"},
	"macvlan":        {"beside", "link", "nat", "store", "option"},
	"overlay":        {"link", "nat", "store", "option"},
	"beside":         {"link", "nat", "store"},
	"transparent":    {"link", "nat", "store", "option"},
	"ipam":           {"event", "store", "option"},
	"dhcp":           {"event", "store"},
	"cluster":        {"store"},
	"fleet":          {"cluster", "engine", "event"},
	"doctor":         {"admin", "link", "nat", "store"},
	"engine":         {"event"},
	"event":          {},
	"metrics":        {"store"},
	"inspect":        {"admin"},
	"install":        {},
	"packaging":      {},
	"packaging/sbom": {},
	"nat/iptables":   {"nat"},
	"nat/nftables":   {"nat", "nat/iptables"},
	"nat/firewalld":  {"nat"},
	"nat/guard":      {"nat"},
	"nat/unroutable": {"nat"},
	"nat/proxy":      {},
	"nat":            {},
	"link":           {},
	"resolver":       {},
	"option":         {},
	"store":          {},
	"trace":          {"store"},
	"watch":          {},
}

// mayRun says which packages may start other programs.
var mayRun = []string{"bugreport", "install", "nat/iptables", "doctor", "trace"}

const module = "fairway/"

func TestImports(t *testing.T) {
	forEachFile(t, func(t *testing.T, dir string, f *ast.File) {
		allowed, ours := mayImport[dir]
		if !ours {
			t.Errorf("package %s: not in the table of who may import whom", dir)
		}
		for _, i := range f.Imports {
			path, _ := strconv.Unquote(i.Path.Value)
			if p, ok := strings.CutPrefix(path, module); ok && !slices.Contains(allowed, p) {
				t.Errorf("%s imports %s: the design has it the other way round, or not at all", dir, p)
			}
			if path == "os/exec" && !slices.Contains(mayRun, dir) {
				t.Errorf("%s imports os/exec: only %v may start programs", dir, mayRun)
			}
		}
	})
}

func TestNoInit(t *testing.T) {
	forEachFile(t, func(t *testing.T, dir string, f *ast.File) {
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				t.Errorf("%s has an init function: nothing may happen by being imported", dir)
			}
		}
	})
}

// Every package says in one sentence what it is for.
func TestPackageComments(t *testing.T) {
	said := map[string]string{}
	forEachFile(t, func(t *testing.T, dir string, f *ast.File) {
		if f.Doc == nil {
			return
		}
		if other := said[dir]; other != "" {
			t.Errorf("package %s: described twice", dir)
		}
		said[dir] = f.Doc.Text()
	})
	for dir := range mayImport {
		begin := "Package " + filepath.Base(dir) + " "
		if dir == "cmd/fairway" || dir == "packaging/sbom" {
			begin = "Command " + filepath.Base(dir) + " " // a program: see go.dev/doc/comment
		}
		if !strings.HasPrefix(said[dir], begin) {
			t.Errorf("package %s: its comment is %q, want it to begin with %q", dir, said[dir], begin)
		}
	}
}

// forEachFile calls f with every file of the program that is no test.
func forEachFile(t *testing.T, f func(t *testing.T, dir string, file *ast.File)) {
	t.Helper()
	const root = "../.."
	set := token.NewFileSet()
	seen := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(root, path)
		if d.IsDir() && (name == "test" || name == "bin" || name == "docs" || name != "." && strings.HasPrefix(d.Name(), ".")) {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(set, path, nil, parser.ParseComments)
		if err == nil {
			seen++
			f(t, filepath.Dir(name), file)
		}
		return err
	})
	if err != nil || seen == 0 {
		t.Fatalf("read %d files: %v", seen, err)
	}
}
