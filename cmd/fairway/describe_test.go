package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"
)

// comments returns what the source says of the fields of types that are printed,
// by "package.Type.Field", and of the types, by "package.Type".
func comments(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for dir, name := range map[string]string{".": "main", "../../admin": "admin", "../../doctor": "doctor", "../../trace": "trace", "../../inspect": "inspect", "../../event": "event"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", dir, len(files), err)
		}
		for _, path := range files {
			f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(f, func(n ast.Node) bool {
				d, ok := n.(*ast.GenDecl)
				if !ok || d.Tok != token.TYPE {
					return true
				}
				for _, spec := range d.Specs {
					s := spec.(*ast.TypeSpec)
					of := name + "." + s.Name.Name
					out[of] = said(d.Doc, s.Doc)
					fields, ok := s.Type.(*ast.StructType)
					if !ok {
						continue
					}
					for _, field := range fields.Fields.List {
						for _, id := range field.Names {
							out[of+"."+id.Name] = said(field.Doc, field.Comment)
						}
					}
				}
				return true
			})
		}
	}
	return out
}

// said is comments as one line.
func said(all ...*ast.CommentGroup) string {
	var words []string
	for _, c := range all {
		words = append(words, strings.Fields(c.Text())...)
	}
	return strings.Join(words, " ")
}

// describe puts the comments of a type's fields into its schema.
func describe(t *testing.T, s *jsonschema.Schema, of reflect.Type, comments map[string]string) {
	t.Helper()
	switch of.Kind() {
	case reflect.Pointer:
		describe(t, s, of.Elem(), comments)
		return
	case reflect.Slice, reflect.Array:
		if s.Items != nil {
			describe(t, s.Items, of.Elem(), comments)
		}
		return
	case reflect.Map:
		if s.AdditionalProperties != nil {
			describe(t, s.AdditionalProperties, of.Elem(), comments)
		}
		return
	case reflect.Struct:
	default:
		return
	}
	for _, f := range reflect.VisibleFields(of) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		p := s.Properties[name]
		if p == nil {
			continue
		}
		owner := of
		if len(f.Index) > 1 { // of an embedded type
			owner = of.FieldByIndex(f.Index[:len(f.Index)-1]).Type
		}
		p.Description = comments[owner.String()+"."+f.Name]
		describe(t, p, f.Type, comments)
	}
}
