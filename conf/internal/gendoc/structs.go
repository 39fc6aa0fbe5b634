// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
)

// field is a key, as the comment on the field of the struct describes it.
type field struct {
	name, key, doc, typ string
	section             string // the struct that holds the keys of the section; "" if it is none
}

// structs are the structs of a package whose fields have keys, by name.
type structs map[string][]field

// readStructs reads the structs of the packages in some folders, which must not have
// names in common. tag is that of the keys.
func readStructs(tag string, dirs ...string) (structs, error) {
	var files []string
	for _, dir := range dirs {
		names, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			return nil, err
		}
		files = append(files, names...)
	}
	found := structs{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if spec, ok := n.(*ast.TypeSpec); ok {
				if body, ok := spec.Type.(*ast.StructType); ok {
					if fields := fieldsOf(body, tag); len(fields) > 0 {
						found[spec.Name.Name] = fields
					}
				}
			}
			return true
		})
	}
	for name, fields := range found {
		for i := range fields {
			if _, ok := found[fields[i].section]; !ok {
				fields[i].section = ""
			} else if !strings.HasPrefix(fields[i].typ, "list") {
				fields[i].typ = "section"
			}
			if fields[i].doc == "" {
				fields[i].doc = borrowed(fields[:i], fields[i].name, found["Config"])
			}
		}
		found[name] = fields
	}
	return found, nil
}

// borrowed is the comment for a field without one: that of the field before if it
// names both, else that of the field of the same name in the main struct, else
// that of the field before, whose group it belongs to.
func borrowed(before []field, name string, main []field) string {
	group := ""
	if n := len(before); n > 0 {
		group = before[n-1].doc
	}
	if regexp.MustCompile(`\b` + name + `\b`).MatchString(group) {
		return group
	}
	for _, f := range main {
		if f.name == name && f.doc != "" {
			return f.doc
		}
	}
	return group
}

func fieldsOf(body *ast.StructType, tag string) []field {
	var fields []field
	for _, f := range body.Fields.List {
		if f.Tag == nil || len(f.Names) != 1 {
			continue
		}
		tags := reflect.StructTag(strings.Trim(f.Tag.Value, "`"))
		key := tags.Get(tag)
		if key, _, _ = strings.Cut(key, ","); key == "" || key == "-" {
			continue
		}
		typ, section := describe(f.Type)
		if tag == hostTag && typ == "secret" {
			typ = "section" // of a driver, which may hold secrets
		}
		if words := strings.Fields(tags.Get("oneof")); len(words) > 0 {
			typ = strings.Join(words, ", ")
		}
		fields = append(fields, field{name: f.Names[0].Name, key: key, typ: typ, section: section,
			doc: strings.Join(strings.Fields(f.Doc.Text()), " ")})
	}
	return fields
}

// describe returns what a type is called on the page, and the struct that it names.
func describe(t ast.Expr) (typ, section string) {
	switch t := t.(type) {
	case *ast.StarExpr:
		return describe(t.X)
	case *ast.ArrayType:
		element, section := describe(t.Elt)
		if section != "" {
			return "list of sections", section
		}
		return "list of " + element + "s", ""
	case *ast.SelectorExpr:
		switch t.Sel.Name {
		case "Duration":
			return "duration", ""
		case "Secret":
			return "secret", ""
		}
		return t.Sel.Name, t.Sel.Name
	case *ast.Ident:
		switch t.Name {
		case "string":
			return "text", ""
		case "bool":
			return "true or false", ""
		case "int", "int64", "uint64":
			return "number", ""
		}
		return "section", t.Name
	}
	return fmt.Sprintf("%T", t), ""
}

// Tags of the keys of the host and of drivers.
const (
	hostTag   = "koanf"
	driverTag = "json"
)

// docLink matches a link to another declaration in a comment.
var docLink = regexp.MustCompile(`\[([A-Z]\w*)\]`)

// goName matches the name of a field that is more than one word.
var goName = regexp.MustCompile(`\b[A-Z][a-z]+(?:[A-Z][a-z]+)+\b`)

// text returns the comment of f in the words of a file: keys, not fields.
func (f *field) text(fields []field) string {
	keys := map[string]string{}
	for _, other := range fields {
		keys[other.name] = other.key
	}
	doc := goName.ReplaceAllStringFunc(docLink.ReplaceAllString(f.doc, "$1"), func(name string) string {
		if key, ok := keys[name]; ok {
			return "`" + key + "`"
		}
		return name
	})
	return strings.ReplaceAll(doc, "|", `\|`)
}
