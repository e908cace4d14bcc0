// Command sbom tells what a binary is made of: a bill of materials in CycloneDX
// 1.5 (JSON), or the licences of all that is in it.
package main

import (
	"cmp"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"unicode"
)

func main() {
	version := flag.String("version", "", "of the binary")
	licences := flag.String("licences", "", "print licences instead, from this directory of modules (go env GOMODCACHE)")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: sbom [-version V] [-licences DIR] BINARY")
		os.Exit(2)
	}
	if err := tell(os.Stdout, flag.Arg(0), *version, *licences); err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

func tell(w io.Writer, binary, version, licences string) error {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return err
	}
	modules := modulesOf(info)
	if licences != "" {
		return tellLicences(w, modules, licences)
	}
	text, err := os.ReadFile(binary)
	if err != nil {
		return err
	}
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	return e.Encode(materials(info, modules, version, fmt.Sprintf("%x", sha256.Sum256(text))))
}

// modulesOf returns what is linked in, by path.
func modulesOf(info *debug.BuildInfo) (out []debug.Module) {
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		out = append(out, *m)
	}
	slices.SortFunc(out, func(a, b debug.Module) int { return cmp.Compare(a.Path, b.Path) })
	return out
}

// A component of a bill, see cyclonedx.org/docs/1.5/json.
type component struct {
	Type    string `json:"type"`
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	PURL    string `json:"purl,omitempty"`
	BOMRef  string `json:"bom-ref"`
	Hashes  []hash `json:"hashes,omitempty"`
}

type hash struct {
	Algorithm string `json:"alg"`
	Content   string `json:"content"`
}

type bill struct {
	Format      string `json:"bomFormat"`
	SpecVersion string `json:"specVersion"`
	Version     int    `json:"version"`
	Metadata    struct {
		Component component `json:"component"`
	} `json:"metadata"`
	Components []component `json:"components"`
}

func materials(info *debug.BuildInfo, modules []debug.Module, version, sum string) bill {
	b := bill{Format: "CycloneDX", SpecVersion: "1.5", Version: 1}
	b.Metadata.Component = component{
		Type: "application", Name: "fairway", Version: version, BOMRef: "fairway", Hashes: []hash{{"SHA-256", sum}},
	}
	add := func(path, version string) {
		purl := "pkg:golang/" + path + "@" + version
		b.Components = append(b.Components, component{Type: "library", Name: path, Version: version, PURL: purl, BOMRef: purl})
	}
	add("std", strings.TrimPrefix(info.GoVersion, "go"))
	for _, m := range modules {
		add(m.Path, m.Version)
	}
	return b
}

// tellLicences prints the licence files of modules in a module cache.
func tellLicences(w io.Writer, modules []debug.Module, cache string) error {
	for _, m := range modules {
		dir := filepath.Join(cache, escaped(m.Path)+"@"+escaped(m.Version))
		names, err := licencesIn(dir)
		if err != nil {
			return err
		}
		if len(names) == 0 {
			return fmt.Errorf("module %s %s: no licence in %s", m.Path, m.Version, dir)
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			fmt.Fprintf(w, "\n==== %s %s: %s\n\n%s\n", m.Path, m.Version, filepath.Base(name), strings.TrimSpace(string(text)))
		}
	}
	return nil
}

// licencesIn returns the licence files of a directory.
func licencesIn(dir string) (paths []string, err error) {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		name := strings.ToLower(e.Name())
		for _, begin := range []string{"license", "licence", "copying", "notice"} {
			if e.Type().IsRegular() && strings.HasPrefix(name, begin) {
				paths = append(paths, filepath.Join(dir, e.Name()))
			}
		}
	}
	return paths, err
}

// escaped is a module's path in the cache, where capitals are marked: see
// go.dev/ref/mod#module-cache.
func escaped(path string) string {
	var b strings.Builder
	for _, r := range path {
		if unicode.IsUpper(r) {
			b.WriteByte('!')
			r = unicode.ToLower(r)
		}
		b.WriteRune(r)
	}
	return b.String()
}
